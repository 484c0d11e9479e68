"""Factor analysers against scipy's normals and scikit-learn's factor analysis; EM climbs; degenerate data stay defined."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats
from sklearn.datasets import load_digits
from sklearn.decomposition import FactorAnalysis

from research.models.factor_analysers import FactorAnalysers
from research.types import Domain
from tests.models import degenerate
from tests.models.test_mixture import climb, iterate

KEY = jax.random.key(0)
each = pytest.mark.parametrize('noise', ['isotropic', 'diagonal'])


def random_params(model: FactorAnalysers, dims: int) -> Any:
    k, q = model.components, model.factors
    keys = jax.random.split(KEY, 4)
    return {
        'logits': jax.random.normal(keys[0], (k,)),
        'means': jax.random.normal(keys[1], (k, dims)),
        'loadings': jax.random.normal(keys[2], (k, dims, q)),
        'log_noise': 0.5 * jax.random.normal(keys[3], (k, 1 if model.noise == 'isotropic' else dims)) - 1,
    }


def covariances(model: FactorAnalysers, params: Any) -> np.ndarray:
    w, psi = np.asarray(params['loadings'], np.float64), np.asarray(model.variances(params), np.float64)
    return w @ w.transpose(0, 2, 1) + np.stack([np.diag(row) for row in psi])


@each
def test_marginals_are_scipys(noise: Any) -> None:
    """Of everything, a part and nothing, without a dims x dims matrix; what is not observed may be NaN."""
    model = FactorAnalysers(components=3, factors=2, noise=noise)
    params, x = random_params(model, 5), np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    c, w = covariances(model, params), np.asarray(jax.nn.log_softmax(params['logits']))
    for observed in ([1, 1, 1, 1, 1], [0, 1, 0, 1, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]):
        o = np.array(observed, bool)
        expected = np.zeros(6)
        if o.any():
            joint = [
                w[k] + stats.multivariate_normal.logpdf(x[:, o], params['means'][k][o], c[k][np.ix_(o, o)])
                for k in range(3)
            ]
            expected = special.logsumexp(joint, axis=0)
        found = jax.jit(model.log_marginal)(params, jnp.asarray(np.where(o, x, np.nan)), jnp.asarray(o))
        np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-4)
        if o.all():
            np.testing.assert_allclose(model.log_prob(params, jnp.asarray(x), KEY), expected, atol=2e-4, rtol=1e-4)


@each
def test_completions_and_samples_have_the_exact_moments(noise: Any) -> None:
    """Mean and covariance of x_u given x_o, and of x, within 4.5 standard errors (the largest of many)."""
    model, n = FactorAnalysers(components=3, factors=2, noise=noise), 40_000
    params, o = random_params(model, 4), np.array([True, False, True, False])
    x = np.array([0.3, 9.0, -0.2, 9.0], np.float32)
    c, w = covariances(model, params), np.asarray(jax.nn.softmax(params['logits']), np.float64)
    m, u = np.asarray(params['means'], np.float64), ~o
    gain = [c[k][np.ix_(u, o)] @ np.linalg.inv(c[k][np.ix_(o, o)]) for k in range(3)]
    means = np.stack([m[k][u] + gain[k] @ (x[o] - m[k][o]) for k in range(3)])
    within = np.stack([c[k][np.ix_(u, u)] - gain[k] @ c[k][np.ix_(o, u)] for k in range(3)])
    r = w * [stats.multivariate_normal.pdf(x[o], m[k][o], c[k][np.ix_(o, o)]) for k in range(3)]
    drawn = np.asarray(jax.jit(model.conditional)(params, jnp.tile(x, (n, 1)), jnp.asarray(o), KEY), np.float64)
    assert (drawn[:, o] == x[o]).all()
    whole = np.asarray(jax.jit(lambda p: model.sample(p, KEY, n, (2, 2)))(params), np.float64).reshape(n, 4)
    for values, p, centres, spreads in ((drawn[:, u], r / r.sum(), means, within), (whole, w, m, c)):
        mean = p @ centres
        cov = np.einsum('k,kij->ij', p, spreads + centres[:, :, None] * centres[:, None, :]) - np.outer(mean, mean)
        products = (values - mean)[:, :, None] * (values - mean)[:, None, :]
        assert (np.abs(values.mean(axis=0) - mean) < 4.5 * np.sqrt(np.diag(cov) / n)).all()
        assert (np.abs(products.mean(axis=0) - cov) < 4.5 * products.std(axis=0) / np.sqrt(n)).all()


@each
def test_one_m_step_is_the_loop(noise: Any) -> None:
    """Eqs. 3 and 4 example by example in float64; (W, m) = A B^-1 as Ghahramani & Hinton have it, then the prior absorbed."""
    model = FactorAnalysers(components=2, factors=2, noise=noise, variance_floor=1e-6)
    params, x = random_params(model, 4), np.random.default_rng(1).normal(size=(30, 4))
    solved = jax.jit(lambda p, x: model.solve(p, model.statistics(p, x)[0]))(params, jnp.asarray(x, jnp.float32))
    w, m = np.asarray(params['loadings'], np.float64), np.asarray(params['means'], np.float64)
    c, psi = covariances(model, params), np.asarray(model.variances(params), np.float64)
    log_w = np.asarray(jax.nn.log_softmax(params['logits']), np.float64)
    joint = np.stack([log_w[k] + stats.multivariate_normal.logpdf(x, m[k], c[k]) for k in range(2)], axis=1)
    r = special.softmax(joint, axis=1)
    for k in range(2):
        a, b, square = np.zeros((4, 3)), np.zeros((3, 3)), np.zeros(4)
        inverse = np.linalg.inv(np.eye(2) + w[k].T @ (w[k] / psi[k][:, None]))
        for row, weight in zip(x, r[:, k], strict=True):
            z = np.append(inverse @ w[k].T @ ((row - m[k]) / psi[k]), 1)
            second = np.outer(z, z)
            second[:2, :2] += inverse
            a, b, square = a + weight * np.outer(row, z), b + weight * second, square + weight * row**2
        both = a @ np.linalg.inv(b)
        noise_now = (square - (both * a).sum(axis=1)) / r[:, k].sum()
        mean_z = b[:2, 2] / b[2, 2]
        prior = b[:2, :2] / b[2, 2] - np.outer(mean_z, mean_z)
        found = np.asarray(solved['loadings'][k], np.float64)
        np.testing.assert_allclose(found @ found.T, both[:, :2] @ prior @ both[:, :2].T, rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(solved['means'][k], both[:, 2] + both[:, :2] @ mean_z, rtol=1e-3, atol=1e-4)
        expected = np.full(4, noise_now.mean()) if noise == 'isotropic' else noise_now
        np.testing.assert_allclose(model.variances(solved)[k], expected, rtol=1e-3)


def test_factor_analysis_is_scikit_learns() -> None:
    """Both converged on data with three factors: score to 1e-4, and the same covariance."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 10)) + rng.normal(size=(400, 10)) * rng.uniform(0.3, 1, 10)
    reference = FactorAnalysis(3, svd_method='lapack', tol=1e-8, max_iter=5000).fit(x)
    model = FactorAnalysers(factors=3, noise='diagonal', variance_floor=1e-6)
    fitted, levels = iterate(model, jax.jit(model.init)(KEY, jnp.asarray(x)), x.astype(np.float32), 1000)
    assert levels[-1] == pytest.approx(reference.score(x), rel=1e-4)
    own = reference.components_.T @ reference.components_ + np.diag(reference.noise_variance_)
    np.testing.assert_allclose(covariances(model, fitted)[0], own, atol=2e-3 * own.max())


def test_scores_are_scikit_learns_on_its_own_parameters() -> None:
    """Factor analysis of the digits: each example to 1e-4."""
    x = load_digits().data / 16 + 0.1 * np.random.default_rng(0).normal(size=(1797, 64))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # thirty iterations do not converge, and are not meant to
        reference = FactorAnalysis(6, svd_method='lapack', max_iter=30, tol=1e-2).fit(x)
    params = {
        'logits': jnp.zeros(1),
        'means': jnp.asarray(reference.mean_, jnp.float32)[None],
        'loadings': jnp.asarray(reference.components_.T, jnp.float32)[None],
        'log_noise': jnp.log(jnp.asarray(reference.noise_variance_, jnp.float32))[None],
    }
    model = FactorAnalysers(factors=6, noise='diagonal', variance_floor=1e-6)
    found = jax.jit(model.log_prob)(params, jnp.asarray(x, jnp.float32), KEY)
    np.testing.assert_allclose(found, reference.score_samples(x), rtol=1e-4, atol=1e-3)


@each
def test_em_never_lowers_the_likelihood(noise: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 2)) @ rng.normal(size=(2, 5)) + 0.2 * rng.normal(size=(150, 5))
    x = (x + rng.integers(0, 3, (150, 1))).astype(np.float32)
    model = FactorAnalysers(components=3, factors=2, noise=noise, variance_floor=1e-3)
    levels = np.asarray(
        jax.jit(jax.vmap(lambda key: climb(model, model.init(key, jnp.asarray(x)), x, 15)[1]))(jax.random.split(KEY, 6))
    )
    assert (np.diff(levels, axis=1) > -2e-4).all()
    assert (levels[:, -1] > levels[:, 0] + 0.01).all()


@each
@pytest.mark.parametrize('name', degenerate.NAMES)
def test_degenerate_data_stay_defined(noise: Any, name: str) -> None:
    """More components than examples, more factors than variables, constants: finite parameters, scores and draws."""
    x, model = degenerate.example(name, 1e2, 1e3), FactorAnalysers(components=5, factors=4, noise=noise)
    fitted, levels = iterate(model, jax.jit(model.init)(KEY, jnp.asarray(x)), x, 8)
    degenerate.check(model, fitted, levels, x)


@each
def test_a_component_without_weight_keeps_its_place(noise: Any) -> None:
    model, x = FactorAnalysers(components=2, factors=1, noise=noise), jax.random.normal(KEY, (40, 3))
    params = random_params(model, 3)
    params['means'] = params['means'].at[1].set(1e3)
    solved = jax.jit(lambda p: model.solve(p, model.statistics(p, x)[0]))(params)
    np.testing.assert_allclose(solved['means'][1], 1e3, rtol=1e-6)
    assert float(jax.nn.softmax(solved['logits'])[1]) < 1e-6


@each
def test_a_gradient_step_is_defined(noise: Any) -> None:
    model, x = FactorAnalysers(components=3, factors=2, noise=noise), jax.random.normal(KEY, (10, 4))
    params = random_params(model, 4)
    loss, slope = jax.jit(jax.value_and_grad(lambda p: model.loss(p, x, KEY).loss))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    assert model.loss(jax.tree.map(lambda p, g: p - 1e-3 * g, params, slope), x, KEY).loss < loss


def test_what_it_cannot_score_is_said() -> None:
    assert 'integer' in str(FactorAnalysers().fits(Domain(kind='integer', shape=(2,), values=3)))
    assert FactorAnalysers().fits(Domain(kind='unit', shape=(2,))) is None
