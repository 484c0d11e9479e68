"""The continuous Bernoulli against its formulas in float64 and against quadrature, also next to lambda = 1/2."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.maths.continuous_bernoulli import NEAR, ContinuousBernoulli, expectation, log_normaliser, quantile

LIKELIHOOD = ContinuousBernoulli()
ETA = np.concatenate([s * np.geomspace(1e-7, 60, 120) for s in (-1, 1)] + [[0.0, NEAR, -NEAR]]).astype(np.float32)
NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)
NODES, WEIGHTS = (NODES + 1) / 2, WEIGHTS / 2  # on [0, 1]


def moments() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log normaliser, mean and variance for each of ETA by quadrature in float64."""
    eta = ETA.astype(np.float64)[:, None]
    top = np.maximum(eta, 0)
    p = np.exp(eta * NODES - top) * WEIGHTS
    total = p.sum(axis=1)
    mean = (p * NODES).sum(axis=1) / total
    return np.log(total) + top[:, 0], mean, (p * NODES**2).sum(axis=1) / total - mean**2


def test_the_normaliser_and_its_derivatives_are_integrals_to_float32() -> None:
    """The first two are the mean and the variance."""
    slope: Any = jax.vmap(jax.grad(expectation))
    log_total, mean, variance = moments()
    np.testing.assert_allclose(log_normaliser(jnp.asarray(ETA)), log_total, rtol=3e-7, atol=3e-7)
    np.testing.assert_allclose(expectation(jnp.asarray(ETA)), mean, rtol=3e-6, atol=3e-7)
    np.testing.assert_allclose(jax.jit(slope)(jnp.asarray(ETA)), variance, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize('eta', [-20.0, -1.0, -1e-4, 0.0, 1e-4, 1.0, 20.0])
def test_densities_integrate_to_one(eta: float) -> None:
    density = np.exp(np.asarray(LIKELIHOOD.log_prob(jnp.full((200, 1), eta), jnp.asarray(NODES[:, None], jnp.float32))))
    assert (density * WEIGHTS).sum() == pytest.approx(1.0, abs=1e-5)


def test_it_is_the_papers_formula() -> None:
    """Eq. 4 with C(lambda) = 2 artanh(1 - 2 lambda) / (1 - 2 lambda)."""
    lam, x = np.array([0.03, 0.3, 0.499, 0.8]), np.array([0.1, 0.9, 0.5, 0.7])
    c = 2 * np.arctanh(1 - 2 * lam) / (1 - 2 * lam)
    expected = np.log(c * lam**x * (1 - lam) ** (1 - x))
    found = LIKELIHOOD.log_prob(jnp.asarray(np.log(lam / (1 - lam)), jnp.float32)[:, None], jnp.asarray(x)[:, None])
    # log p = x eta + log(1 - lambda) + log C, so A(eta) = -log(1 - lambda) - log C
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_quantile_inverts_the_distribution_function() -> None:
    """F(x) = (e^{eta x} - 1) / (e^eta - 1)."""
    eta, u = np.meshgrid(ETA[np.abs(ETA) < 30], np.linspace(0.01, 0.99, 23, dtype=np.float32))
    x = np.asarray(quantile(jnp.asarray(eta), jnp.asarray(u)), np.float64)
    eta64 = np.where(eta == 0, 1e-12, eta).astype(np.float64)
    np.testing.assert_allclose(np.expm1(eta64 * x) / np.expm1(eta64), u, atol=2e-5)


@pytest.mark.parametrize('eta', [-8.0, -0.5, 0.0, 3e-4, 2.0, 30.0])
def test_samples_have_the_distribution_and_lie_within(eta: float) -> None:
    n = 20_000
    x = np.asarray(LIKELIHOOD.sample(jnp.full((n, 1), eta), jax.random.key(1)), np.float64)[:, 0]
    assert x.min() >= 0
    assert x.max() <= 1
    found = stats.kstest(x, lambda v: np.expm1(eta * v) / np.expm1(eta) if eta else v)
    assert found.pvalue > 1e-4
    assert abs(x.mean() - float(expectation(jnp.float32(eta)))) < 4 * x.std() / np.sqrt(n)


def test_solve_has_the_mean_that_is_asked_for_and_ends_at_the_edge() -> None:
    x = np.random.default_rng(0).beta([0.5, 1, 4], [2, 1, 2], (100, 3)).astype(np.float32)
    x = np.concatenate([x, np.zeros((100, 1), np.float32)], axis=1)
    outputs = LIKELIHOOD.solve(LIKELIHOOD.statistics(jnp.asarray(x), jnp.zeros(4)), 1.0, jnp.zeros(4))
    expected = (x.sum(axis=0) + 1) / 102
    np.testing.assert_allclose(LIKELIHOOD.mean(outputs)[:3], expected[:3], rtol=1e-5)
    assert float(LIKELIHOOD.mean(outputs)[3]) == pytest.approx(0.02, abs=1e-4)  # and not 1 / 102
