"""EM adds up an epoch and solves at its end: how the epoch was cut does not matter."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.maths.likelihoods import Bernoulli, Gaussian
from research.models.independent import Independent
from research.models.mixture import BernoulliMixture, GaussianMixture
from research.trainers.em import EMTrainer

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
REAL = (RNG.normal(size=(60, 3)) + RNG.choice([-2, 2], (60, 1))).astype(np.float32)
BITS = (REAL > 0).astype(np.float32)
MODELS: dict[str, tuple[Any, np.ndarray]] = {
    'gaussian_mixture': (GaussianMixture(components=3), REAL),
    'bernoulli_mixture': (BernoulliMixture(components=3), BITS),
    'independent_bernoulli': (Independent(likelihood=Bernoulli()), BITS),
    'independent_gaussian': (Independent(likelihood=Gaussian()), REAL),
}
models = pytest.mark.parametrize('name', MODELS)


def epochs(trainer: EMTrainer, state: Any, x: np.ndarray, batches: int, count: int) -> Any:
    def epoch(state: Any, parts: Any) -> Any:
        for part in parts:
            state, _ = trainer.step(state, part, KEY)
        return trainer.end_epoch(state)[0]

    run = jax.jit(epoch)
    for _ in range(count):
        state = run(state, [jnp.asarray(part) for part in np.split(x, batches)])
    return state


@models
def test_many_batches_are_one(name: str) -> None:
    model, x = MODELS[name]
    trainer = EMTrainer(model=model)
    start = trainer.init(KEY, jnp.asarray(x))
    once, often = (trainer.params(epochs(trainer, start, x, batches, 2)) for batches in (1, 4))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), once, often)


def test_parameters_wait_for_the_epochs_end_and_the_sums_begin_again() -> None:
    model, x = MODELS['gaussian_mixture']
    trainer = EMTrainer(model=model)
    start = trainer.init(KEY, jnp.asarray(x))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(start.statistics))
    stepped, metrics = trainer.step(start, jnp.asarray(x), KEY)
    jax.tree.map(np.testing.assert_array_equal, stepped.params, start.params)
    assert float(stepped.statistics['weight'].sum()) == pytest.approx(60, rel=1e-5)
    assert float(metrics['loss']) == pytest.approx(-float(model.log_prob(start.params, x, KEY).mean()), rel=1e-5)
    ended, none = trainer.end_epoch(stepped)
    assert none == {}
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(ended.statistics))
    expected = model.solve(start.params, model.statistics(start.params, jnp.asarray(x))[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ended.params, expected)


def test_a_closed_form_is_done_after_one_epoch() -> None:
    model, x = MODELS['independent_bernoulli']
    trainer = EMTrainer(model=model)
    state = epochs(trainer, trainer.init(KEY, jnp.asarray(x)), x, 2, 1)
    again = epochs(trainer, state, x, 3, 1)
    np.testing.assert_allclose(again.params['outputs'], state.params['outputs'], rtol=1e-6)
