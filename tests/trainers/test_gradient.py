"""A step of the gradient trainer is one update of its optimiser on the model's loss, and its numbers may be traced."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Adam, Cosine, Sgd
from research.types import Objective

KEY = jax.random.key(0)
X = jnp.array([[1.0, 2.0], [3.0, 6.0]])


@dataclass(frozen=True, kw_only=True)
class Pull:
    """Parameters are drawn to the batch's mean and to noise from the step's key."""

    noise: float = 0.0

    def init(self, key: Any, x: Any) -> Any:
        return {'w': x[0], 'constants': {'half': jnp.float32(0.5)}}

    def loss(self, params: Any, x: Any, key: Any) -> Objective:
        target = x.mean(axis=0) + self.noise * jax.random.normal(key, (2,))
        loss = params['constants']['half'] * ((params['w'] - target) ** 2).sum()
        return Objective(loss, {'loss': loss})


def test_steps_are_optaxs_own() -> None:
    trainer = GradientTrainer(
        model=Pull(noise=0.1), learning_rate=0.2, optimiser=Adam(b1=0.7), schedule=Cosine(steps=5, warmup=2)
    )
    state = trainer.init(KEY, X)
    optimiser = optax.adam(lambda t: 0.2 * Cosine(steps=5, warmup=2).factor(t), b1=0.7)
    w, own = X[0], optimiser.init(X[0])
    for i in range(4):
        key = jax.random.fold_in(KEY, i)
        state, metrics = trainer.step(state, X, key)
        target = X.mean(axis=0) + 0.1 * jax.random.normal(key, (2,))
        np.testing.assert_allclose(metrics['loss'], 0.5 * ((w - target) ** 2).sum(), rtol=1e-4)
        updates, own = optimiser.update(w - target, own)
        w = w + updates
    np.testing.assert_allclose(trainer.params(state)['w'], w, rtol=1e-5)


def test_params_are_the_average_where_one_is_kept() -> None:
    trainer = GradientTrainer(model=Pull(), learning_rate=0.5, optimiser=Sgd(), ema=0.9)
    state, _ = trainer.step(trainer.init(KEY, X), X, KEY)
    w = 0.5 * X[0] + 0.5 * X.mean(axis=0)
    np.testing.assert_allclose(state.params['w'], w, rtol=1e-6)
    np.testing.assert_allclose(trainer.params(state)['w'], 0.9 * X[0] + 0.1 * w, rtol=1e-6)
    assert float(trainer.params(state)['constants']['half']) == 0.5  # carried, and not trained


def test_an_epochs_end_changes_nothing() -> None:
    trainer = GradientTrainer(model=Pull())
    state = trainer.init(KEY, X)
    assert trainer.end_epoch(state) == (state, {})


def test_numbers_of_the_trainer_may_be_mapped_over() -> None:
    """A grid of learning rates is one vmap: the trainer is rebuilt inside the traced function."""
    trainer = GradientTrainer(model=Pull(), optimiser=Sgd())

    def end(learning_rate: Any) -> Any:
        fitted = dataclasses.replace(trainer, learning_rate=learning_rate, ema=learning_rate)
        return fitted.step(fitted.init(KEY, X), X, KEY)[0].params['w']

    rates = jnp.array([0.1, 0.5, 1.0])
    expected = X[0] + rates[:, None] * (X.mean(axis=0) - X[0])
    np.testing.assert_allclose(jax.jit(jax.vmap(end))(rates), expected, rtol=1e-6)
