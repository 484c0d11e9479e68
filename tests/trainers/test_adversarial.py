"""The order of play: parts of the batch, who moves when, and whom each player sees."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.trainers.adversarial import AdversarialTrainer
from research.trainers.optimisers import Adam, Sgd
from research.types import Objective

KEY = jax.random.key(0)


class Ledger:
    """A game of two numbers whose moves can be read off: the critic moves by its part's mean, and notes what it saw."""

    def init(self, key: Any, x: Any) -> Any:
        notes = {'seen': jnp.zeros(6), 'calls': jnp.int32(0), 'opponent': jnp.zeros(3), 'keys': jnp.zeros(3)}
        return {'generator': {'g': jnp.float32(7)}, 'critic': {'c': jnp.float32(0), 'constants': notes}}

    def critic_loss(self, critic: Any, generator: Any, x: Any, key: Any) -> Objective:
        notes, calls = critic['constants'], critic['constants']['calls']
        notes = {
            'seen': jax.lax.dynamic_update_slice(notes['seen'], x, (calls * x.shape[0],)),
            'calls': calls + 1,
            'opponent': notes['opponent'].at[calls].set(generator['g']),
            'keys': notes['keys'].at[calls].set(jax.random.uniform(key)),
        }
        return Objective(-critic['c'] * x.mean(), {'critic_loss': x.mean()}, {'constants': notes})

    def generator_loss(self, generator: Any, critic: Any, x: Any, key: Any) -> Objective:
        loss = generator['g'] * critic['c']
        return Objective(loss, {'loss': loss}, {})


X = jnp.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])


def trainer(steps: int, **fields: Any) -> AdversarialTrainer:
    return AdversarialTrainer(
        model=Ledger(), critic_steps=steps, optimiser=Sgd(), critic_optimiser=Sgd(), learning_rate=0.1,
        critic_learning_rate=1.0, **fields,
    )  # fmt: skip


@pytest.mark.parametrize('steps', [1, 2, 3])
def test_each_critic_step_sees_its_own_part_of_the_batch(steps: int) -> None:
    play = trainer(steps)
    state, metrics = jax.jit(play.step)(play.init(KEY, X), X, KEY)
    notes = state.critic.mutable['constants']
    assert int(notes['calls']) == steps
    parts = np.asarray(X).reshape(-1, steps).T  # part i holds every `steps`-th example from the i-th on
    np.testing.assert_array_equal(notes['seen'], parts.reshape(-1))
    np.testing.assert_allclose(state.critic.params['c'], parts.mean(axis=1).sum(), rtol=1e-6)
    assert float(metrics['critic_loss']) == pytest.approx(float(X.mean()))  # the mean over the critic's steps
    assert len(set(np.asarray(notes['keys'])[:steps].tolist())) == steps  # and draws noise of its own


def test_the_generator_waits_for_the_critic_and_then_moves_once() -> None:
    play = trainer(3)
    state, metrics = jax.jit(play.step)(play.init(KEY, X), X, KEY)
    np.testing.assert_array_equal(state.critic.mutable['constants']['opponent'], [7, 7, 7])
    c = float(state.critic.params['c'])
    assert float(metrics['loss']) == pytest.approx(7 * c)  # against the critic as it is after its last step
    assert float(state.generator.params['g']) == pytest.approx(7 - 0.1 * c)


def test_the_average_is_the_generators_alone() -> None:
    play = trainer(1, ema=0.75)
    state, _ = jax.jit(play.step)(play.init(KEY, X), X, KEY)
    assert state.critic.ema is None
    g = float(state.generator.params['g'])
    params = play.params(state)
    assert float(params['generator']['g']) == pytest.approx(0.75 * 7 + 0.25 * g)
    assert float(params['critic']['c']) == float(state.critic.params['c'])


def test_each_player_has_its_own_learning_rate() -> None:
    """Adam's first step is the learning rate times the sign of the gradient."""
    play = AdversarialTrainer(
        model=Ledger(), learning_rate=0.01, critic_learning_rate=0.04, critic_optimiser=Adam(b1=0.0)
    )
    state, _ = jax.jit(play.step)(play.init(KEY, X), X, KEY)
    assert float(state.critic.params['c']) == pytest.approx(0.04, rel=1e-4)
    assert float(state.generator.params['g']) == pytest.approx(7 - 0.01, rel=1e-6)
