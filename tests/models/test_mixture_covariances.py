"""Mixtures with each covariance, and of categoricals: scikit-learn's iterations, brute force, parts of x, degenerate data."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture as Reference

from research.maths import kmeans
from research.models.mixture import BernoulliMixture, CategoricalMixture, GaussianMixture
from research.types import Domain
from tests.models import degenerate
from tests.models.completion import check_conditional, check_marginals
from tests.models.test_mixture import climb, iterate

KEY = jax.random.key(0)
KINDS = ('diagonal', 'spherical', 'tied', 'full')
each = pytest.mark.parametrize('kind', KINDS)
NAMES = {'diagonal': 'diag', 'spherical': 'spherical', 'tied': 'tied', 'full': 'full'}


def covariances(model: GaussianMixture, params: Any, dims: int) -> np.ndarray:
    """[components, dims, dims], floor included."""
    if model.covariance in ('full', 'tied'):
        factors = np.asarray(model.family.factors(params, model.variance_floor))  # type: ignore[union-attr]
        return np.broadcast_to(factors @ factors.transpose(0, 2, 1), (model.components, dims, dims))
    variances = np.exp(params['log_variances']) + model.variance_floor
    return np.stack([np.diag(np.broadcast_to(v, dims)) for v in variances])


def random_params(model: GaussianMixture, dims: int) -> Any:
    key_x, key_p = jax.random.split(KEY)
    params = model.init(key_x, jax.random.normal(key_x, (20, dims)))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key_p, len(leaves))
    return tree.unflatten([v + 0.7 * jax.random.normal(k, v.shape) for v, k in zip(leaves, keys, strict=True)])


@each
def test_ten_iterations_are_scikit_learns(kind: Any) -> None:
    """From one start on the 8x8 digits: means, covariances, weights and log-likelihood to 1e-4 of their scale."""
    x, k, floor = load_digits().data / 16, 5, 1e-3
    start, spread = x[[3, 200, 777, 1000, 1500]], x.var(axis=0) + 1e-6
    precisions = {
        'diagonal': np.tile(1 / (spread + floor), (k, 1)),
        'spherical': np.full(k, 1 / (spread.mean() + floor)),
        'tied': np.diag(1 / (spread + floor)),
        'full': np.tile(np.diag(1 / (spread + floor)), (k, 1, 1)),
    }
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # ten iterations do not converge, and are not meant to
        reference = Reference(
            k, covariance_type=NAMES[kind], reg_covar=floor, max_iter=10, tol=0, random_state=0, means_init=start,
            weights_init=np.full(k, 1 / k), precisions_init=precisions[kind],
        ).fit(x)  # fmt: skip
    model = GaussianMixture(components=k, variance_floor=floor, covariance=kind)
    params = {
        'logits': jnp.zeros(k),
        'means': jnp.asarray(start, jnp.float32),
        **model.family.init(jnp.asarray(spread, jnp.float32), k),
    }
    fitted, levels = iterate(model, params, x.astype(np.float32), 10)
    assert levels[-1] == pytest.approx(reference.score(x), rel=1e-4)
    assert levels[-2] == pytest.approx(reference.lower_bound_, rel=1e-4)
    np.testing.assert_allclose(fitted['means'], reference.means_, atol=1e-4 * reference.means_.max())
    np.testing.assert_allclose(jax.nn.softmax(fitted['logits']), reference.weights_, rtol=1e-4)
    whole = {
        'diagonal': lambda c: np.stack([np.diag(v) for v in c]),
        'spherical': lambda c: np.stack([v * np.eye(64) for v in c]),
        'tied': lambda c: np.broadcast_to(c, (k, 64, 64)),
        'full': lambda c: c,
    }[kind](reference.covariances_)
    np.testing.assert_allclose(covariances(model, fitted, 64), whole, atol=1e-4 * whole.max())


@each
def test_marginals_are_scipys(kind: Any) -> None:
    """Of everything, a part and nothing; what is not observed may be NaN."""
    model = GaussianMixture(components=3, variance_floor=0.1, covariance=kind)
    params, x = random_params(model, 4), np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    c, w = covariances(model, params, 4), np.asarray(jax.nn.log_softmax(params['logits']))
    for observed in ([1, 1, 1, 1], [0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]):
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
    np.testing.assert_allclose(
        model.log_prob(params, jnp.asarray(x), KEY), model.log_marginal(params, jnp.asarray(x), jnp.ones(4, bool)),
        atol=1e-4, rtol=1e-4,
    )  # fmt: skip


@each
def test_completions_have_the_exact_moments(kind: Any) -> None:
    """Mean and covariance of x_u given x_o by the law of total variance, within 4.5 standard errors (the largest of many)."""
    model, n = GaussianMixture(components=3, variance_floor=0.1, covariance=kind), 40_000
    params, o = random_params(model, 4), np.array([True, False, True, False])
    x = np.array([0.3, 9.0, -0.2, 9.0], np.float32)
    c, w = covariances(model, params, 4), np.asarray(jax.nn.softmax(params['logits']), np.float64)
    m, u = np.asarray(params['means'], np.float64), ~o
    gain = [c[k][np.ix_(u, o)] @ np.linalg.inv(c[k][np.ix_(o, o)]) for k in range(3)]
    means = np.stack([m[k][u] + gain[k] @ (x[o] - m[k][o]) for k in range(3)])
    within = np.stack([c[k][np.ix_(u, u)] - gain[k] @ c[k][np.ix_(o, u)] for k in range(3)])
    r = w * [stats.multivariate_normal.pdf(x[o], m[k][o], c[k][np.ix_(o, o)]) for k in range(3)]
    r /= r.sum()
    mean = r @ means
    cov = np.einsum('k,kij->ij', r, within + means[:, :, None] * means[:, None, :]) - np.outer(mean, mean)
    drawn = np.asarray(jax.jit(model.conditional)(params, jnp.tile(x, (n, 1)), jnp.asarray(o), KEY), np.float64)
    assert (drawn[:, o] == x[o]).all()
    rest = drawn[:, u]
    assert (np.abs(rest.mean(axis=0) - mean) < 4.5 * np.sqrt(np.diag(cov) / n)).all()
    products = (rest - mean)[:, :, None] * (rest - mean)[:, None, :]
    assert (np.abs(products.mean(axis=0) - cov) < 4.5 * products.std(axis=0) / np.sqrt(n)).all()


@each
def test_samples_have_the_moments(kind: Any) -> None:
    model, n = GaussianMixture(components=3, variance_floor=0.1, covariance=kind), 40_000
    params = random_params(model, 4)
    w, m = np.asarray(jax.nn.softmax(params['logits']), np.float64), np.asarray(params['means'], np.float64)
    mean, c = w @ m, covariances(model, params, 4)
    cov = np.einsum('k,kij->ij', w, c + m[:, :, None] * m[:, None, :]) - np.outer(mean, mean)
    x = np.asarray(jax.jit(lambda p: model.sample(p, KEY, n, (2, 2)))(params), np.float64).reshape(n, 4)
    products = (x - mean)[:, :, None] * (x - mean)[:, None, :]
    assert (np.abs(x.mean(axis=0) - mean) < 4.5 * np.sqrt(np.diag(cov) / n)).all()
    assert (np.abs(products.mean(axis=0) - cov) < 4.5 * products.std(axis=0) / np.sqrt(n)).all()


@each
def test_em_never_lowers_the_likelihood(kind: Any) -> None:
    x = np.random.default_rng(0).normal(size=(150, 3)) @ np.array([[1, 0.5, 0], [0, 0.3, 0.2], [0, 0, 0.2]])
    x = (x + np.random.default_rng(1).integers(0, 3, (150, 1))).astype(np.float32)
    model = GaussianMixture(components=3, variance_floor=1e-6, covariance=kind, start='k-means++')
    levels = np.asarray(
        jax.jit(jax.vmap(lambda key: climb(model, model.init(key, jnp.asarray(x)), x, 12)[1]))(jax.random.split(KEY, 6))
    )
    assert (np.diff(levels, axis=1) > -1e-4).all()
    assert (levels[:, -1] > levels[:, 0] + 0.01).all()


@each
@pytest.mark.parametrize('name', degenerate.NAMES)
def test_degenerate_data_stay_defined(kind: Any, name: str) -> None:
    """Constant variables, more components than examples, one example, scales far apart: finite parameters and scores."""
    x = degenerate.example(name, 1e3, 1e4)
    model = GaussianMixture(components=9, covariance=kind, start='k-means++')
    fitted, levels = iterate(model, jax.jit(model.init)(KEY, jnp.asarray(x)), x, 6)
    degenerate.check(model, fitted, levels, x)


@each
def test_a_gradient_step_is_defined(kind: Any) -> None:
    model = GaussianMixture(components=3, covariance=kind)
    params = random_params(model, 4)
    x = jax.random.normal(KEY, (10, 4))
    loss, slope = jax.jit(jax.value_and_grad(lambda p: model.loss(p, x, KEY).loss))(params)
    after = model.loss(jax.tree.map(lambda p, g: p - 1e-3 * g, params, slope), x, KEY).loss
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    assert after < loss


def test_a_categorical_mixture_by_brute_force() -> None:
    """All 27 words of three symbols: joint, total of one, one M step by loops, marginals as sums over completions."""
    model, rng = CategoricalMixture(components=2, values=3, smoothing=0.3), np.random.default_rng(0)
    params: Any = {
        'logits': jnp.array([0.2, -0.5]), 'outputs': jnp.asarray(rng.normal(size=(2, 3, 3)), jnp.float32),
    }  # fmt: skip
    x = np.array(list(itertools.product(range(3), repeat=3)), np.int32)
    w, p = special.softmax([0.2, -0.5]), special.softmax(np.asarray(params['outputs'], np.float64), axis=2)
    joint = np.array([[w[k] * np.prod(p[k, range(3), row]) for k in range(2)] for row in x])
    np.testing.assert_allclose(np.exp(model.log_joint(params, jnp.asarray(x))), joint, rtol=1e-5)
    assert joint.sum() == pytest.approx(1)
    r = joint / joint.sum(axis=1, keepdims=True)
    solved = model.solve(params, model.statistics(params, jnp.asarray(x))[0])
    counts = np.array([[[r[x[:, d] == v, k].sum() for v in range(3)] for d in range(3)] for k in range(2)]) + 0.3
    np.testing.assert_allclose(jax.nn.softmax(solved['outputs']), counts / counts.sum(axis=2, keepdims=True), rtol=1e-4)
    o = np.array([True, False, True])
    total = joint.sum(axis=1)
    expected = [total[(x[:, o] == row[o]).all(axis=1)].sum() for row in x]
    found = np.exp(model.log_marginal(params, jnp.asarray(np.where(o, x, 99)), jnp.asarray(o)))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    drawn = np.asarray(model.conditional(params, jnp.tile(jnp.asarray(x[5]), (20_000, 1)), jnp.asarray(o), KEY))
    assert (drawn[:, o] == x[5][o]).all()
    exact = np.array([total[(x == [x[5][0], v, x[5][2]]).all(axis=1)].sum() for v in range(3)])
    exact /= exact.sum()
    share = np.bincount(drawn[:, 1], minlength=3) / 20_000
    assert (np.abs(share - exact) < 4 * np.sqrt(exact * (1 - exact) / 20_000)).all()


def test_a_categorical_mixture_climbs_and_stays_defined() -> None:
    x = np.random.default_rng(0).integers(0, 4, (80, 3)).astype(np.int32)
    x[:, 1] = x[:, 0]
    model = CategoricalMixture(components=4, values=4, smoothing=1e-4)
    _, levels = iterate(model, model.init(KEY, jnp.asarray(x)), x, 12)
    assert (np.diff(levels) > -1e-4).all()
    assert levels[-1] > levels[0] + 0.05
    more = CategoricalMixture(components=9, values=4)
    fitted, levels = iterate(more, more.init(KEY, jnp.asarray(x[:3])), x[:3], 5)
    assert np.isfinite(levels).all()
    assert np.isfinite(more.log_prob(fitted, jnp.full((1, 3), 3), KEY)).all()  # a symbol never seen has a chance
    assert 'real' in str(model.fits(Domain(kind='real', shape=(2,))))
    assert 'values=4' in str(model.fits(Domain(kind='integer', shape=(2,), values=3)))
    assert model.fits(Domain(kind='integer', shape=(2,), values=4)) is None


def test_parts_of_a_bernoulli_mixture_are_sums_over_completions() -> None:
    model = BernoulliMixture(components=3)
    params = {'logits': jnp.array([0.1, 0.5, -0.4]), 'outputs': jax.random.normal(KEY, (3, 4))}
    check_marginals(model, params, 4)
    check_conditional(model, params, 4)


def test_k_means_plus_plus_finds_the_groups() -> None:
    """One index in each of five far groups, for every key; all duplicates: any index, never out of range."""
    x = np.random.default_rng(0).normal(size=(100, 2)) * 0.1 + np.repeat(np.arange(5), 20)[:, None] * 50
    x = jnp.asarray(x, jnp.float32)
    found = np.asarray(jax.jit(jax.vmap(lambda key: kmeans.plus_plus(key, x, 5)))(jax.random.split(KEY, 20)))
    assert (np.sort(found // 20, axis=1) == np.arange(5)).all()
    same = np.asarray(kmeans.plus_plus(KEY, jnp.ones((4, 3)), 7))
    assert same.shape == (7,)
    assert (same >= 0).all()
    assert (same < 4).all()


def test_lloyd_is_scikit_learns() -> None:
    from sklearn.cluster import KMeans

    x = load_digits().data / 16
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # five iterations do not converge, and are not meant to
        reference = KMeans(4, init=x[:4], n_init=1, max_iter=5, tol=0, algorithm='lloyd').fit(x)
    x = jnp.asarray(x, jnp.float32)
    centres, nearest = jax.jit(lambda x: kmeans.lloyd(x, x[:4], 5))(x)
    np.testing.assert_allclose(centres, reference.cluster_centers_, atol=1e-4)
    assert (np.asarray(nearest) == reference.labels_).mean() > 0.999
    far = kmeans.lloyd(x, jnp.concatenate([x[:2], 1e3 + x[:1]]), 2)[0]
    np.testing.assert_allclose(far[2], 1e3 + x[0], rtol=1e-5)  # nobody's: it stays
