"""Autoencoders and their critics: each term by hand, and each loss reaching what it is for."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.latents.priors import AfterTheFact
from research.maths.likelihoods import Gaussian
from research.maths.regularisers import MMD, mmd
from research.models.adversarial_autoencoder import AdversarialAutoencoder
from research.models.autoencoder import Autoencoder
from research.models.factor_vae import FactorVAE, shuffled
from research.models.mixture import GaussianMixture
from research.models.vae import VAE
from research.models.vae_gan import VAEGAN
from research.nets.mlp import MLP
from research.types import Domain, Scorer

KEY = jax.random.key(0)
LINEAR, SMALL = MLP(hidden=()), MLP(hidden=(8,))
X = jax.random.normal(KEY, (40, 3))
LINES = Autoencoder(encoder=LINEAR, decoder=LINEAR, likelihood=Gaussian(scale=1.0), latent=2)
REALS = Domain(kind='real', shape=(3,))


def largest(tree: Any) -> float:
    return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


def test_the_terms_of_a_regularised_autoencoder_by_hand() -> None:
    model = dataclasses.replace(LINES, code_weight=0.3, smooth='l2', decoder_weight=0.01)
    params = model.init(KEY, X)
    dense = params['decoder']['params']['Dense_0']
    z = np.asarray(model.codes(params, X), np.float64)
    mean = z @ dense['kernel'] + dense['bias'] + params['constants']['offset']
    distortion = (0.5 * ((X - mean) ** 2).sum(axis=1) + 1.5 * np.log(2 * np.pi)).mean()
    smooth = 0.01 * ((dense['kernel'] ** 2).sum() + (dense['bias'] ** 2).sum())
    expected = distortion + 0.3 * 0.5 * (z**2).sum(axis=1).mean() + smooth
    assert float(jax.jit(model.loss)(params, X, KEY).loss) == pytest.approx(float(expected), rel=1e-5)


def test_the_gradient_penalty_is_the_square_of_the_jacobian_in_expectation() -> None:
    """A linear decoder has its kernel as the Jacobian, at every code."""
    model = dataclasses.replace(LINES, smooth='gradient', decoder_weight=1.0)
    params = model.init(KEY, X)
    keys = jax.random.split(KEY, 500)
    found = np.asarray(jax.jit(jax.vmap(lambda key: model.loss(params, X, key).metrics['smooth']))(keys))
    kernel = np.asarray(params['decoder']['params']['Dense_0']['kernel'])
    assert abs(found.mean() - (kernel**2).sum()) < 4 * found.std() / np.sqrt(500)


def test_the_wasserstein_autoencoder_pays_the_discrepancy_of_its_codes() -> None:
    model = dataclasses.replace(LINES, regulariser=MMD(weight=3.0))
    params = model.init(KEY, X)
    metrics = jax.jit(model.loss)(params, X, KEY).metrics
    codes = model.codes(params, X)
    prior = jax.random.normal(jax.random.fold_in(KEY, 2), codes.shape)
    assert float(metrics['mmd']) == pytest.approx(3 * float(mmd(codes, prior, 'imq')), rel=1e-4)


def test_samples_after_the_fact_come_from_the_density_of_the_codes() -> None:
    density = GaussianMixture(components=1)
    model = dataclasses.replace(LINES, prior=AfterTheFact(density=density))
    params = model.init(KEY, X)
    params['prior'] |= {'means': jnp.array([[5.0, -5.0]])}
    kernel = params['decoder']['params']['Dense_0']['kernel']
    drawn = np.asarray(model.sample(params, KEY, 4000, (3,)))
    expected = np.array([5.0, -5.0]) @ np.asarray(kernel) + np.asarray(params['constants']['offset'])
    assert (np.abs(drawn.mean(axis=0) - expected) < 4 * drawn.std(axis=0) / np.sqrt(4000)).all()


def test_none_of_them_pretends_to_score() -> None:
    assert not any(isinstance(model, Scorer) for model in (LINES, AdversarialAutoencoder(), VAEGAN()))
    assert isinstance(FactorVAE(), Scorer)


def test_the_critic_of_an_adversarial_autoencoder_sees_codes_alone() -> None:
    model = AdversarialAutoencoder(autoencoder=LINES, critic=SMALL)
    params = model.init(KEY, X)
    assert params['critic']['params']['Dense_0']['kernel'].shape == (2, 8)
    game = jax.grad(lambda own: model.generator_loss(own, params['critic'], X, KEY).metrics['game'])(
        params['generator']
    )
    assert largest(game['encoder']) > 1e-4 and largest(game['decoder']) == 0
    prior = AfterTheFact(density=GaussianMixture())
    assert 'AfterTheFact' in str(AdversarialAutoencoder(autoencoder=Autoencoder(prior=prior)).fits(REALS))


def test_shuffled_codes_keep_their_marginals_and_lose_their_dependence() -> None:
    z = jax.random.normal(KEY, (5000, 1)) @ jnp.ones((1, 3)) + 0.1 * jax.random.normal(jax.random.key(1), (5000, 3))
    mixed = np.asarray(shuffled(z, KEY))
    np.testing.assert_allclose(np.sort(mixed, axis=0), np.sort(z, axis=0))
    off = np.corrcoef(mixed.T)[np.triu_indices(3, 1)]
    assert (np.abs(off) < 4 / np.sqrt(5000)).all()


def test_the_logit_of_the_best_critic_is_the_total_correlation() -> None:
    """A quadratic form is log q(z) - sum_j log q(z_j) of a normal; the critic's loss is least at it."""
    c, n = 0.8, 40_000
    z = np.random.default_rng(0).multivariate_normal([0, 0], [[1, c], [c, 1]], n)
    mixed = np.asarray(shuffled(jnp.asarray(z, jnp.float32), KEY))

    def logit(z: np.ndarray, scale: float) -> np.ndarray:
        square = (z[:, 0] ** 2 + z[:, 1] ** 2 - 2 * c * z[:, 0] * z[:, 1]) / (1 - c**2)
        return scale * (-0.5 * np.log(1 - c**2) - 0.5 * (square - (z**2).sum(axis=1)))

    losses = [np.logaddexp(0, -logit(z, s)).mean() + np.logaddexp(0, logit(mixed, s)).mean() for s in (0.7, 1.0, 1.3)]
    assert losses[1] < min(losses[0], losses[2])
    assert logit(z, 1.0).mean() == pytest.approx(-0.5 * np.log(1 - c**2), abs=0.03)


def test_factor_vae_adds_gamma_times_the_mean_logit_to_a_vae() -> None:
    vae = VAE(encoder=LINEAR, decoder=LINEAR, likelihood=Gaussian(scale=1.0), latent=2)
    model = FactorVAE(vae=vae, critic=SMALL, gamma=7.0)
    params = model.init(KEY, X)
    result = jax.jit(model.generator_loss)(params['generator'], params['critic'], X, KEY)
    own = vae.loss(params['generator'], X, jax.random.split(KEY, 3)[0])
    expected = float(own.loss) + 7 * float(result.metrics['total_correlation'])
    assert float(result.loss) == pytest.approx(expected, rel=1e-5)
    scored = model.log_prob(params, X, KEY)
    np.testing.assert_allclose(scored, vae.log_prob(params['generator'], X, KEY), rtol=1e-6)


def test_each_loss_of_a_vae_gan_reaches_what_it_is_for() -> None:
    """The game moves the decoder and not the encoder; the rate the encoder and not the decoder."""
    model = VAEGAN(encoder=SMALL, decoder=SMALL, features=SMALL, feature_size=4, latent=2, output='identity')
    params = model.init(KEY, X)

    def slope(metric: str) -> Any:
        return jax.grad(lambda own: model.generator_loss(own, params['critic'], X, KEY).metrics[metric])(
            params['generator']
        )

    game, rate = slope('game'), slope('rate')
    assert largest(game['encoder']) == 0 and largest(game['decoder']) > 1e-5
    assert largest(rate['decoder']) == 0 and largest(rate['encoder']) > 1e-5
    heavier = dataclasses.replace(model, feature_weight=100.0)  # the decoder's alone
    grads = [
        jax.grad(lambda own, m=m: m.generator_loss(own, params['critic'], X, KEY).loss)(params['generator'])
        for m in (model, heavier)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *(g['encoder'] for g in grads))
    assert largest(grads[1]['decoder']) > 10 * largest(grads[0]['decoder'])


def test_what_they_cannot_take_is_said() -> None:
    assert 'unit or real' in str(VAEGAN().fits(Domain(kind='binary', shape=(3,))))
    assert 'output=identity' in str(VAEGAN().fits(REALS))
    assert 'Bernoulli' in str(Autoencoder().fits(REALS))
    assert FactorVAE(vae=VAE(likelihood=Gaussian())).fits(REALS) is None
