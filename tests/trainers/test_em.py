"""EM adds up an epoch and solves at its end: how the epoch was cut does not matter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.engine import fit
from research.engine import plan as plans
from research.engine.logbook import Bar
from research.engine.many import Member
from research.engine.members import Group
from research.engine.plan import Plan
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


def test_a_ramp_leads_from_one_step_size_to_another() -> None:
    """Over five epochs in a straight line, then constant; each epoch is that of a constant step of its size."""
    model, x = MODELS['bernoulli_mixture']
    ramp = StepwiseEMTrainer(model=model, step_size=0.9, final_step_size=0.1, ramp=5)
    state = ramp.init(KEY, jnp.asarray(x))
    plain = StepwiseEMTrainer(model=model).init(KEY, jnp.asarray(x))
    assert isinstance(plain, Expectation)
    jax.tree.map(np.testing.assert_array_equal, ramp.params(state), plain.params)
    for size in (0.9, 0.7, 0.5, 0.3, 0.1, 0.1):
        assert float(ramp.size(state)) == pytest.approx(size, abs=1e-6)
        state = epochs(ramp, state, x, 3, 1)
        plain = epochs(StepwiseEMTrainer(model=model, step_size=size), plain, x, 3, 1)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), state.last, plain)


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


def test_of_several_starts_the_best_is_used() -> None:
    """Each start climbs as it would alone, and params are those of least loss; the log tells of that start and of the worst."""
    model, x = MODELS['gaussian_mixture']
    trainer, alone = EMTrainer(model=model, restarts=4), EMTrainer(model=model)
    state = epochs(trainer, trainer.init(KEY, jnp.asarray(x)), x, 2, 5)
    solo = [epochs(alone, alone.init(key, jnp.asarray(x)), x, 2, 4) for key in jax.random.split(KEY, 4)]
    losses = [-float(model.log_prob(one.params, jnp.asarray(x), KEY).mean()) for one in solo]
    np.testing.assert_allclose(state.previous, losses, rtol=1e-4)
    assert max(losses) - min(losses) > 1e-3  # else the test would see nothing
    finest = epochs(alone, solo[int(np.argmin(losses))], x, 2, 1)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), trainer.params(state), finest.params
    )
    _, metrics = trainer.step(state, jnp.asarray(x), KEY)
    assert float(metrics['loss']) <= min(losses) + 1e-5
    assert not bool(trainer.finished(state))


@pytest.mark.filterwarnings('ignore::sklearn.exceptions.ConvergenceWarning')
@pytest.mark.parametrize('tolerance', [1e-2, 1e-4])
def test_it_converges_where_scikit_learn_does(tolerance: float) -> None:
    """From one start, after as many iterations, at the same place; further epochs change nothing."""
    from sklearn.mixture import GaussianMixture as Reference

    model, x = GaussianMixture(components=3, variance_floor=1e-3), REAL
    trainer = EMTrainer(model=model, tolerance=tolerance)
    state = trainer.init(KEY, jnp.asarray(x))
    means, weights = np.asarray(state.expectation.params['means'][0], np.float64), np.full(3, 1 / 3)
    reference = Reference(
        3, covariance_type='diag', tol=tolerance, reg_covar=1e-3, max_iter=500, means_init=means, weights_init=weights,
        precisions_init=1 / (np.tile(x.var(axis=0), (3, 1)) + 1e-6 + 1e-3),
    ).fit(x.astype(np.float64))  # fmt: skip
    count = 0
    while not bool(trainer.finished(state)):
        state, count = epochs(trainer, state, x, 2, 1), count + 1
    assert count == reference.n_iter_
    np.testing.assert_allclose(trainer.params(state)['means'], reference.means_, rtol=1e-3, atol=1e-3)
    again = epochs(trainer, state, x, 2, 3)
    jax.tree.map(np.testing.assert_array_equal, trainer.params(again), trainer.params(state))


def test_a_run_ends_when_it_has_converged(tmp_path: Path) -> None:
    """Long before its last epoch; going on with it does nothing; and members of a sweep wait for the slowest."""
    trainer = EMTrainer(model=GaussianMixture(components=2), tolerance=1e-3, restarts=2)
    plan = Plan(trainer, lambda x, key: x, REAL, 500, 30, 0)
    state = fit.fit(plan, tmp_path / 'run', quiet=True)
    log = [json.loads(line) for line in (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()]
    assert 2 <= len(log) < 200
    assert log[-1]['converged'] == 1 > log[-2]['converged']
    again = fit.fit(plan, tmp_path / 'run', resume=True, quiet=True)
    jax.tree.map(np.testing.assert_array_equal, again, state)
    assert len((tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()) == len(log)
    members = [Member(plans.numbers(plan), seed) for seed in range(3)]
    found = next(iter(Group(plan, members, per_call=3).outcomes(Bar('members', 0, True), False)))
    assert all(outcome.metrics['converged'] == 1 for outcome in found)
    assert float(found[0].metrics['loss']) == pytest.approx(log[-1]['loss'], abs=2e-3)
