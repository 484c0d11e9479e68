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
from research.trainers.em import EMTrainer, Expectation, StepwiseEMTrainer

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
# two components almost alike: EM leaves such a point slowly
NEAR = {'logits': jnp.zeros(2), 'outputs': jnp.array([[0.02] * 8, [-0.02] * 8])}
models = pytest.mark.parametrize('name', MODELS)


def epochs(trainer: EMTrainer | StepwiseEMTrainer, state: Any, x: np.ndarray, batches: int, count: int) -> Any:
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


def test_stepwise_em_solves_for_a_moving_average_after_each_batch() -> None:
    """Two batches by hand; what is kept goes on over the end of an epoch, and step size 1 forgets all but the last batch."""
    model, x = MODELS['bernoulli_mixture']
    first, second = jnp.asarray(x[:30]), jnp.asarray(x[30:])
    for size in (0.25, 1.0):
        trainer = StepwiseEMTrainer(model=model, step_size=size)
        start = trainer.init(KEY, jnp.asarray(x))
        state, metrics = trainer.end_epoch(trainer.step(start, first, KEY)[0])
        assert metrics == {}
        state, _ = trainer.step(state, second, KEY)
        one = jax.tree.map(lambda s, size=size: size * s, model.statistics(start.params, first)[0])
        two = model.statistics(model.solve(start.params, one), second)[0]
        mean = jax.tree.map(lambda a, b, size=size: (1 - size) * a + size * b, one, two)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), state.params, model.solve({}, mean)
        )


def test_stepwise_em_needs_fewer_epochs() -> None:
    """Two epochs of twenty batches, on data that two epochs of EM have hardly begun with."""
    rng = np.random.default_rng(1)
    x = (rng.random((1000, 8)) < rng.choice([0.2, 0.8], (1000, 1))).astype(np.float32)
    model, score = BernoulliMixture(components=2), {}
    for trainer in (EMTrainer(model=model), StepwiseEMTrainer(model=model, step_size=0.3)):
        start = Expectation(NEAR, model.statistics(NEAR, jnp.asarray(x[:2]))[0])
        start = start._replace(statistics=jax.tree.map(jnp.zeros_like, start.statistics))
        state = epochs(trainer, start, x, 20, 2)
        score[type(trainer)] = float(model.log_prob(trainer.params(state), jnp.asarray(x), KEY).mean())
    assert score[StepwiseEMTrainer] > score[EMTrainer] + 0.1
