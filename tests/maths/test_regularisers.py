"""Penalties on a batch of codes against closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.maths.regularisers import DIP, MMD, SCALES, TotalCorrelation, mmd, total_correlation

KEY = jax.random.key(0)


def batch(correlation: float, n: int = 1500, own: float = 0.3) -> tuple[jax.Array, jax.Array, jax.Array]:
    """z, mean, log_var with z ~ N(0, [[1, c], [c, 1]]) in all, of which q(z | x) has the variance `own`."""
    covariance = np.array([[1, correlation], [correlation, 1]]) - own * np.eye(2)
    mean = np.random.default_rng(0).multivariate_normal(np.zeros(2), covariance, n).astype(np.float32)
    log_var = jnp.full((n, 2), np.log(own))
    return mean + jnp.sqrt(own) * jax.random.normal(KEY, (n, 2)), jnp.asarray(mean), log_var


@pytest.mark.parametrize('correlation', [0.0, 0.4, 0.65])
def test_the_total_correlation_of_a_normal_aggregate(correlation: float) -> None:
    found = float(jax.jit(total_correlation)(*batch(correlation)))
    assert found == pytest.approx(-0.5 * np.log(1 - correlation**2), abs=0.03)


def test_the_total_correlation_pulls_dependent_codes_apart() -> None:
    z, mean, log_var = batch(0.6, 200)
    weigh = TotalCorrelation(weight=3.0)
    assert float(weigh(z, mean, log_var, z)) == pytest.approx(3 * float(total_correlation(z, mean, log_var)), rel=1e-6)
    noise = (z - mean) / jnp.exp(log_var / 2)
    down = jax.grad(lambda mean: weigh(mean + jnp.exp(log_var / 2) * noise, mean, log_var, z))(mean)
    moved = np.asarray(mean - 2.0 * down)
    assert abs(np.corrcoef(moved.T)[0, 1]) < abs(np.corrcoef(np.asarray(mean).T)[0, 1]) - 0.01


def test_dip_is_the_distance_of_the_covariance_from_the_identity() -> None:
    z, mean, log_var = batch(0.5, 400)
    cov = np.cov(np.asarray(mean).T, bias=True)
    for kind, own in (('I', cov), ('II', cov + 0.3 * np.eye(2))):
        expected = 7 * 2 * own[0, 1] ** 2 + 2 * ((np.diag(own) - 1) ** 2).sum()
        found = DIP(kind=kind, off_diagonal=7.0, diagonal=2.0)(z, mean, log_var, z)  # type: ignore[arg-type]
        assert float(found) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('kernel', ['imq', 'rbf'])
def test_mmd_equals_its_sums_by_hand(kernel: str) -> None:
    a, b = (np.asarray(jax.random.normal(jax.random.fold_in(KEY, i), (5, 3)), np.float64) for i in (1, 2))

    def k(x: np.ndarray, y: np.ndarray) -> float:
        square = ((x - y) ** 2).sum()
        return float(np.exp(-square / 3)) if kernel == 'rbf' else sum(6 * s / (6 * s + square) for s in SCALES)

    own = sum(k(v[i], v[j]) for v in (a, b) for i in range(5) for j in range(5) if i != j) / 20
    expected = own - 2 * sum(k(x, y) for x in a for y in b) / 25
    assert float(mmd(jnp.asarray(a), jnp.asarray(b), kernel)) == pytest.approx(expected, abs=1e-5)  # type: ignore[arg-type]


def test_mmd_is_nothing_on_the_prior_itself_and_more_the_further_away() -> None:
    prior, same = (jax.random.normal(jax.random.fold_in(KEY, i), (2000, 2)) for i in (3, 4))
    found = [float(MMD()(same + shift, same, same, prior)) for shift in (0.0, 0.3, 1.0, 3.0)]
    assert abs(found[0]) < 0.1 and found[0] < found[1] < found[2] < found[3]
