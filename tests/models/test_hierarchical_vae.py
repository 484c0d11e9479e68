"""Two levels of latents: a linear model whose posterior is known scores exactly, in both structures."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.latents.priors import AfterTheFact, UniformSphere, VampPrior
from research.maths.bounds import ELBO, PIWAE, ImportanceWeighted
from research.maths.likelihoods import Categorical, Gaussian
from research.models.hierarchical_vae import HierarchicalVAE
from research.models.mixture import GaussianMixture
from research.nets.mlp import MLP
from research.types import Domain

KEY = jax.random.key(0)
LINEAR = MLP(hidden=())
A, T, W, S = 0.9, 0.6, 1.3, 0.5  # z1 = A z2 + T e1, x = W z1 + S e0
X = jnp.array([[-2.0], [0.3], [1.7]])
SPREAD = np.sqrt(W**2 * (A**2 + T**2) + S**2)
EXACT = stats.norm.logpdf(np.asarray(X)[:, 0], 0, SPREAD)


def dense(kernel: Any, bias: Any) -> dict[str, Any]:
    return {'params': {'Dense_0': {'kernel': jnp.asarray(kernel, jnp.float32), 'bias': jnp.asarray(bias, jnp.float32)}}}


def normal(given: Any, prior: float, slope: float, noise: float) -> tuple[float, float]:
    """Gain and variance of z | x for z ~ N(0, prior), x = slope z + noise e."""
    variance = 1 / (1 / prior + slope**2 / noise**2)
    return variance * slope / noise**2, variance


def exact(structure: Any) -> tuple[HierarchicalVAE, dict[str, Any]]:
    """q is the posterior: p(z1 | x) p(z2 | z1) in a chain, p(z2 | x) p(z1 | x, z2) with skips."""
    model = HierarchicalVAE(
        structure=structure, encoder=LINEAR, second_encoder=LINEAR, top_decoder=LINEAR, decoder=LINEAR,
        likelihood=Gaussian(scale=S), latent=1, lower_latent=1,
    )  # fmt: skip
    if structure == 'chain':
        gain, variance = normal(X, A**2 + T**2, W, S)
        above, spread = normal(X, 1.0, A, T)
        first = dense([[gain, 0]], [0, np.log(variance)])
        second, below = dense([[above, 0]], [0, np.log(spread)]), dense([[W]], [0])
    else:
        gain, variance = normal(X, 1.0, W * A, np.hypot(W * T, S))
        spread = 1 / (1 / T**2 + W**2 / S**2)  # z1 given x and z2
        first = dense([[gain, 0]], [0, np.log(variance)])
        second = dense([[spread * W / S**2, 0], [spread * A / T**2, 0]], [0, np.log(spread)])
        below = dense([[W], [0]], [0])
    params = {
        'encoder': first,
        'second_encoder': second,
        'top_decoder': dense([[A, 0]], [0, 2 * np.log(T)]),
        'decoder': below,
        'constants': {'offset': jnp.zeros(1)},
    }
    return model, params


structures = pytest.mark.parametrize('structure', ['chain', 'skip'])


@structures
def test_with_the_exact_posterior_every_draw_scores_exactly(structure: Any) -> None:
    model, params = exact(structure)
    score = dataclasses.replace(model, score_samples=7, score_chunk=3).log_prob
    np.testing.assert_allclose(jax.jit(score)(params, X, KEY), EXACT, rtol=1e-4, atol=1e-5)
    for objective in (model.objective, ImportanceWeighted(samples=3), PIWAE(samples=2, groups=2)):
        loss = jax.jit(dataclasses.replace(model, objective=objective).loss)(params, X, KEY)
        assert float(loss.loss) == pytest.approx(-EXACT.mean(), rel=1e-4)


@structures
def test_samples_come_from_the_top_down(structure: Any) -> None:
    model, params = exact(structure)
    x = np.asarray(jax.jit(lambda p: model.sample(p, KEY, 20_000, (1,)))(params))[:, 0]
    assert stats.kstest(x, stats.norm(0, SPREAD).cdf).pvalue > 1e-4


@structures
def test_a_reconstruction_is_the_decoder_at_the_means(structure: Any) -> None:
    """Of a linear model: W E[z1 | x]."""
    model, params = exact(structure)
    gain = normal(X, A**2 + T**2, W, S)[0]
    np.testing.assert_allclose(model.reconstruct(params, X), W * gain * X, rtol=1e-4)


def test_another_posterior_scores_below_and_more_draws_close_the_gap() -> None:
    model, params = exact('skip')
    params['encoder']['params']['Dense_0']['bias'] += jnp.array([0.4, 0.0])

    def mean(samples: int, repeats: int) -> float:
        score = dataclasses.replace(model, score_samples=samples, score_chunk=50).log_prob
        keys = jax.random.split(KEY, repeats)
        return float(jnp.mean(jax.jit(jax.vmap(lambda key: score(params, X, key)))(keys)))

    one, many = mean(1, 2000), mean(1000, 10)
    assert one < EXACT.mean() - 0.05 and many == pytest.approx(EXACT.mean(), abs=0.02)


def test_a_vamp_prior_needs_a_posterior_of_x_alone() -> None:
    bits = Domain(kind='binary', shape=(4,))
    assert 'structure=skip' in str(HierarchicalVAE(structure='chain', prior=VampPrior()).fits(bits))
    assert HierarchicalVAE(structure='skip', prior=VampPrior()).fits(bits) is None


@structures
@pytest.mark.parametrize(
    ('plain', 'other'),
    [
        (ELBO(), ELBO(gradient='stl')),
        (ImportanceWeighted(samples=4), ImportanceWeighted(samples=4, gradient='dreg')),
    ],
    ids=['stl', 'dreg'],
)
def test_path_estimators_have_the_same_mean_gradient(structure: Any, plain: Any, other: Any) -> None:
    model, params = exact(structure)
    params['encoder']['params']['Dense_0']['bias'] += jnp.array([0.4, 0.0])
    n = 20_000

    def slopes(objective: Any) -> np.ndarray:
        net = dataclasses.replace(model, objective=objective)
        dense = params['encoder']['params']['Dense_0']

        def loss(bias: jax.Array, key: jax.Array) -> jax.Array:
            return net.loss({**params, 'encoder': {'params': {'Dense_0': dense | {'bias': bias}}}}, X, key).loss

        keys = jax.random.split(KEY, n)
        return np.asarray(jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0)))(dense['bias'], keys), np.float64)

    a, b = slopes(plain), slopes(other)
    assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 4 * np.sqrt((a.var(axis=0) + b.var(axis=0)) / n)).all()
    assert np.abs(a - b).max() > 1e-3


def test_other_priors_are_refused_and_categories_are_scored() -> None:
    bits = Domain(kind='binary', shape=(4,))
    for prior in (UniformSphere(), AfterTheFact(density=GaussianMixture())):
        assert type(prior).__name__ in str(HierarchicalVAE(prior=prior).fits(bits))  # type: ignore[arg-type]
    net = MLP(hidden=(4,))
    model = HierarchicalVAE(
        encoder=net, second_encoder=net, top_decoder=net, decoder=net, likelihood=Categorical(levels=3), latent=2,
        lower_latent=2, score_samples=4,
    )  # fmt: skip
    x = jnp.zeros((5, 3), jnp.int32)
    assert np.isfinite(model.log_prob(model.init(KEY, x), x, KEY)).all()
