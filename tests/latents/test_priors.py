"""Priors: they integrate to one, draw what they score, and are felt by what they should be felt by."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.latents.posteriors import Diagonal, FullCovariance, VonMisesFisher
from research.latents.priors import AfterTheFact, Density, StandardNormal, UniformSphere, VampPrior
from research.maths.bounds import gaussian_log_prob
from research.maths.likelihoods import Gaussian
from research.maths.regularisers import MMD
from research.models.autoencoder import Autoencoder
from research.models.mixture import GaussianMixture
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.types import BadInput, Domain

KEY = jax.random.key(0)
NET = MLP(hidden=(8,))
MIXTURE = GaussianMixture(components=3, variance_floor=1e-2)
X = (jax.random.uniform(KEY, (30, 6)) < 0.4).astype(jnp.float32)
BITS = Domain(kind='binary', shape=(6,))
PRIORS = {
    'standard': StandardNormal(),
    'vamp': VampPrior(inputs=4),
    'vamp_noise': VampPrior(inputs=4, start='noise'),
    'mixture': Density(model=MIXTURE),
    'after_the_fact': AfterTheFact(density=MIXTURE),
}
each = pytest.mark.parametrize('prior', PRIORS.values(), ids=PRIORS.keys())


def model(prior: Any, **fields: Any) -> VAE:
    return VAE(encoder=NET, decoder=NET, latent=2, prior=prior, **fields)


@each
def test_it_integrates_to_one_and_draws_what_it_scores(prior: Any) -> None:
    vae = model(prior)
    params = vae.init(KEY, X)
    side = np.linspace(-7, 7, 281)
    grid = jnp.asarray(np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2))
    density = np.exp(np.asarray(jax.jit(lambda z: prior.log_prob(vae, params, z))(grid), np.float64)) * 0.05**2
    assert density.sum() == pytest.approx(1, abs=1e-4)
    z = np.asarray(prior.sample(vae, params, KEY, 20_000))
    mean = density @ np.asarray(grid)
    assert (np.abs(z.mean(axis=0) - mean) < 4 * z.std(axis=0) / np.sqrt(20_000) + 1e-4).all()
    np.testing.assert_allclose(np.cov(z.T), np.cov(np.asarray(grid).T, aweights=density, bias=True), atol=0.06)
    shaped = jax.jit(lambda z: prior.log_prob(vae, params, z))(grid[:12].reshape(3, 4, 2))
    np.testing.assert_allclose(shaped.reshape(-1), np.log(density[:12] / 0.05**2), rtol=1e-4, atol=1e-4)


def test_the_sphere_is_uniform() -> None:
    vae = VAE(encoder=NET, decoder=NET, latent=3, posterior=VonMisesFisher(), prior=UniformSphere())
    z = np.asarray(vae.prior.sample(vae, {}, KEY, 20_000))
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)
    assert np.abs(z.mean(axis=0)).max() < 4 / np.sqrt(3 * 20_000)
    np.testing.assert_allclose(np.exp(vae.prior.log_prob(vae, {}, jnp.asarray(z[:5]))), 1 / (4 * np.pi), rtol=1e-5)


def test_a_vamp_prior_is_the_mean_posterior_of_its_inputs() -> None:
    vae = model(VampPrior(inputs=5))
    params = vae.init(KEY, X)
    z = jax.random.normal(KEY, (7, 2))
    clipped = jnp.clip(params['prior']['inputs'], 0, 1)
    mean, log_var = vae.encode(params, clipped)
    densities = np.exp(np.asarray(gaussian_log_prob(z[:, None], mean, log_var), np.float64))
    np.testing.assert_allclose(vae.prior.log_prob(vae, params, z), np.log(densities.mean(axis=1)), rtol=1e-4)


def test_a_vamp_prior_starts_at_data_and_is_refused_more_inputs_than_that() -> None:
    inputs = model(VampPrior(inputs=30)).init(KEY, X)['prior']['inputs']
    assert np.abs(np.asarray(inputs)[:, None] - np.asarray(X)).max(axis=2).min(axis=1).max() < 0.06
    with pytest.raises(BadInput, match=r'prior.inputs=31.*30 examples'):
        model(VampPrior(inputs=31)).init(KEY, X)


def gradient(vae: VAE, params: Any, part: str) -> float:
    found = jax.jit(jax.grad(lambda own: vae.loss({**params, part: own}, X, KEY).loss))(params[part])
    return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(found))


def test_learned_priors_are_fitted_with_the_model() -> None:
    for prior in (VampPrior(inputs=4), Density(model=MIXTURE), AfterTheFact(density=MIXTURE)):
        vae = model(prior)
        assert gradient(vae, vae.init(KEY, X), 'prior') > 1e-5


def test_what_follows_after_the_fact_is_not_felt() -> None:
    """The model's gradients and losses are those beside a standard normal; scores and samples are not."""
    after, plain = model(AfterTheFact(density=MIXTURE)), model(StandardNormal())
    params = after.init(KEY, X)
    grads = [
        jax.grad(lambda own, vae=vae: vae.loss({**params, 'encoder': own}, X, KEY).loss)(params['encoder'])
        for vae in (after, plain)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), *grads)
    losses = [vae.loss(params, X, KEY).metrics['loss'] for vae in (after, plain)]
    assert float(losses[0]) == pytest.approx(float(losses[1]))
    assert float(jnp.abs(after.log_prob(params, X, KEY) - plain.log_prob(params, X, KEY)).max()) > 1e-3


def test_parts_that_do_not_go_together_are_refused() -> None:
    sphere = VAE(latent=3, posterior=VonMisesFisher())
    assert 'StandardNormal is of other points' in str(sphere.fits(BITS))
    assert dataclasses.replace(sphere, prior=UniformSphere()).fits(BITS) is None
    assert dataclasses.replace(sphere, prior=VampPrior()).fits(BITS) is None
    assert 'UniformSphere' in str(VAE(prior=UniformSphere()).fits(BITS))
    for posterior in (Diagonal(), FullCovariance()):
        assert VAE(posterior=posterior, prior=VampPrior()).fits(BITS) is None


def test_what_follows_keeps_its_own_count_and_is_not_felt_by_a_regulariser() -> None:
    second = VAE(encoder=NET, decoder=NET, likelihood=Gaussian(), latent=2, warm_up=10)
    vae = model(AfterTheFact(density=second), regulariser=MMD())
    params = vae.init(KEY, X)
    assert float(vae.loss(params, X, KEY).mutable['prior']['constants']['step']) == 1
    mixed = model(AfterTheFact(density=MIXTURE), regulariser=MMD())
    params = mixed.init(KEY, X)
    moved = {**params, 'prior': params['prior'] | {'means': params['prior']['means'] + 3}}
    slopes = [
        jax.grad(lambda own, p=p: mixed.loss({**p, 'encoder': own}, X, KEY).loss)(p['encoder']) for p in (params, moved)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), *slopes)


def test_a_prior_that_is_no_density_of_real_codes_is_refused() -> None:
    for density, word in ((VAE(), 'Bernoulli'), (Autoencoder(likelihood=Gaussian()), 'cannot score')):
        assert word in str(model(AfterTheFact(density=density)).fits(BITS))
    assert 'Density' in str(Autoencoder(prior=Density(model=MIXTURE)).fits(BITS))  # type: ignore[arg-type]
    assert all(model(prior).fits(BITS) is None for prior in PRIORS.values())
