"""The importance-weighted bound: what it counts, what it converges to, and what memory it takes."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from research.maths.bounds import ELBO, ImportanceWeighted, gaussian_kl, gaussian_log_prob, importance_bound
from research.models.vae import VAE
from research.nets.mlp import MLP

KEY = jax.random.key(0)


def test_one_sample_is_the_elbo_of_that_sample() -> None:
    draw = lambda key: jax.random.normal(key, (1, 4))  # noqa: E731
    np.testing.assert_allclose(importance_bound(draw, 1, 1, KEY), draw(jax.random.fold_in(KEY, 0))[0], rtol=1e-6)


@pytest.mark.parametrize(('samples', 'chunk'), [(12, 4), (10, 4), (3, 4), (5, 1), (7, 7)])
def test_exactly_k_weights_count(samples: int, chunk: int) -> None:
    """Equal to one logsumexp over the first k of the same draws, whether or not the chunk divides k."""
    draw = lambda key: 3 * jax.random.normal(key, (chunk, 2))  # noqa: E731
    count = -(-samples // chunk)
    every = jnp.concatenate([draw(jax.random.fold_in(KEY, i)) for i in range(count)])[:samples]
    direct = jax.nn.logsumexp(every, axis=0) - np.log(samples)
    bound = jax.jit(lambda key: importance_bound(draw, samples, chunk, key))(KEY)
    np.testing.assert_allclose(bound, direct, rtol=1e-5, atol=1e-6)


def test_equal_weights_give_their_own_value_however_large() -> None:
    """log w of +-3000 neither overflows nor vanishes."""
    for value in (-3000.0, 0.0, 3000.0):
        draw = functools.partial(lambda w, key: w, jnp.full((4, 3), value))
        np.testing.assert_allclose(importance_bound(draw, 10, 4, KEY), value, rtol=1e-6)


def test_the_bound_of_a_linear_gaussian_model_tightens_to_its_likelihood() -> None:
    """x = w z + s e has p(x) = N(0, w^2 + s^2). q is not the posterior, so a few samples leave a gap."""
    w, s = 1.5, 0.8
    x = jnp.array([-2.0, 0.3, 1.7])
    exact = stats.norm.logpdf(np.asarray(x), 0, np.hypot(w, s))
    mean, log_var = (0.9 * x * w / (w**2 + s**2))[:, None], jnp.full((3, 1), jnp.log(1.5 * s**2 / (w**2 + s**2)))

    def log_weights(key: jax.Array) -> jax.Array:
        z = mean + jnp.exp(log_var / 2) * jax.random.normal(key, (50, 3, 1))
        likelihood = gaussian_log_prob(x[:, None], w * z, jnp.full((1,), 2 * jnp.log(s)))
        return likelihood + gaussian_log_prob(z) - gaussian_log_prob(z, mean, log_var)

    def bounds(samples: int, repeats: int) -> np.ndarray:
        keys = jax.random.split(KEY, repeats)
        return np.asarray(jax.jit(jax.vmap(lambda key: importance_bound(log_weights, samples, 50, key)))(keys))

    one, many = bounds(1, 2000), bounds(2000, 20)
    assert (one.mean(axis=0) < exact - 0.02).all()
    np.testing.assert_allclose(many.mean(axis=0), exact, atol=0.02)
    assert (many.mean(axis=0) < exact + 4 * many.std(axis=0) / np.sqrt(20)).all()


def test_memory_does_not_grow_with_the_number_of_samples() -> None:
    model = VAE(encoder=MLP(hidden=(32,)), decoder=MLP(hidden=(32,)), latent=4, score_chunk=20)
    x = jax.ShapeDtypeStruct((10, 64), jnp.float32)
    params = jax.eval_shape(model.init, KEY, x)

    def memory(samples: int) -> int:
        fine = dataclasses.replace(model, score_samples=samples)
        analysis = jax.jit(fine.log_prob).lower(params, x, KEY).compile().memory_analysis()
        assert analysis is not None
        return int(analysis.temp_size_in_bytes)

    few = memory(100)
    assert memory(5000) <= 2 * few
    assert few >= 20 * 10 * 64 * 4  # the decoder's outputs of one chunk: the figure counts what it should


@pytest.mark.parametrize(('mean', 'log_var'), [(0.0, 0.0), (1.3, 0.4), (-0.5, -3.0), (2.0, 1.5)])
def test_the_kl_divergence_equals_its_integral(mean: float, log_var: float) -> None:
    q = stats.norm(mean, np.exp(log_var / 2))
    expected, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z)), -20, 20, points=[mean])
    two = gaussian_kl(jnp.array([[mean, mean]]), jnp.array([[log_var, log_var]]))
    assert float(two[0]) == pytest.approx(2 * expected, abs=1e-5)


def test_the_normal_density_equals_scipy() -> None:
    z, mean, log_var = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)
    expected = stats.norm.logpdf(z, mean, np.exp(log_var / 2)).sum(axis=-1)
    np.testing.assert_allclose(gaussian_log_prob(z, mean, log_var), expected, rtol=1e-5)
    np.testing.assert_allclose(gaussian_log_prob(z), stats.norm.logpdf(z).sum(axis=-1), rtol=1e-5)


def groups(samples: int, groups: int) -> ImportanceWeighted:
    return ImportanceWeighted(samples=samples, groups=groups)


def test_the_objectives_are_means_of_logs_and_logs_of_means() -> None:
    w = jax.random.uniform(KEY, (6, 3), minval=0.1, maxval=9.0)
    log_w = jnp.log(w)
    np.testing.assert_allclose(ELBO().bound(log_w[:1]), log_w[0])
    np.testing.assert_allclose(groups(6, 1).bound(log_w), jnp.log(w.mean(axis=0)), rtol=1e-5)
    np.testing.assert_allclose(groups(1, 6).bound(log_w), log_w.mean(axis=0), rtol=1e-5)
    miwae = (jnp.log(w[:3].mean(axis=0)) + jnp.log(w[3:].mean(axis=0))) / 2
    np.testing.assert_allclose(groups(3, 2).bound(log_w), miwae, rtol=1e-5)
    assert (ELBO().draws, groups(6, 1).draws, groups(1, 6).draws, groups(3, 2).draws) == (1, 6, 6, 6)


def test_more_samples_in_a_group_never_lower_the_bound_of_the_same_weights() -> None:
    """Jensen, on every example: mean of logs <= groups of logs of means <= log of the mean."""
    log_w = 3 * jax.random.normal(KEY, (12, 50))
    bounds = [np.asarray(groups(k, 12 // k).bound(log_w)) for k in (1, 2, 4, 12)]
    assert all((lower <= higher + 1e-5).all() for lower, higher in itertools.pairwise(bounds))


def test_the_gradient_weighs_each_draw_by_its_normalised_weight() -> None:
    """Burda et al. 2016, eq. 13 and 14: the gradient of the bound is sum_i w~_i of that of log w_i, within each group."""
    log_w = 2 * jax.random.normal(KEY, (6, 3))
    w = np.exp(np.asarray(log_w, np.float64)).reshape(2, 3, 3)
    expected = (w / w.sum(axis=1, keepdims=True)).reshape(6, 3) / 2
    gradient = jax.grad(lambda log_w: groups(3, 2).bound(log_w).sum())(log_w)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)
