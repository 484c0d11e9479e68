"""Mixtures against scikit-learn, scipy and brute force; EM climbs, and what could be undefined is defined."""

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

from research.models.mixture import BernoulliMixture, GaussianMixture, Mixture, responsibilities
from research.types import Domain

KEY = jax.random.key(0)
Params = dict[str, jax.Array]


def climb(model: Any, params: Params, x: np.ndarray, count: int) -> tuple[Params, jax.Array]:
    """`count` iterations of EM, and the mean log-likelihood before each and after the last, [count + 1]."""

    def em(params: Any, _: Any) -> tuple[Any, jax.Array]:
        statistics, metrics = model.statistics(params, jnp.asarray(x))
        return model.solve(params, statistics), -metrics['loss']

    fitted, levels = jax.lax.scan(em, params, None, length=count)
    return fitted, jnp.append(levels, model.log_prob(fitted, jnp.asarray(x), KEY).mean())


def iterate(model: Any, params: Params, x: np.ndarray, count: int) -> tuple[Params, np.ndarray]:
    fitted, levels = jax.jit(lambda params: climb(model, params, x, count))(params)
    return fitted, np.asarray(levels)


def gaussians(components: int = 3, dims: int = 4) -> Params:
    key_w, key_m, key_v = jax.random.split(KEY, 3)
    return {
        'logits': jax.random.normal(key_w, (components,)),
        'means': 2 * jax.random.normal(key_m, (components, dims)),
        'log_variances': jax.random.normal(key_v, (components, dims)),
    }


def test_ten_iterations_of_em_are_scikit_learns() -> None:
    """From one start on the 8x8 digits: means and log-likelihood to 1e-4 relative."""
    x, k, floor = load_digits().data / 16, 5, 1e-3
    start = x[[3, 200, 777, 1000, 1500]]
    spread = x.var(axis=0) + 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # ten iterations do not converge, and are not meant to
        reference = Reference(
            k, covariance_type='diag', reg_covar=floor, max_iter=10, tol=0, random_state=0, means_init=start,
            weights_init=np.full(k, 1 / k), precisions_init=np.tile(1 / (spread + floor), (k, 1)),
        ).fit(x)  # fmt: skip
    model = GaussianMixture(components=k, variance_floor=floor)
    params: Params = {
        'logits': jnp.zeros(k),
        'means': jnp.asarray(start, jnp.float32),
        'log_variances': jnp.tile(jnp.log(jnp.asarray(spread, jnp.float32)), (k, 1)),
    }
    fitted, levels = iterate(model, params, x.astype(np.float32), 10)
    assert levels[-1] == pytest.approx(reference.score(x), rel=1e-4)
    assert levels[-2] == pytest.approx(reference.lower_bound_, rel=1e-4)
    np.testing.assert_allclose(fitted['means'], reference.means_, rtol=1e-4, atol=1e-4 * reference.means_.max())
    np.testing.assert_allclose(jax.nn.softmax(fitted['logits']), reference.weights_, rtol=1e-4)
    variances = np.exp(fitted['log_variances']) + floor
    np.testing.assert_allclose(variances, reference.covariances_, rtol=1e-3, atol=1e-5)


def test_the_joint_equals_scipys_multivariate_normal() -> None:
    model, params = GaussianMixture(components=3, variance_floor=0.1), gaussians()
    x = np.random.default_rng(0).normal(size=(6, 4))
    weights, variances = jax.nn.softmax(params['logits']), np.exp(params['log_variances']) + 0.1
    expected = np.stack(
        [
            np.log(weights[k])
            + stats.multivariate_normal.logpdf(x, np.asarray(params['means'][k]), np.diag(variances[k]))
            for k in range(3)
        ],
        axis=1,
    )
    np.testing.assert_allclose(model.log_joint(params, jnp.asarray(x)), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        model.log_prob(params, jnp.asarray(x), KEY), special.logsumexp(expected, axis=1), rtol=1e-4
    )
    r, _ = responsibilities(model.log_joint(params, jnp.asarray(x)))
    np.testing.assert_allclose(r, special.softmax(expected, axis=1), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(r.sum(axis=1), 1, rtol=1e-5)


def test_statistics_are_sums_over_examples_and_components() -> None:
    """The E step by two loops, and `solve` as the weighted means and variances that it stands for."""
    model, params = GaussianMixture(components=3), gaussians()
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    r = np.asarray(responsibilities(model.log_joint(params, jnp.asarray(x)))[0], np.float64)
    solved = model.solve(params, model.statistics(params, jnp.asarray(x))[0])
    for k in range(3):
        mean = sum(r[n, k] * x[n] for n in range(8)) / r[:, k].sum()
        variance = sum(r[n, k] * (x[n] - mean) ** 2 for n in range(8)) / r[:, k].sum()
        np.testing.assert_allclose(solved['means'][k], mean, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(np.exp(solved['log_variances'][k]), variance, rtol=1e-2, atol=1e-5)
    np.testing.assert_allclose(jax.nn.softmax(solved['logits']), r.mean(axis=0), rtol=1e-4)


def test_far_from_the_origin_em_is_the_same() -> None:
    """Sums of squares are taken about the mixture's mean: about 0, an offset of 1000 would cost 0.017 nats in float32."""
    model, x = GaussianMixture(components=2, variance_floor=1e-4), np.random.default_rng(0).normal(size=(200, 2))
    x[:100] += 5
    for offset in (0.0, 1000.0):
        moved = (x + offset).astype(np.float32)
        start = {'logits': jnp.zeros(2), 'means': jnp.asarray(moved[[0, 150]]), 'log_variances': jnp.zeros((2, 2))}
        fitted, levels = iterate(model, start, moved, 10)
        if not offset:
            near, level = fitted, levels[-1]
    assert levels[-1] == pytest.approx(level, abs=1e-2)
    np.testing.assert_allclose(fitted['means'] - 1000, near['means'], atol=1e-2)
    np.testing.assert_allclose(np.exp(fitted['log_variances']), np.exp(near['log_variances']), rtol=1e-2)


def test_em_never_lowers_the_likelihood() -> None:
    """Over eight starts of both kinds. Smoothing and floor move the maximum a little: 1e-4 nats are allowed for."""
    rng = np.random.default_rng(0)
    real = (rng.normal(size=(150, 3)) * 0.4 + rng.integers(0, 3, (150, 1))).astype(np.float32)
    bits = (rng.random((150, 6)) < rng.choice([0.1, 0.8], (150, 1))).astype(np.float32)
    cases: list[tuple[Any, np.ndarray]] = [
        (GaussianMixture(components=4, variance_floor=1e-6), real),
        (BernoulliMixture(components=3, smoothing=1e-4), bits),
    ]
    for model, x in cases:
        starts = jax.random.split(KEY, 8)
        levels = np.asarray(
            jax.jit(jax.vmap(lambda key, m=model, x=x: climb(m, m.init(key, jnp.asarray(x)), x, 15)[1]))(starts)
        )
        assert (np.diff(levels, axis=1) > -1e-4).all()
        assert (levels[:, -1] > levels[:, 0] + 0.01).all()


@pytest.mark.parametrize(
    'model', [GaussianMixture(components=9), BernoulliMixture(components=9)], ids=['gaussian', 'bernoulli']
)
def test_more_components_than_examples_stay_defined(model: GaussianMixture | BernoulliMixture) -> None:
    x = np.array([[0, 0, 1], [1, 0, 0], [1, 1, 1]], np.float32)
    fitted, levels = iterate(model, jax.jit(model.init)(KEY, jnp.asarray(x)), x, 6)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted))
    assert np.isfinite(levels).all()


def test_an_empty_component_keeps_its_place_and_loses_its_weight() -> None:
    model = GaussianMixture(components=2, variance_floor=1e-2)
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    far = jnp.array([[0.0, 0.0], [1e3, 1e3]])
    start = {'logits': jnp.zeros(2), 'means': far, 'log_variances': jnp.zeros((2, 2))}
    fitted, levels = iterate(model, start, x, 3)
    np.testing.assert_array_equal(fitted['means'][1], far[1])
    assert float(jax.nn.softmax(fitted['logits'])[1]) < 1e-6
    alone = stats.norm.logpdf(x, x.mean(axis=0), np.sqrt(x.var(axis=0) + 1e-2)).sum(axis=1).mean()
    assert levels[-1] == pytest.approx(alone, abs=1e-3)  # what is left is one normal


def test_a_bernoulli_mixture_by_brute_force() -> None:
    """All eight strings of three bits: joint, total of one, and one E and M step by loops."""
    model, rng = BernoulliMixture(components=2, smoothing=0.3), np.random.default_rng(0)
    params: Params = {'logits': jnp.array([0.2, -0.5]), 'outputs': jnp.asarray(rng.normal(size=(2, 3)), jnp.float32)}
    x = np.array(list(itertools.product((0, 1), repeat=3)), np.float32)
    w, p = special.softmax([0.2, -0.5]), special.expit(np.asarray(params['outputs'], np.float64))
    joint = np.array([[w[k] * np.prod(np.where(row, p[k], 1 - p[k])) for k in range(2)] for row in x])
    np.testing.assert_allclose(np.exp(model.log_joint(params, jnp.asarray(x))), joint, rtol=1e-5)
    assert joint.sum() == pytest.approx(1)
    r = joint / joint.sum(axis=1, keepdims=True)
    solved = model.solve(params, model.statistics(params, jnp.asarray(x))[0])
    expected = np.array([[(r[:, k] @ x[:, d] + 0.3) / (r[:, k].sum() + 0.6) for d in range(3)] for k in range(2)])
    np.testing.assert_allclose(special.expit(np.asarray(solved['outputs'])), expected, rtol=1e-4)
    np.testing.assert_allclose(special.softmax(np.asarray(solved['logits'])), r.mean(axis=0), rtol=1e-5)


def test_samples_of_a_gaussian_mixture_have_its_moments() -> None:
    """Mean sum w m, variance sum w (v + m^2) - mean^2: law of total variance, floor included."""
    n, model, params = 20_000, GaussianMixture(components=3, variance_floor=0.2), gaussians()
    x = np.asarray(jax.jit(lambda params: model.sample(params, KEY, n, (2, 2)))(params)).reshape(n, 4)
    w, m = np.asarray(jax.nn.softmax(params['logits']))[:, None], np.asarray(params['means'])
    mean = (w * m).sum(axis=0)
    variance = (w * (np.exp(params['log_variances']) + 0.2 + m**2)).sum(axis=0) - mean**2
    assert (np.abs(x.mean(axis=0) - mean) < 5 * np.sqrt(variance / n)).all()
    np.testing.assert_allclose(x.var(axis=0), variance, rtol=0.08)


def test_what_it_cannot_score_is_said() -> None:
    assert 'integer' in str(GaussianMixture().fits(Domain(kind='integer', shape=(2,), values=3)))
    assert 'real' in str(BernoulliMixture().fits(Domain(kind='real', shape=(2,))))
    with pytest.raises(TypeError, match='log_joint'):
        Mixture().log_joint({}, jnp.zeros((1, 1)))
