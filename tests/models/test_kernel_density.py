"""Kernel density, histogram and the nearest copy: scikit-learn, loops, integrals, and data at the edge."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats
from sklearn import neighbors

from research.models.histogram import Histogram
from research.models.kernel_density import KernelDensity
from research.models.nearest_copy import NearestCopy
from research.types import Domain, OnePass, Scorer

KEY = jax.random.key(0)


def fit(model: Any, x: np.ndarray) -> Any:
    def solve(x: jax.Array) -> Any:
        params = model.init(KEY, x)
        return model.solve(params, model.statistics(params, x)[0])

    return jax.jit(solve)(jnp.asarray(x))


def points(n: int, dims: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dims)).astype(np.float32)


@pytest.mark.parametrize('block', [1, 7, 500])
def test_scores_are_scikit_learns_whatever_the_block(block: int) -> None:
    x, y = points(40, 3) + 5, points(23, 3, seed=1) + 5
    model = KernelDensity(bandwidths=(0.3,), block=block)
    expected = neighbors.KernelDensity(bandwidth=0.3).fit(x).score_samples(y)
    np.testing.assert_allclose(
        jax.jit(model.log_prob)(fit(model, x), jnp.asarray(y), KEY), expected, rtol=1e-4, atol=1e-4
    )


def test_the_bandwidth_is_the_best_with_each_example_left_out() -> None:
    """All three by loops; a duplicate pulls towards narrow kernels and is allowed to."""
    x, choices = points(30, 2), (0.05, 0.4, 2.0)
    scores = [
        sum(special.logsumexp(stats.multivariate_normal(x[i], h * h).logpdf(np.delete(x, i, 0))) for i in range(30))
        for h in choices
    ]
    assert float(fit(KernelDensity(bandwidths=choices, block=8), x)['bandwidth']) == pytest.approx(
        choices[int(np.argmax(scores))]
    )
    twice = np.concatenate([x, x])
    assert float(fit(KernelDensity(bandwidths=choices), twice)['bandwidth']) == pytest.approx(0.05)


@pytest.mark.parametrize('x', [np.ones((1, 2)), np.ones((3, 2))], ids=['one', 'constant'])
def test_one_example_and_constant_data_are_defined(x: np.ndarray) -> None:
    model = KernelDensity(bandwidths=(0.1, 0.2))
    params = fit(model, x.astype(np.float32))
    assert float(params['bandwidth']) == pytest.approx(0.1)
    assert np.isfinite(model.log_prob(params, jnp.ones((2, 2)), KEY)).all()
    assert model.size(params) == x.size + 1


def test_parts_of_a_kernel_density() -> None:
    """Marginals are a kernel density of fewer variables; completions have the mean and variance of the weighted kernels."""
    x, model, n = points(20, 3), KernelDensity(bandwidths=(0.5,)), 40_000
    params, o = fit(model, x), np.array([True, False, True])
    y = np.array([[0.2, np.nan, -0.3]], np.float32)
    expected = neighbors.KernelDensity(bandwidth=0.5).fit(x[:, o]).score_samples(y[:, o])
    np.testing.assert_allclose(model.log_marginal(params, jnp.asarray(y), jnp.asarray(o)), expected, rtol=1e-4)
    nothing = model.log_marginal(params, jnp.asarray(y), jnp.zeros(3, bool))
    np.testing.assert_allclose(nothing, 0, atol=1e-5)
    w = special.softmax(-0.5 * ((x[:, o] - y[:, o]) ** 2).sum(axis=1) / 0.25)
    mean = w @ x[:, 1]
    variance = w @ (x[:, 1] - mean) ** 2 + 0.25
    drawn = np.asarray(jax.jit(model.conditional)(params, jnp.tile(jnp.asarray(y), (n, 1)), jnp.asarray(o), KEY))
    assert (drawn[:, o] == y[:, o]).all()
    assert abs(drawn[:, 1].mean() - mean) < 4 * np.sqrt(variance / n)
    assert drawn[:, 1].var() == pytest.approx(variance, rel=0.03)
    free = np.asarray(model.sample(params, KEY, n, (3,)))
    assert (np.abs(free.mean(axis=0) - x.mean(axis=0)) < 4 * np.sqrt((x.var(axis=0) + 0.25) / n)).all()


def test_a_histogram_by_counting() -> None:
    """Add-k counts, the total of all bins, the edges 0 and 1, outside, and marginals."""
    x = np.array([[0.0, 0.1], [1.0, 0.2], [0.6, 0.9]], np.float32)
    model = Histogram(bins=4, smoothing=0.5)
    params = fit(model, x)
    p = np.exp(params['log_p'])
    np.testing.assert_allclose(p[0], np.array([1.5, 0.5, 1.5, 1.5]) / 5, rtol=1e-5)
    np.testing.assert_allclose(p[1], np.array([2.5, 0.5, 0.5, 1.5]) / 5, rtol=1e-5)
    centres = (np.arange(4) + 0.5) / 4
    grid = np.array(list(itertools.product(centres, centres)), np.float32)
    assert float(np.exp(model.log_prob(params, jnp.asarray(grid), KEY)).sum()) / 16 == pytest.approx(1, abs=1e-5)
    assert np.isneginf(model.log_prob(params, jnp.array([[1.2, 0.5]]), KEY)).all()
    one = model.log_marginal(params, jnp.array([[0.1, np.nan]]), jnp.array([True, False]))
    np.testing.assert_allclose(one, np.log(4 * 1.5 / 5), rtol=1e-5)
    drawn = np.asarray(model.sample(params, KEY, 20_000, (2,)))
    share = np.stack([np.bincount((drawn[:, d] * 4).astype(int), minlength=4) / 20_000 for d in range(2)])
    assert (np.abs(share - p) < 4 * np.sqrt(p * (1 - p) / 20_000)).all()
    kept = model.conditional(params, jnp.asarray(x), jnp.array([False, True]), KEY)
    np.testing.assert_array_equal(kept[:, 1], x[:, 1])
    assert 'real' in str(model.fits(Domain(kind='real', shape=(2,))))


def test_the_nearest_copy_draws_training_examples_evenly_and_cannot_score() -> None:
    x, model = points(5, 2).reshape(5, 2, 1), NearestCopy()
    params = fit(model, x)
    drawn = np.asarray(model.sample(params, KEY, 5000, (2, 1)))
    which = (drawn[:, None] == x[None]).all(axis=(2, 3))
    assert (which.sum(axis=1) == 1).all()
    assert (np.abs(which.mean(axis=0) - 0.2) < 4 * np.sqrt(0.16 / 5000)).all()
    assert not isinstance(model, Scorer)
    assert isinstance(model, OnePass)
    assert model.size(params) == 10
    assert 'text' in str(model.fits(Domain(kind='tokens', shape=(2,), values=3)))


def test_what_kernels_cannot_score_is_said() -> None:
    assert 'binary' in str(KernelDensity().fits(Domain(kind='binary', shape=(2,))))
