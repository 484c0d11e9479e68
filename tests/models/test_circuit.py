"""The hidden Chow-Liu tree against the sum over all its hidden states, and its EM and gradient against each other."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.models.circuit import HiddenChowLiu
from research.types import Conditional, Domain
from tests.models.completion import check_conditional, check_marginals, probabilities, states

KEY = jax.random.key(0)
MODEL = HiddenChowLiu(states=2, perturbation=0.9)
Params = dict[str, Any]


def data(dims: int = 4, rows: int = 120) -> np.ndarray:
    """Bits of three prototypes with errors, so that hidden states have something to say."""
    rng = np.random.default_rng(0)
    prototypes = rng.random((3, dims)) < 0.5
    return (prototypes[rng.integers(3, size=rows)] ^ (rng.random((rows, dims)) < 0.15)).astype(np.float32)


def em(model: HiddenChowLiu, params: Params, x: np.ndarray, count: int) -> tuple[Params, np.ndarray]:
    def step(params: Params, _: None) -> tuple[Params, jax.Array]:
        statistics, metrics = model.statistics(params, jnp.asarray(x))
        return model.solve(params, statistics), -metrics['loss']

    fitted, levels = jax.jit(lambda params: jax.lax.scan(step, params, None, length=count))(params)
    return fitted, np.asarray(levels)


def fitted(dims: int = 4, count: int = 5) -> Params:
    x = data(dims)
    return em(MODEL, jax.jit(MODEL.init)(KEY, jnp.asarray(x)), x, count)[0]


def joint(params: Params, x: np.ndarray) -> np.ndarray:
    """p(x, z) of one x for every z, by loops over eq. 1: [states^dims]."""
    order, parent = (np.asarray(params['constants'][name]) for name in ('order', 'parent'))
    table = np.asarray(jax.nn.softmax(params['transition'], axis=1), np.float64)
    one = np.asarray(jax.nn.sigmoid(params['emission']), np.float64)
    total = []
    for z in itertools.product(range(table.shape[1]), repeat=len(x)):
        p = 1.0
        for i in range(len(x)):
            p *= table[i, z[i], 0 if i == order[0] else z[parent[i]]]
            p *= one[i, z[i]] if x[i] else 1 - one[i, z[i]]
        total.append(p)
    return np.array(total)


def test_log_prob_is_the_sum_over_hidden_states() -> None:
    params = fitted()
    expected = [np.log(joint(params, x).sum()) for x in states(4)]
    np.testing.assert_allclose(jax.jit(MODEL.log_prob)(params, jnp.asarray(states(4)), KEY), expected, rtol=1e-5)
    assert np.exp(expected).sum() == pytest.approx(1, abs=1e-5)


def test_expected_counts_are_those_of_all_hidden_states() -> None:
    """p(z_i = a, z_parent = b | x) by enumeration, added over three examples."""
    params, x = fitted(), data()[:3]
    found = jax.jit(MODEL.statistics)(params, jnp.asarray(x))[0]
    order, parent = (np.asarray(params['constants'][name]) for name in ('order', 'parent'))
    counts, ones = np.zeros((4, 2, 2)), np.zeros((4, 2))
    for row in x:
        posterior = joint(params, row) / joint(params, row).sum()
        for z, p in zip(itertools.product(range(2), repeat=4), posterior, strict=True):
            for i in range(4):
                ones[i, z[i]] += p * row[i]
                if i == order[0]:
                    counts[i, z[i]] += p / 2  # the root's, the same in every column
                else:
                    counts[i, z[i], z[parent[i]]] += p
    np.testing.assert_allclose(found['transition'], counts, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found['ones'], ones, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found['ones'] + found['zeros'], counts.sum(axis=2), rtol=1e-4, atol=1e-4)


def test_parts_of_x_by_enumeration() -> None:
    params = fitted(5)
    assert isinstance(MODEL, Conditional)
    assert probabilities(MODEL, params, 5).sum() == pytest.approx(1, abs=1e-5)
    check_marginals(MODEL, params, 5)
    check_conditional(MODEL, params, 5)


def test_the_most_probable_states_and_values() -> None:
    """Of all (z, rest), the one given has the greatest joint probability."""
    params = fitted(4)
    observed = np.array([True, False, True, False])
    for x in states(4)[[0, 5, 10, 15]]:
        found = np.asarray(jax.jit(MODEL.most_probable)(params, jnp.asarray(x[None]), observed))[0]
        possible = [s for s in states(4) if (s[observed] == x[observed]).all()]
        assert (found[observed] == x[observed]).all()
        assert joint(params, found).max() == pytest.approx(max(joint(params, s).max() for s in possible), rel=1e-4)


def test_em_never_lowers_the_likelihood() -> None:
    """Six starts; smoothing moves the maximum a little, for which 1e-4 nats are allowed."""
    model, x = HiddenChowLiu(states=3, smoothing=1e-4), data(6)
    for seed in range(6):
        start = jax.jit(model.init)(jax.random.key(seed), jnp.asarray(x))
        levels = em(model, start, x, 25)[1]
        assert (np.diff(levels) > -1e-4).all()
        assert levels[-1] > levels[0] + 0.1


def test_the_gradient_is_that_of_the_log_likelihood() -> None:
    """Fisher's identity (eq. 3) against differences of log_prob in a few random directions."""
    params, x = fitted(), jnp.asarray(data())
    trained = {name: params[name] for name in ('transition', 'emission')}

    def loss(part: Params) -> jax.Array:
        return MODEL.loss({**part, 'constants': params['constants']}, x, KEY).loss

    def level(part: Params) -> jax.Array:
        return -MODEL.log_prob({**part, 'constants': params['constants']}, x, KEY).mean()

    value, gradient = jax.jit(jax.value_and_grad(loss))(trained)
    assert float(value) == pytest.approx(float(level(trained)), abs=1e-5)
    for seed in range(3):
        keys = jax.random.split(jax.random.key(seed))
        along = {n: jax.random.normal(k, trained[n].shape) for n, k in zip(trained, keys, strict=True)}
        ahead, behind = (jax.tree.map(lambda p, d, s=s: p + s * d, trained, along) for s in (1e-2, -1e-2))
        slope = float(level(ahead) - level(behind)) / 2e-2
        assert sum(float((gradient[n] * along[n]).sum()) for n in along) == pytest.approx(slope, abs=2e-3)


def test_samples_fall_as_their_probabilities_say() -> None:
    params, n = fitted(), 20_000
    p = probabilities(MODEL, params, 4)
    drawn = np.asarray(jax.jit(lambda p: MODEL.sample(p, KEY, n, (4,)))(params))
    found = np.bincount((drawn @ (2 ** np.arange(4))[::-1]).astype(int), minlength=16) / n
    assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / n)).all()


@pytest.mark.parametrize('x', [np.zeros((4, 3)), np.ones((1, 1)), np.eye(2)], ids=['constant', 'one bit', 'few'])
def test_degenerate_data_are_defined(x: np.ndarray) -> None:
    """A constant variable, a single one, more states than examples: finite parameters, probabilities that add up to 1."""
    model = HiddenChowLiu(states=5)
    params = em(model, jax.jit(model.init)(KEY, jnp.asarray(x, jnp.float32)), x.astype(np.float32), 4)[0]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    assert probabilities(model, params, x.shape[1]).sum() == pytest.approx(1, abs=1e-5)


def test_a_long_chain_and_a_wide_star_do_not_underflow() -> None:
    """300 variables that all follow one: log p is hundreds of nats below 0, and finite."""
    rng = np.random.default_rng(0)
    x = (rng.random((50, 1)) < 0.5) ^ (rng.random((50, 300)) < 0.02)
    model = HiddenChowLiu(states=3)
    params = em(model, jax.jit(model.init)(KEY, jnp.asarray(x, jnp.float32)), x.astype(np.float32), 3)[0]
    odd = (rng.random((4, 300)) < 0.5).astype(np.float32)
    log_p = np.asarray(jax.jit(model.log_prob)(params, jnp.asarray(odd), KEY))
    assert np.isfinite(log_p).all()
    assert (log_p < -150).all()


def test_other_data_are_refused() -> None:
    assert 'unit' in str(HiddenChowLiu().fits(Domain(kind='unit', shape=(2,))))
