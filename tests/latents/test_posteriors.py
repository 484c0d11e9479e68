"""Posteriors: draws have the density that is told of them, and divergences are their integrals."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.latents.autoregressive import IAF
from research.latents.bijections import Planar, Stack
from research.latents.flowing import Flowing
from research.latents.posteriors import Diagonal, FullCovariance, VonMisesFisher
from research.latents.priors import StandardNormal, UniformSphere
from research.nets.masked import MADE

KEY = jax.random.key(0)
STEP = IAF(net=MADE(hidden=(8,)))
POSTERIORS = {
    'diagonal': Diagonal(),
    'full': FullCovariance(),
    'planar': Flowing(bijection=Stack(step=Planar(), layers=2)),
    'iaf': Flowing(bijection=Stack(step=STEP, layers=2), context=4),
    'von_mises_fisher': VonMisesFisher(),
}
LATENT = 3
each = pytest.mark.parametrize('posterior', POSTERIORS.values(), ids=POSTERIORS.keys())


def shaken(posterior: Any) -> Any:
    """Parameters of its own, moved from where they start."""
    params = posterior.init(KEY, LATENT)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), max(len(leaves), 1))
    moved = [leaf + 0.15 * jax.random.normal(k, leaf.shape) for leaf, k in zip(leaves, keys, strict=False)]
    return jax.tree.unflatten(tree, moved)


def codes(posterior: Any, batch: int = 2) -> jax.Array:
    return 0.7 * jax.random.normal(jax.random.key(2), (batch, posterior.size(LATENT)))


@each
def test_a_draw_comes_with_its_own_density(posterior: Any) -> None:
    params, code = shaken(posterior), codes(posterior)
    z, log_q = jax.jit(lambda key: posterior.draw(params, code, key, 5))(KEY)
    assert z.shape == (5, 2, LATENT) and log_q.shape == (5, 2)
    np.testing.assert_allclose(jax.jit(posterior.log_prob)(params, code, z), log_q, rtol=2e-4, atol=2e-4)


@each
def test_codes_and_points_broadcast(posterior: Any) -> None:
    """K codes against [draws, batch, 1, latent]: what a VampPrior asks for."""
    params, code = shaken(posterior), codes(posterior, 4)
    z = posterior.draw(params, codes(posterior), KEY, 5)[0]
    every = jax.jit(posterior.log_prob)(params, code, z[..., None, :])
    assert every.shape == (5, 2, 4)
    one = posterior.log_prob(params, code[2:3], z[:, :1])
    np.testing.assert_allclose(every[:, 0, 2], one[:, 0], rtol=1e-4, atol=1e-4)


@each
def test_the_density_is_that_of_the_draws(posterior: Any) -> None:
    """E_q[r(z) / q(z)] = 1 for a density r that q covers: uniform on the sphere, a narrow normal elsewhere."""
    params, code = shaken(posterior), 0.5 * codes(posterior, 1)
    z, log_q = jax.jit(lambda key: posterior.draw(params, code, key, 40_000))(KEY)
    flat = np.asarray(z)[:, 0]
    if posterior.reference is UniformSphere:
        log_r = np.full(len(flat), -np.log(4 * np.pi))
    else:
        log_r = stats.multivariate_normal.logpdf(flat, flat.mean(axis=0), 0.25 * np.cov(flat.T))
    ratio = np.exp(log_r - np.asarray(log_q)[:, 0])
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / 200 + 1e-3) and ratio.std() < 20


@pytest.mark.parametrize('name', ['diagonal', 'full', 'von_mises_fisher'])
def test_the_closed_divergence_is_the_mean_over_draws(name: str) -> None:
    posterior: Any = POSTERIORS[name]
    code, prior = codes(posterior), StandardNormal() if name != 'von_mises_fisher' else UniformSphere()
    z, log_q = jax.jit(lambda key: posterior.draw({}, code, key, 40_000))(KEY)
    drawn = np.asarray(log_q - prior.log_prob(None, {}, z))
    error = drawn.std(axis=0) / 200
    assert (np.abs(drawn.mean(axis=0) - np.asarray(posterior.kl(code)).sum(axis=-1)) < 4 * error + 1e-4).all()


@pytest.mark.parametrize('name', ['diagonal', 'full'])
def test_moments_are_those_of_the_draws(name: str) -> None:
    posterior: Any = POSTERIORS[name]
    code = codes(posterior, 1)
    mean, log_var = posterior.moments(code)
    z = np.asarray(posterior.draw({}, code, KEY, 40_000)[0])[:, 0]
    assert (np.abs(z.mean(axis=0) - mean[0]) < 4 * z.std(axis=0) / 200).all()
    np.testing.assert_allclose(z.var(axis=0), np.exp(log_var[0]), rtol=0.05)


def test_the_full_covariance_is_that_of_its_factor() -> None:
    posterior = FullCovariance()
    code = codes(posterior, 1)
    mean, _, lower = posterior.parts(code)
    z = np.random.default_rng(0).normal(size=(4, LATENT))
    expected = stats.multivariate_normal.logpdf(z, mean[0], np.asarray(lower[0] @ lower[0].T, np.float64))
    np.testing.assert_allclose(posterior.log_prob({}, code, jnp.asarray(z)[:, None])[:, 0], expected, rtol=1e-4)


def test_moments_on_the_sphere_are_those_of_the_draws() -> None:
    posterior = VonMisesFisher()
    code = codes(posterior, 1).at[0, -1].set(4.0)
    direction, log_var = posterior.moments(code)
    z = np.asarray(posterior.draw({}, code, KEY, 40_000)[0])[:, 0]
    np.testing.assert_allclose(z.mean(axis=0) / np.linalg.norm(z.mean(axis=0)), direction[0], atol=0.02)
    assert np.exp(log_var[0]).sum() == pytest.approx(z.var(axis=0).sum(), rel=0.03)


def test_log_variances_are_clipped_to_their_limits() -> None:
    code = jnp.array([[0.0, 0.0, 9.0, -9.0]])
    np.testing.assert_array_equal(Diagonal(limits=(-6.0, 2.0)).moments(code)[1], [[2.0, -6.0]])


def test_what_a_posterior_cannot_do_is_said() -> None:
    assert 'at least 3' in str(VonMisesFisher().misfit(2))
    assert all(posterior.misfit(LATENT) is None for posterior in POSTERIORS.values())
