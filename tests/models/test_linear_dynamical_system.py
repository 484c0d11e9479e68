"""The linear dynamical system against the joint normal of all of x; EM climbs, and odd input is defined."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.models.factor_analysers import FactorAnalysers
from research.models.linear_dynamical_system import LinearDynamicalSystem
from research.types import Domain
from tests.maths.test_kalman import joint
from tests.models.test_mixture import climb, iterate

KEY = jax.random.key(0)
TIME, DIMS, FLOOR = 4, 2, 1e-3
RNG = np.random.default_rng(0)
MODEL = LinearDynamicalSystem(states=3, variance_floor=FLOOR)
X = RNG.normal(size=(6, TIME, DIMS)).astype(np.float32)
X[1, 2:] = np.nan  # two steps
X[2, :3] = np.nan  # one, late
X[3] = np.nan  # none
X[4, 1, 0] = np.nan  # a step that lacks one variable
LATER = RNG.normal(size=(40, 1, 2)) + np.cumsum(RNG.normal(size=(40, 9, 2)), axis=1) @ np.array([[1, 0.5], [0, 0.3]])


def start(model: LinearDynamicalSystem = MODEL, x: np.ndarray = X, seed: int = 0) -> Any:
    """A random point: some way from where `init` begins."""
    params = jax.jit(model.init)(jax.random.key(seed), jnp.asarray(x))
    keys = iter(jax.random.split(jax.random.key(seed + 1), 20))
    return jax.tree.map(lambda leaf: leaf + 0.5 * jax.random.normal(next(keys), leaf.shape), params)


def normal(model: LinearDynamicalSystem, params: Any, time: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of all of x, [time dims], in float64."""
    system = model.system(params)
    mean, covariance, shows = joint(system, time)
    noise = np.tile(np.asarray(system.noise, np.float64), time)
    offset = np.tile(np.asarray(params['offset'], np.float64), time)
    return shows @ mean + offset, shows @ covariance @ shows.T + np.diag(noise)


def test_log_prob_is_that_of_the_joint_normal() -> None:
    """Whole, shorter, later and empty sequences; what is NaN is summed out."""
    params = start()
    found = np.asarray(jax.jit(MODEL.log_prob)(params, X, KEY))
    mean, covariance = normal(MODEL, params, TIME)
    for n, row in enumerate(X.reshape(len(X), -1)):
        if n == 2:  # one step behind three that do not exist is a first step
            mean_1, covariance_1 = normal(MODEL, params, 1)
            assert found[n] == pytest.approx(stats.multivariate_normal.logpdf(X[n, 3], mean_1, covariance_1), abs=1e-4)
        elif n == 3:
            assert found[n] == 0
        else:
            o = ~np.isnan(row)
            expected = stats.multivariate_normal.logpdf(row[o], mean[o], covariance[np.ix_(o, o)])
            assert found[n] == pytest.approx(expected, rel=1e-5, abs=1e-4)


MASKS = (
    [[1, 1], [1, 1], [1, 1], [1, 1]],
    [[1, 0], [0, 0], [1, 1], [0, 1]],
    [[0, 0], [0, 1], [0, 0], [0, 0]],
    [[0, 0], [0, 0], [0, 0], [0, 0]],
)


@pytest.mark.parametrize('mask', MASKS)
def test_marginals_are_those_of_the_joint_normal(mask: list[list[int]]) -> None:
    params, o = start(), np.array(mask, bool)
    x = RNG.normal(size=(5, TIME, DIMS)).astype(np.float32)
    mean, covariance = normal(MODEL, params, TIME)
    p, expected = o.reshape(-1), np.zeros(5)
    if p.any():
        expected = stats.multivariate_normal.logpdf(x[:, o], mean[p], covariance[np.ix_(p, p)])
    for hidden in (x, np.where(o, x, np.nan)):
        np.testing.assert_allclose(jax.jit(MODEL.log_marginal)(params, hidden, o), expected, rtol=1e-5, atol=1e-4)


def test_the_smoother_is_the_conditioned_normal() -> None:
    """E[C z_t + d | x] of what is not observed, to 1e-4, from the posterior of the states."""
    params, o = start(), np.array(MASKS[1], bool)
    x = np.where(o, RNG.normal(size=(1, TIME, DIMS)), np.nan).astype(np.float32)
    x[0, 1] = 0.3
    o[1] = True
    mean, covariance = normal(MODEL, params, TIME)
    p = o.reshape(-1)
    gain = covariance[np.ix_(~p, p)] @ np.linalg.inv(covariance[np.ix_(p, p)])
    expected = mean[~p] + gain @ (x[0][o] - mean[p])
    z, spread = jax.jit(MODEL.posterior)(params, x)
    shown = np.asarray(z[0] @ params['loadings'].T + params['offset'])
    np.testing.assert_allclose(shown[~o], expected, atol=1e-4)
    noise = np.asarray(MODEL.system(params).noise)
    within = np.einsum('di,tij,dj->td', params['loadings'], spread[0], params['loadings']) + noise
    exact = np.diag(covariance[np.ix_(~p, ~p)] - gain @ covariance[np.ix_(p, ~p)])
    np.testing.assert_allclose(within[~o], exact, rtol=1e-4)


def moments_agree(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> None:
    """Means within four standard errors, products within 4.5 (the largest of many)."""
    n = len(x)
    assert (np.abs(x.mean(axis=0) - mean) < 4 * np.sqrt(np.diag(covariance) / n) + 1e-6).all()
    products = (x - mean)[:, :, None] * (x - mean)[:, None, :]
    assert (np.abs(products.mean(axis=0) - covariance) < 4.5 * products.std(axis=0) / np.sqrt(n) + 1e-6).all()


def test_samples_have_the_moments_of_the_joint_normal() -> None:
    params, n = start(), 40_000
    x = np.asarray(jax.jit(lambda p: MODEL.sample(p, KEY, n, (TIME, DIMS)))(params), np.float64)
    moments_agree(x.reshape(n, -1), *normal(MODEL, params, TIME))


@pytest.mark.parametrize('mask', MASKS[1:])
def test_completions_have_the_exact_moments(mask: list[list[int]]) -> None:
    params, o, n = start(), np.array(mask, bool), 40_000
    x = np.where(o, X[0], np.nan).astype(np.float32)
    drawn = np.asarray(jax.jit(MODEL.conditional)(params, np.tile(x, (n, 1, 1)), o, KEY), np.float64)
    assert (drawn[:, o] == x[o]).all()
    mean, covariance = normal(MODEL, params, TIME)
    p = o.reshape(-1)
    gain = covariance[np.ix_(~p, p)] @ np.linalg.inv(covariance[np.ix_(p, p)])
    within = covariance[np.ix_(~p, ~p)] - gain @ covariance[np.ix_(p, ~p)]
    moments_agree(drawn[:, ~o], mean[~p] + gain @ (x[o] - mean[p]), within)


def test_what_is_not_there_stays_so_when_the_rest_is_drawn() -> None:
    o = np.ones((TIME, DIMS), bool)
    o[0, 0] = False
    drawn = np.asarray(jax.jit(MODEL.conditional)(start(), X, o, KEY))
    np.testing.assert_array_equal(drawn[:, o], X[:, o])
    assert np.isfinite(drawn[[0, 1, 4, 5], 0, 0]).all()
    np.testing.assert_array_equal(drawn[3, 1:], np.nan)


@pytest.mark.parametrize('states', [1, 4])
def test_em_never_lowers_the_likelihood(states: int) -> None:
    """Sequences with gaps and of several lengths, over four starts, to a thousandth of a nat a sequence."""
    model, x = LinearDynamicalSystem(states=states, variance_floor=1e-4), LATER.astype(np.float32)
    x[1, 5:], x[2, :7], x[3, 1:], x[4, 3, 0], x[5, 4] = np.nan, np.nan, np.nan, np.nan, np.nan
    params = [start(model, x, seed) for seed in range(4)]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    fitted, levels = jax.jit(jax.vmap(lambda params: climb(model, params, x, 15)))(together)
    assert (np.diff(levels, axis=1) > -1e-3).all()
    assert (levels[:, -1] > levels[:, 0] + 0.1).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted))


def test_em_finds_the_system_that_made_the_data() -> None:
    """As likely as the truth on 400 sequences of 20 steps, and on 400 others within 0.3 nats of it."""
    turn = 0.95 * np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
    model, truth = LinearDynamicalSystem(states=2, variance_floor=1e-4), start(LinearDynamicalSystem(states=2))
    truth |= {'move': jnp.asarray(turn, jnp.float32), 'log_noise': jnp.log(jnp.array([0.1, 0.3]))}
    x, other = np.asarray(model.sample(truth, KEY, 800, (20, DIMS))).reshape(2, 400, 20, DIMS)
    fitted, levels = iterate(model, jax.jit(model.init)(KEY, jnp.asarray(x)), x, 150)
    score = jax.jit(lambda params, x: model.log_prob(params, x, KEY).mean())
    assert levels[-1] > float(score(truth, x))
    assert float(score(fitted, other)) > float(score(truth, other)) - 0.3
    found = np.sort_complex(np.linalg.eigvals(np.asarray(fitted['move'])))
    np.testing.assert_allclose(found, np.sort_complex(np.linalg.eigvals(turn)), atol=0.05)


def test_one_step_is_factor_analysis() -> None:
    """EM on sequences of one step ends where that of factor analysers does."""
    x = (RNG.normal(size=(300, 1)) @ RNG.normal(size=(1, 4)) + 0.3 * RNG.normal(size=(300, 4))).astype(np.float32)
    peer = FactorAnalysers(factors=1, noise='diagonal')
    _, expected = iterate(peer, jax.jit(peer.init)(KEY, jnp.asarray(x)), x, 200)
    model, rows = LinearDynamicalSystem(states=1), x[:, None]
    _, levels = iterate(model, jax.jit(model.init)(KEY, jnp.asarray(rows)), rows, 300)
    assert levels[-1] == pytest.approx(expected[-1], abs=2e-3)


def test_statistics_add_up_over_batches() -> None:
    """Though one part has a mask for all and the other one for each."""
    params, x, count = start(), X[[0, 5, 1, 4]], jax.jit(lambda p, x: MODEL.statistics(p, x)[0])
    halves = jax.tree.map(jnp.add, count(params, x[:2]), count(params, x[2:]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), halves, count(params, x))


def test_the_gradient_is_that_of_em() -> None:
    """Fisher's identity at a point: one M step from there moves uphill, and the slope of the loss is defined."""
    params, x = start(MODEL, X), np.where(np.isnan(X), np.nan, X)
    slope = jax.jit(jax.grad(lambda p: MODEL.loss(p, x, KEY).loss))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    for name in ('offset', 'move', 'loadings', 'log_noise', 'initial'):
        step = 1e-2 * jax.random.normal(KEY, params[name].shape)
        ahead, back = (MODEL.loss(params | {name: params[name] + s * step}, x, KEY).loss for s in (1, -1))
        assert float(ahead - back) / 2 == pytest.approx(float((slope[name] * step).sum()), rel=2e-2, abs=1e-4)


ODD = {
    'constant': np.ones((4, 5, 2), np.float32),
    'a constant variable': np.stack([RNG.normal(size=(4, 5)), np.full((4, 5), 3.0)], axis=2).astype(np.float32),
    'nothing there': np.full((4, 5, 2), np.nan, np.float32),
    'never there': np.stack([RNG.normal(size=(4, 5)), np.full((4, 5), np.nan)], axis=2).astype(np.float32),
    'far': (RNG.normal(size=(4, 5, 2)) * [1e3, 1e-3] + 1e4).astype(np.float32),
    'one sequence': RNG.normal(size=(1, 6, 2)).astype(np.float32),
    'one step': RNG.normal(size=(3, 1, 2)).astype(np.float32),
    'no steps': np.zeros((3, 0, 2), np.float32),
    'images': RNG.random((3, 4, 2, 1)).astype(np.float32),
}
RICH = LinearDynamicalSystem(states=5)  # more than there are variables


@jax.jit
def brought_up(x: jax.Array) -> Any:
    """Eight iterations of EM, the likelihoods on the way, and three draws."""
    fitted, levels = climb(RICH, RICH.init(KEY, x), x, 8)  # type: ignore[arg-type]
    return fitted, levels, RICH.sample(fitted, KEY, 3, x.shape[1:])


@pytest.mark.parametrize('name', ODD)
def test_odd_data_stay_defined(name: str) -> None:
    """Finite parameters, scores and draws; a variable that never moves has the least noise."""
    fitted, levels, drawn = brought_up(ODD[name])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted))
    assert np.isfinite(levels).all()
    assert drawn.shape == (3, *ODD[name].shape[1:])
    assert np.isfinite(drawn).all()
    if 'constant' in name:
        assert float(RICH.system(fitted).noise[1]) == pytest.approx(1e-3, rel=1e-3)


def test_what_it_cannot_take_is_said() -> None:
    assert 'tokens' in str(MODEL.fits(Domain(kind='tokens', shape=(2,), values=3)))
    assert 'single numbers' in str(MODEL.fits(Domain(kind='real', shape=())))
    assert MODEL.fits(Domain(kind='unit', shape=(8, 8, 1))) is None
