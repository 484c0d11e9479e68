"""Filter and smoother against the joint normal of all states and all observations, written down and conditioned."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.maths import kalman
from research.maths.kalman import System

K, D, TIME = 3, 2, 4
RNG = np.random.default_rng(0)


def system(states: int = K, dims: int = D) -> System:
    root = np.tril(RNG.normal(size=(states, states))) + np.eye(states)
    numbers = (
        RNG.normal(size=states), root, 0.5 * RNG.normal(size=(states, states)), RNG.normal(size=(dims, states)),
        RNG.uniform(0.1, 1.0, dims),
    )  # fmt: skip
    return System(*(jnp.asarray(v, jnp.float32) for v in numbers))


def joint(s: System, time: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [time K] and covariance of all states, and the matrix [time D, time K] that shows them; float64."""
    mean, root, move, loadings, _ = (np.asarray(v, np.float64) for v in s)
    k = len(mean)
    means, covariance, own = [], np.zeros((time * k, time * k)), root @ root.T
    for t in range(time):
        means.append(mean)
        ahead = own
        for u in range(t, time):
            covariance[u * k : (u + 1) * k, t * k : (t + 1) * k] = ahead
            covariance[t * k : (t + 1) * k, u * k : (u + 1) * k] = ahead.T
            ahead = move @ ahead
        mean, own = move @ mean, move @ own @ move.T + np.eye(k)
    return np.concatenate(means), covariance, np.kron(np.eye(time), loadings)


def given(s: System, x: np.ndarray, seen: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """log p of what is seen of x [time, D]; mean [time K] and covariance of all states given it."""
    mean, covariance, shows = joint(s, len(x))
    o = seen.reshape(-1) > 0
    shows, noise = shows[o], np.tile(np.asarray(s.noise, np.float64), len(x))[o]
    if not o.any():
        return 0.0, mean, covariance
    total = shows @ covariance @ shows.T + np.diag(noise)
    gain = covariance @ shows.T @ np.linalg.inv(total)
    log_p = stats.multivariate_normal.logpdf(x.reshape(-1)[o], shows @ mean, total)
    return float(log_p), mean + gain @ (x.reshape(-1)[o] - shows @ mean), covariance - gain @ shows @ covariance


def data(batch: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """x [time, batch, D] and what is seen: everything, parts, a step without anything, nothing."""
    x, seen = RNG.normal(size=(TIME, batch, D)), np.ones((TIME, batch, D))
    seen[:, 1] = RNG.random((TIME, D)) < 0.5
    seen[1, 2] = 0
    seen[:, 3] = 0
    return (x * seen).astype(np.float32), seen.astype(np.float32)


@pytest.mark.parametrize('states', [3, 1, 5])
def test_filter_and_smoother_are_the_conditioned_normal(states: int) -> None:
    """log p, means, covariances, covariances of neighbours, with fewer and with more states than variables."""
    s, (x, seen) = system(states), data()
    exists = np.ones(seen.shape[:2], bool)
    filtered, gains = jax.jit(kalman.forward)(s, x, seen, exists)
    smoothed = jax.jit(kalman.backward)(s, filtered, exists)
    for n in range(x.shape[1]):
        log_p, mean, covariance = given(s, x[:, n].astype(np.float64), seen[:, n])
        assert float(gains[:, n].sum()) == pytest.approx(log_p, abs=2e-4)
        blocks = covariance.reshape(TIME, states, TIME, states)
        for t in range(TIME):
            np.testing.assert_allclose(smoothed.mean[t, n], mean.reshape(TIME, states)[t], atol=2e-4)
            np.testing.assert_allclose(smoothed.covariance[t, n], blocks[t, :, t], atol=2e-4, rtol=1e-3)
            if t + 1 < TIME:
                np.testing.assert_allclose(smoothed.cross[t, n], blocks[t, :, t + 1], atol=2e-4, rtol=1e-3)
        so_far, last, _ = given(s, x[:2, n].astype(np.float64), seen[:2, n])
        np.testing.assert_allclose(filtered.mean[1, n], last.reshape(2, states)[1], atol=2e-4)
        assert float(gains[:2, n].sum()) == pytest.approx(so_far, abs=2e-4)


def test_covariances_are_symmetric_and_not_below_zero() -> None:
    """Noise of 1e-6 beside a state of 1e4, 200 steps: the squares would be more than float32 holds."""
    s = system()
    s = s._replace(root=s.root * 1e2, noise=jnp.full(D, 1e-6))
    x, seen = jnp.asarray(RNG.normal(size=(200, 1, D)), jnp.float32), jnp.ones((200, 1, D))
    exists = jnp.ones((200, 1), bool)
    filtered, gains = jax.jit(kalman.forward)(s, x, seen, exists)
    found = np.asarray(jax.jit(kalman.backward)(s, filtered, exists).covariance[:, 0])
    assert np.isfinite(gains).all()
    assert np.isfinite(found).all()
    scale = np.abs(found).max(axis=(1, 2), keepdims=True)
    assert (np.abs(found - found.transpose(0, 2, 1)) < 1e-5 * scale).all()
    assert (np.linalg.eigvalsh(found) > -1e-5 * scale[:, :, 0]).all()


def test_one_mask_serves_all_who_lack_the_same() -> None:
    """The same with one covariance for all and with one each; `shared` chooses by the data."""
    s, (x, seen) = system(), data()
    seen = np.repeat(seen[:, 1:2], x.shape[1], axis=1)
    exists = np.ones(seen.shape[:2], bool)
    used: list[int] = []

    def work(seen: Any, exists: Any) -> Any:
        used.append(seen.shape[1])
        filtered, gains = kalman.forward(s, x * seen, seen, exists)
        return gains.sum(axis=0), kalman.backward(s, filtered, exists).mean

    found = jax.jit(lambda seen: kalman.shared(work, seen, exists))(seen)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, work(seen, exists))
    assert {1, x.shape[1]} <= set(used)
    more = seen.copy()
    more[0, 0] = 1 - more[0, 0]
    found = jax.jit(lambda seen: kalman.shared(work, seen, exists))(more)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, work(more, exists))


def test_where_nothing_exists_nothing_moves() -> None:
    """A sequence filled up before, behind and in the middle is the sequence without that."""
    s, (x, seen) = system(), data()
    exists = np.array([False, True, True, False, True, False])
    wide = np.zeros((6, 5, D), np.float32)
    wide[exists], there = x[:3], np.zeros((6, 5, D), np.float32)
    there[exists] = seen[:3]
    here = np.repeat(exists[:, None], 5, axis=1)
    filtered, gains = jax.jit(kalman.forward)(s, wide, there, here)
    mean = jax.jit(kalman.backward)(s, filtered, here).mean
    short = np.ones((3, 5), bool)
    expected, own = jax.jit(kalman.forward)(s, x[:3], seen[:3], short)
    np.testing.assert_allclose(gains[exists], own, atol=1e-5)
    np.testing.assert_allclose(mean[exists], kalman.backward(s, expected, short).mean, atol=1e-5)
    assert (np.asarray(gains)[~exists] == 0).all()


def test_no_steps_are_no_error() -> None:
    s, none = system(), jnp.zeros((0, 2), bool)
    filtered, gains = kalman.forward(s, jnp.zeros((0, 2, D)), jnp.zeros((0, 2, D)), none)
    assert gains.sum(axis=0).tolist() == [0, 0]
    assert kalman.backward(s, filtered, none).mean.shape == (0, 2, K)
    assert kalman.walk(s, none, 2, jax.random.key(0)).shape == (0, 2, K)


def test_walks_have_the_joint_moments() -> None:
    s, n = system(), 40_000
    mean, covariance, _ = joint(s, TIME)
    z = np.asarray(jax.jit(lambda: kalman.walk(s, jnp.ones((TIME, 1), bool), n, jax.random.key(0)))(), np.float64)
    z = z.swapaxes(0, 1).reshape(n, -1)
    assert (np.abs(z.mean(axis=0) - mean) < 4 * np.sqrt(np.diag(covariance) / n)).all()
    products = (z - mean)[:, :, None] * (z - mean)[:, None, :]
    assert (np.abs(products.mean(axis=0) - covariance) < 4.5 * products.std(axis=0) / np.sqrt(n)).all()
