"""Annealing against models whose likelihood is known: unbiased weights, bounds on either side, and what moves a chain."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.maths import annealing
from research.maths.annealing import Annealing, Linear, Sigmoidal
from research.maths.bounds import gaussian_log_prob

KEY = jax.random.key(0)
DIMS, LATENT, SCALE, BATCH = 6, 3, 0.5, 40


def loadings() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(LATENT, DIMS)).astype(np.float32)


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z [batch, latent], x [batch, dims] made of it by probabilistic PCA, and log p(x) [batch]."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(BATCH, LATENT)).astype(np.float32)
    x = (z @ loadings() + SCALE * rng.normal(size=(BATCH, DIMS))).astype(np.float32)
    cov = loadings().T @ loadings() + SCALE**2 * np.eye(DIMS)
    return z, x, stats.multivariate_normal.logpdf(x, np.zeros(DIMS), cov)


Z, X, EXACT = data()


def log_prior(z: jax.Array) -> jax.Array:
    return gaussian_log_prob(z)


def log_likelihood(z: jax.Array) -> jax.Array:
    return gaussian_log_prob(jnp.asarray(X), z @ loadings(), 2 * jnp.log(SCALE))


def both(how: Annealing, chains: int) -> Any:
    """Compiled: a key to forward and reverse runs of all of X."""

    def run(key: jax.Array) -> tuple[annealing.Annealed, annealing.Annealed]:
        keys = [jax.random.fold_in(key, i) for i in range(5)]
        pilots = jax.random.normal(keys[0], (2, BATCH, LATENT))
        sizes = annealing.step_sizes(log_prior, log_likelihood, pilots, how, keys[1])
        start = jax.random.normal(keys[2], (chains, BATCH, LATENT))
        known = jnp.broadcast_to(Z, (chains, BATCH, LATENT))
        return (
            annealing.forward(log_prior, log_likelihood, start, sizes, how, keys[3]),
            annealing.reverse(log_prior, log_likelihood, known, sizes, how, keys[4]),
        )

    return jax.jit(run)


def test_schedules_go_from_nothing_to_all() -> None:
    part = jnp.linspace(0, 1, 11)
    for schedule in (Linear(), Sigmoidal(), Sigmoidal(slope=9.0)):
        b = np.asarray(schedule.at(part))
        assert b[0] == pytest.approx(0, abs=1e-7) and b[-1] == pytest.approx(1, abs=1e-7) and (np.diff(b) > 0).all()
        np.testing.assert_allclose(b + b[::-1], 1, atol=1e-6)
    s = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    expected = (s(4 * (2 * np.asarray(part) - 1)) - s(-4)) / (s(4) - s(-4))
    np.testing.assert_allclose(Sigmoidal().at(part), expected, atol=1e-6)


def test_the_mean_of_the_weights_is_the_likelihood_however_short_the_path() -> None:
    """Of a few temperatures the bounds are loose, and the weights unbiased all the same, both ways: E w = p(x), E 1/w' = 1/p(x)."""
    how = Annealing(temperatures=3, leapfrog=2)
    runs, w, s = 40_000, 0.8, 1.0
    rng = np.random.default_rng(2)
    z = rng.normal(size=(runs, 1)).astype(np.float32)
    x = (w * z + s * rng.normal(size=(runs, 1))).astype(np.float32)
    exact = stats.norm.logpdf(x[:, 0], 0, np.hypot(w, s))
    likelihood = lambda v: gaussian_log_prob(jnp.asarray(x), w * v)  # noqa: E731

    @jax.jit
    def run(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = [jax.random.fold_in(key, i) for i in range(3)]
        sizes = jnp.full((annealing.SEGMENTS, runs), jnp.log(0.9))
        start = jax.random.normal(keys[0], (1, runs, 1))
        up = annealing.forward(log_prior, likelihood, start, sizes, how, keys[1])
        down = annealing.reverse(log_prior, likelihood, jnp.asarray(z)[None], sizes, how, keys[2])
        return up.log_weights[0], down.log_weights[0]

    up, down = (np.asarray(one, np.float64) for one in run(KEY))
    for ratio in (np.exp(up - exact), np.exp(exact - down)):
        assert ratio.std() > 0.1
        assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(runs)


def test_a_long_path_is_within_a_twentieth_of_a_nat_and_a_short_one_on_either_side() -> None:
    gaps = []
    for steps in (8, 400):
        up, down = both(Annealing(temperatures=steps, leapfrog=5), chains=8)(KEY)
        lower = np.asarray(annealing.lower_bound(up.log_weights)) - EXACT
        upper = np.asarray(annealing.upper_bound(down.log_weights)) - EXACT
        for off, side in ((lower, 1), (upper, -1)):
            assert side * off.mean() < 3 * off.std() / np.sqrt(BATCH)
        gaps.append((upper - lower).mean())
    assert abs(lower.mean()) < 0.05 and abs(upper.mean()) < 0.05
    assert gaps[0] > 1 and abs(gaps[1]) < 0.1


def test_step_sizes_reach_the_target_on_every_example_and_follow_the_posterior() -> None:
    """Narrow posteriors need small steps; the share that the counting chains accept is near what was asked for."""
    narrow = jnp.where(jnp.arange(BATCH) < BATCH // 2, 0.05, 1.0)
    likelihood = lambda z: -0.5 * ((z / narrow[:, None]) ** 2).sum(axis=-1)  # noqa: E731
    how = Annealing(temperatures=300, leapfrog=4, target=0.65)

    @jax.jit
    def run(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = [jax.random.fold_in(key, i) for i in range(4)]
        pilots = jax.random.normal(keys[0], (4, BATCH, 2))
        sizes = annealing.step_sizes(log_prior, likelihood, pilots, how, keys[1])
        start = jax.random.normal(keys[2], (8, BATCH, 2))
        return sizes, annealing.forward(log_prior, likelihood, start, sizes, how, keys[3]).accepted

    sizes, accepted = run(KEY)
    assert (np.abs(np.asarray(accepted) - 0.65) < 0.12).all()
    last = np.exp(np.asarray(sizes[-1]))
    assert last[: BATCH // 2].max() < 0.3 * last[BATCH // 2 :].min()


def test_sizes_lie_between_the_middles_of_their_segments() -> None:
    log_sizes = jnp.log(jnp.arange(1.0, annealing.SEGMENTS + 1))[:, None]
    middle = (np.arange(annealing.SEGMENTS) + 0.5) / annealing.SEGMENTS
    found = jax.vmap(lambda part: annealing.size_at(log_sizes, part))(jnp.asarray(middle))[:, 0]
    np.testing.assert_allclose(found, np.arange(1, annealing.SEGMENTS + 1), rtol=1e-4)
    ends = [float(annealing.size_at(log_sizes, jnp.float32(part))[0]) for part in (0.0, 1.0)]
    np.testing.assert_allclose(ends, [1, annealing.SEGMENTS], rtol=1e-5)
    half = float(annealing.size_at(log_sizes, jnp.float32(1 / annealing.SEGMENTS))[0])
    assert half == pytest.approx(np.sqrt(2), rel=1e-4)


def test_a_transition_leaves_its_density_as_it_is() -> None:
    """Draws of f at b = 0.5 are draws of it afterwards; rejections, rough steps and all."""
    n, b = 20_000, 0.5
    likelihood = lambda z: -2 * z[..., 0] ** 2  # noqa: E731
    scale = np.sqrt(1 / (1 + 4 * b))
    z = scale * jax.random.normal(KEY, (1, n, 1))

    @jax.jit
    def move(z: jax.Array) -> tuple[annealing.Point, jax.Array]:
        start = annealing.look(log_prior, likelihood, z)
        size = jnp.full(n, 1.0)
        return annealing.transition(log_prior, likelihood, start, jnp.float32(b), size, 3, jax.random.fold_in(KEY, 1))

    point, accepted = move(z)
    assert 0.3 < float(accepted.mean()) < 0.95
    assert stats.kstest(np.asarray(point.z).ravel(), stats.norm(0, scale).cdf).pvalue > 1e-4
    np.testing.assert_allclose(point.log_likelihood, likelihood(point.z), rtol=1e-5)
    np.testing.assert_allclose(point.likelihood_slope, -4 * point.z, rtol=1e-5)


def test_a_trajectory_that_runs_away_is_refused() -> None:
    """Steps far beyond stability overflow; the chain stays where it is and its weight stays finite."""
    how = Annealing(temperatures=5, leapfrog=30)
    sizes = jnp.full((annealing.SEGMENTS, BATCH), jnp.log(1e4))
    start = jax.random.normal(KEY, (2, BATCH, LATENT))
    found = jax.jit(lambda z: annealing.forward(log_prior, log_likelihood, z, sizes, how, KEY))(start)
    assert float(found.accepted.max()) == 0 and np.isfinite(found.log_weights).all()
    np.testing.assert_array_equal(found.z, start)


def test_memory_does_not_grow_with_the_path() -> None:
    def memory(temperatures: int) -> int:
        how = Annealing(temperatures=temperatures, leapfrog=2)
        z, sizes = jnp.zeros((4, BATCH, LATENT)), jnp.zeros((annealing.SEGMENTS, BATCH))
        run = jax.jit(lambda z: annealing.forward(log_prior, log_likelihood, z, sizes, how, KEY))
        analysis = run.lower(z).compile().memory_analysis()
        assert analysis is not None
        return int(analysis.temp_size_in_bytes)

    assert memory(10_000) <= memory(10) + 4 * 10_000 + 1000  # the numbers of the steps themselves


def test_no_key_is_used_twice() -> None:
    with jax.debug_key_reuse(True):
        both(Annealing(temperatures=2, leapfrog=2), chains=2)(KEY)
