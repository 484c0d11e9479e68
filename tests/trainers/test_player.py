"""One gradient update: what is trained and what is carried, and the moving average, by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.nets.mlp import MLP
from research.trainers import player
from research.types import Objective

KEY = jax.random.key(0)


def variables() -> dict[str, Any]:
    """Collections at two depths, of a net and of a model, beside a net that has none."""
    net = MLP(hidden=(3,), batch_norm=True).init(KEY, jnp.ones((2, 4)), (2,))
    plain = MLP(hidden=()).init(KEY, jnp.ones((2, 4)), (2,))
    return {
        'encoder': dict(net),
        'decoder': {'inner': dict(net), 'plain': dict(plain)},
        'constants': {'offset': jnp.arange(3.0)},
        'scale': jnp.ones(2),
    }


def identical(a: Any, b: Any) -> None:
    assert str(jax.tree.structure(a)) == str(jax.tree.structure(b))
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_split_and_merge_are_a_round_trip() -> None:
    whole = variables()
    params, mutable = player.split(whole)
    identical(player.merge(params, mutable), whole)
    names = {str(part.key) for path, _ in jax.tree_util.tree_leaves_with_path(params) for part in path}
    assert not names & {'batch_stats', 'constants', 'offset'}
    assert set(mutable) == {'encoder', 'decoder', 'constants'}
    assert set(mutable['decoder']) == {'inner'}  # the plain net carries nothing
    count = lambda tree: len(jax.tree.leaves(tree))  # noqa: E731
    assert count(params) + count(mutable) == count(whole)


def test_merge_takes_what_was_advanced_and_keeps_the_rest() -> None:
    _, mutable = player.split(variables())
    advanced = jax.tree.map(lambda leaf: leaf + 1, {'encoder': mutable['encoder']})
    new = player.merge(mutable, {**advanced, 'decoder': {}})
    identical(new['encoder'], advanced['encoder'])
    identical(new['decoder'], mutable['decoder'])
    identical(new['constants'], mutable['constants'])


X = jnp.zeros((4, 2))  # the objective below looks at neither it nor its key


def objective(tree: Any, x: Any, key: Any) -> Objective:
    """Descends on w^2 / 2 + the constant's product with w, and counts its calls in a collection."""
    w, constants = tree['w'], tree['constants']
    loss = (w**2).sum() / 2 + (w * constants['slope']).sum()
    return Objective(loss, {'loss': loss}, {'constants': {'calls': constants['calls'] + 1}})


def tree() -> dict[str, Any]:
    return {'w': jnp.array([1.0, -2.0]), 'constants': {'slope': jnp.array([0.5, 0.5]), 'calls': jnp.zeros(())}}


def test_an_update_is_a_gradient_step_and_constants_have_none() -> None:
    optimiser = optax.sgd(0.1)
    state = player.start(tree(), optimiser, None)
    new, metrics = player.update(state, objective, X, KEY, optimiser, None)
    w = np.array([1.0, -2.0])
    np.testing.assert_allclose(new.params['w'], w - 0.1 * (w + 0.5), rtol=1e-6)
    assert float(new.mutable['constants']['calls']) == 1
    np.testing.assert_array_equal(new.mutable['constants']['slope'], [0.5, 0.5])
    assert float(metrics['loss']) == pytest.approx(2.5 - 0.5)
    assert new.ema is None
    assert set(new.params) == {'w'}


def test_the_moving_average_is_its_recursion() -> None:
    """average <- d average + (1 - d) w, from the parameters' first values on; it is what `variables` gives where asked."""
    optimiser, decay = optax.sgd(0.1), 0.8
    state = player.start(tree(), optimiser, decay)
    w = average = np.array([1.0, -2.0])
    for _ in range(5):
        state, _ = player.update(state, objective, X, KEY, optimiser, decay)
        w = w - 0.1 * (w + 0.5)
        average = decay * average + (1 - decay) * w
    np.testing.assert_allclose(state.variables()['w'], w, rtol=1e-5)
    np.testing.assert_allclose(state.variables(averaged=True)['w'], average, rtol=1e-5)
    assert float(state.variables(averaged=True)['constants']['calls']) == 5


def test_batch_statistics_are_averaged_with_the_weights_they_belong_to() -> None:
    old = {'net': {'params': {'w': jnp.float32(1.0)}, 'batch_stats': {'mean': jnp.float32(2.0)}}}
    now = {'net': {'params': {'w': jnp.float32(3.0)}, 'batch_stats': {'mean': jnp.float32(6.0)}}}
    averaged = player.average_with(old, now, 0.75)
    assert float(averaged['net']['params']['w']) == 1.5
    assert float(averaged['net']['batch_stats']['mean']) == 3.0


def test_without_an_average_the_parameters_themselves_are_given() -> None:
    state = player.start(tree(), optax.sgd(0.1), None)
    identical(state.variables(averaged=True), state.variables())


def test_the_average_starts_as_a_copy_so_that_the_state_can_be_donated() -> None:
    state = player.start(tree(), optax.sgd(0.1), 0.9)
    assert state.ema['w'] is not state.params['w']
    assert state.ema['w'].unsafe_buffer_pointer() != state.params['w'].unsafe_buffer_pointer()


@pytest.mark.parametrize('parts', [1, 2, 4])
def test_a_batch_in_parts_gives_the_gradient_of_the_whole(parts: int) -> None:
    """Mean over equal parts of the mean gradient of each; every part sees its own rows, once, and its own key."""
    x = jnp.arange(8.0).reshape(4, 2)

    def distance(tree: Any, x: Any, key: Any) -> Objective:
        loss = ((x - tree['w']) ** 2).sum(axis=1).mean()
        return Objective(loss, {'loss': loss, 'noise': jax.random.normal(key)}, {'constants': tree['constants']})

    optimiser = optax.sgd(0.1)
    state = player.start(tree(), optimiser, None)
    new, metrics = player.update(state, distance, x, jax.random.key(0), optimiser, None, parts)
    w = np.array([1.0, -2.0])
    np.testing.assert_allclose(new.params['w'], w - 0.2 * (w - np.asarray(x).mean(axis=0)), rtol=1e-6)
    assert float(metrics['loss']) == pytest.approx(float(((x - w) ** 2).sum(axis=1).mean()))
    if parts > 1:
        draws = [float(jax.random.normal(jax.random.fold_in(jax.random.key(0), i))) for i in range(parts)]
        assert float(metrics['noise']) == pytest.approx(np.mean(draws))
