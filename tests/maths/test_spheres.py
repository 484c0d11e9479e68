"""The von Mises-Fisher density against SciPy, quadrature and its own closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from research.maths import spheres

KEY = jax.random.key(0)
KAPPAS = np.array([1.0, 3.7, 20.0, 150.0, 900.0])


@pytest.mark.parametrize('order', [0.5, 1.0, 4.5, 19.0])
def test_the_bessel_function_equals_scipy(order: float) -> None:
    expected = np.log(special.ive(order, KAPPAS)) + KAPPAS
    np.testing.assert_allclose(spheres.log_bessel(order, jnp.asarray(KAPPAS)), expected, rtol=3e-6, atol=3e-5)
    slope = jax.vmap(jax.grad(lambda x: spheres.log_bessel(order, x)))(jnp.asarray(KAPPAS))
    expected = order / KAPPAS + special.ive(order + 1, KAPPAS) / special.ive(order, KAPPAS)
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


@pytest.mark.parametrize('dims', [3, 4, 11, 40])
def test_the_normaliser_equals_scipy(dims: int) -> None:
    mean = np.eye(dims)[0]
    for kappa in (1.0, 10.0, 100.0):
        expected = stats.vonmises_fisher(mean, kappa).logpdf(mean) - kappa
        assert float(spheres.log_normaliser(jnp.float32(kappa), dims)) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_area_of_a_sphere() -> None:
    assert np.exp(spheres.log_area(3)) == pytest.approx(4 * np.pi)


@pytest.mark.parametrize(('dims', 'kappa'), [(3, 1.0), (3, 30.0), (6, 5.0), (20, 200.0)])
def test_draws_have_the_density_along_the_mean_and_unit_length(dims: int, kappa: float) -> None:
    direction = np.random.default_rng(0).normal(size=dims)
    direction /= np.linalg.norm(direction)
    draw = jax.jit(lambda key: spheres.draw(key, jnp.asarray(direction[None], jnp.float32), jnp.array([kappa]), 20_000))
    z = np.asarray(draw(KEY))[:, 0]
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)
    grid = np.linspace(-1, 1, 200_001)
    log_f = kappa * (grid - 1) + (dims - 3) / 2 * np.log(np.maximum(1 - grid**2, 1e-300))
    cdf = integrate.cumulative_trapezoid(np.exp(log_f), grid, initial=0)
    assert stats.kstest(z @ direction, lambda w: np.interp(w, grid, cdf / cdf[-1])).pvalue > 1e-4
    across = z - np.outer(z @ direction, direction)  # all directions across the mean are alike
    error = np.sqrt((1 - (z @ direction) ** 2).mean() / (dims - 1) / 20_000)
    assert np.abs(across.mean(axis=0)).max() < 5 * error


@pytest.mark.parametrize(('dims', 'kappa'), [(3, 2.0), (5, 20.0), (11, 80.0), (128, 1000.0)])
def test_the_gradient_of_a_draw_is_that_of_the_mean(dims: int, kappa: float) -> None:
    """E[dw/dkappa] = dA/dkappa = 1 - A^2 - (m - 1) A / kappa, and E[2 w dw/dkappa] that of E[w^2] = 1 - (m - 1) A / kappa."""
    kappas = jnp.full(20_000, kappa)
    w, slope = jax.jit(lambda k: jax.jvp(lambda k: spheres.along(KEY, k, dims), (k,), (jnp.ones_like(k),)))(kappas)
    w, slope = np.asarray(w, np.float64), np.asarray(slope, np.float64)
    a = special.ive(dims / 2, kappa) / special.ive(dims / 2 - 1, kappa)
    da = 1 - a**2 - (dims - 1) * a / kappa
    assert abs(w.mean() - a) < 4 * w.std() / np.sqrt(20_000)
    assert abs(slope.mean() - da) < 4 * slope.std() / np.sqrt(20_000) + 1e-5
    second = -(dims - 1) * (da / kappa - a / kappa**2)
    assert abs((2 * w * slope).mean() - second) < 4 * (2 * w * slope).std() / np.sqrt(20_000) + 1e-5


def test_draws_differ_under_vmap_and_pass_through_jit() -> None:
    keys = jax.random.split(KEY, 3)
    alone = [spheres.along(key, jnp.full(4, 5.0), 4) for key in keys]
    together = jax.jit(jax.vmap(lambda key: spheres.along(key, jnp.full(4, 5.0), 4)))(keys)
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-5)
