"""Each likelihood against scipy, by summing over every value, at its extremes, by its own samples, and at its own fit."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.maths.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretisedLogistic,
    DiscretisedLogisticMixture,
    Gaussian,
    Likelihood,
    misfit,
)
from research.types import Domain

KEY = jax.random.key(0)
ALL: list[Likelihood] = [
    Bernoulli(),
    Categorical(levels=5),
    Gaussian(),
    Gaussian(scale=0.5),
    ContinuousBernoulli(),
    DiscretisedLogistic(levels=5),
    DiscretisedLogisticMixture(levels=5, components=3),
]
IDS = ['bernoulli', 'categorical', 'gaussian', 'gaussian_fixed', 'continuous_bernoulli', 'discretised', 'mixture']
every = pytest.mark.parametrize('likelihood', ALL, ids=IDS)


def drawn(shape: tuple[int, ...], seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def score(likelihood: Likelihood, outputs: Any, x: Any) -> np.ndarray:
    return np.asarray(likelihood.log_prob(jnp.asarray(outputs), jnp.asarray(x)))


def data(likelihood: Likelihood, n: int, seed: int = 1) -> np.ndarray:
    """[n, 3] values that `likelihood` scores."""
    rng = np.random.default_rng(seed)
    if isinstance(likelihood, Bernoulli):
        return (rng.random((n, 3)) < [0.2, 0.5, 0.9]).astype(np.float32)
    if isinstance(likelihood, ContinuousBernoulli):
        return rng.beta([0.5, 1, 4], [2, 1, 2], (n, 3)).astype(np.float32)
    if isinstance(likelihood, Gaussian):
        return (rng.normal(size=(n, 3)) * [0.5, 1, 2] + [-1, 0, 3]).astype(np.float32)
    return np.minimum(rng.poisson(1.5, (n, 3)), 4).astype(np.int32)


def test_bernoulli_equals_scipy() -> None:
    outputs, x = drawn((6, 2, 3), scale=3), (drawn((6, 2, 3), 1) > 0).astype(np.float32)
    p = 1 / (1 + np.exp(-outputs.astype(np.float64)))
    expected = stats.bernoulli.logpmf(x, p).sum(axis=(1, 2))
    np.testing.assert_allclose(score(Bernoulli(), outputs, x), expected, rtol=1e-5)


def test_a_grey_pixel_scores_the_expectation_over_its_binarisations() -> None:
    outputs, grey = drawn((1, 3)), np.array([[0.1, 0.5, 0.8]], np.float32)
    expected = 0.0
    for bits in itertools.product((0.0, 1.0), repeat=3):
        weight = np.prod(np.where(bits, grey[0], 1 - grey[0]))
        expected += weight * float(score(Bernoulli(), outputs, np.array([bits], np.float32))[0])
    assert float(score(Bernoulli(), outputs, grey)[0]) == pytest.approx(expected, rel=1e-5)


def test_categorical_equals_the_softmax() -> None:
    outputs, x = drawn((6, 2, 5), scale=3), np.random.default_rng(0).integers(0, 5, (6, 2))
    p = np.exp(outputs.astype(np.float64))
    p /= p.sum(axis=-1, keepdims=True)
    expected = np.log(np.take_along_axis(p, x[..., None], axis=-1)).sum(axis=(1, 2))
    np.testing.assert_allclose(score(Categorical(levels=5), outputs, x), expected, rtol=1e-5)


@pytest.mark.parametrize('scale', [None, 0.7])
def test_gaussian_equals_scipy(scale: float | None) -> None:
    likelihood = Gaussian(scale=scale, floor=0.05)
    outputs, x = drawn((6, *likelihood.shape((3,)))), drawn((6, 3), 1)
    mean, sd = (outputs, scale) if scale else (outputs[..., 0], 0.05 + np.exp(outputs[..., 1]))
    np.testing.assert_allclose(score(likelihood, outputs, x), stats.norm.logpdf(x, mean, sd).sum(axis=1), rtol=1e-5)


def test_discretised_logistic_equals_differences_of_the_distribution_function() -> None:
    """Bins [x / levels, (x + 1) / levels] of a logistic density; the outermost reach to infinity."""
    levels, outputs = 16, drawn((16, 1, 2)) * [1, 0.5] - [0, 2]
    outputs, x = outputs.astype(np.float32), np.arange(16)[:, None]
    mean, scale = 1 / (1 + np.exp(-outputs[..., 0].astype(np.float64))), np.exp(outputs[..., 1].astype(np.float64))
    lower = np.where(x == 0, -np.inf, x / levels)
    upper = np.where(x == levels - 1, np.inf, (x + 1) / levels)
    p = stats.logistic.cdf(upper, mean, scale) - stats.logistic.cdf(lower, mean, scale)
    found = score(DiscretisedLogistic(levels=levels), outputs, x)
    np.testing.assert_allclose(found, np.log(p)[:, 0], rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize(
    'likelihood',
    [Categorical(levels=256), DiscretisedLogistic(levels=256), DiscretisedLogisticMixture(levels=256, components=4)],
    ids=['categorical', 'discretised', 'mixture'],
)
def test_probabilities_of_all_levels_add_up_to_one(likelihood: Likelihood) -> None:
    x = np.arange(256)[:, None]
    for seed, scale in enumerate((0.1, 1.0, 3.0, 8.0)):
        outputs = np.repeat(drawn((1, *likelihood.shape((1,))), seed, scale), 256, axis=0)
        assert np.exp(score(likelihood, outputs, x).astype(np.float64)).sum() == pytest.approx(1, abs=1e-4)


@every
def test_values_and_gradients_are_finite_at_the_extremes(likelihood: Likelihood) -> None:
    """Outputs of +-50, where exp and sigmoid are at their ends, for the least and the greatest value."""
    top = 4 if 'integer' in likelihood.kinds else 1
    shape = likelihood.shape((1,))
    corners = itertools.product((-50.0, 0.0, 50.0), repeat=min(2, shape[-1]))
    for corner, value in itertools.product(corners, (0, top)):
        outputs = jnp.resize(jnp.array(corner), (1, *shape))
        x = jnp.full((1, 1), value, jnp.float32 if top == 1 else jnp.int32)
        log_p, slope = jax.value_and_grad(lambda o, x=x: likelihood.log_prob(o, x).sum())(outputs)
        assert np.isfinite(log_p), (corner, value)
        assert np.isfinite(slope).all(), (corner, value)


@every
def test_samples_have_the_mean_that_mean_says(likelihood: Likelihood) -> None:
    n = 20_000
    if isinstance(likelihood, DiscretisedLogistic | DiscretisedLogisticMixture):
        likelihood = dataclasses.replace(likelihood, levels=256)
    outputs = drawn((1, *likelihood.shape((3,)))) * 0.5
    if isinstance(likelihood, DiscretisedLogistic | DiscretisedLogisticMixture):
        scales = outputs.shape[-1] // 2 if isinstance(likelihood, DiscretisedLogistic) else 2 * likelihood.components
        outputs[..., scales:] -= (
            4  # wider than a bin, far from the ends: `mean` is that of the density, not of the bins
        )
    x = np.asarray(likelihood.sample(jnp.broadcast_to(outputs, (n, *outputs.shape[1:])), KEY), np.float64)
    assert x.shape == (n, 3)
    error = 5 * x.std(axis=0) / np.sqrt(n)
    assert (np.abs(x.mean(axis=0) - np.asarray(likelihood.mean(jnp.asarray(outputs)))[0]) < error + 1e-3).all()


def test_samples_of_a_gaussian_and_a_discretised_logistic_have_their_spread() -> None:
    n = 20_000
    outputs = jnp.broadcast_to(jnp.array([[[0.3, -0.5]]]), (n, 1, 2))
    assert float(Gaussian(floor=0.1).sample(outputs, KEY).std()) == pytest.approx(0.1 + np.exp(-0.5), rel=0.03)
    outputs = jnp.broadcast_to(jnp.array([[[0.0, -3.0]]]), (n, 1, 2))
    x = np.asarray(DiscretisedLogistic(levels=256).sample(outputs, KEY), np.float64)
    assert x.std() == pytest.approx(256 * np.exp(-3) * np.pi / np.sqrt(3), rel=0.03)  # sd of a logistic: s pi / sqrt 3


@pytest.mark.parametrize('likelihood', ALL[:5], ids=IDS[:5])
def test_solve_is_the_maximum(likelihood: Likelihood) -> None:
    """No constant outputs near those of `solve` score the data better (smoothing as good as none)."""
    x = data(likelihood, 200)
    best = likelihood.solve(likelihood.statistics(jnp.asarray(x), jnp.asarray(x).mean(0)), 1e-6, jnp.asarray(x).mean(0))
    assert best.shape == likelihood.shape((3,))

    def mean(outputs: Any) -> float:
        return float(score(likelihood, jnp.broadcast_to(outputs, (len(x), *outputs.shape)), x).mean())

    top = mean(best)
    for seed in range(20):
        assert mean(best + 0.05 * drawn(best.shape, seed)) < top + 1e-5


def test_discretised_logistic_is_solved_by_moments() -> None:
    likelihood = DiscretisedLogistic(levels=64)
    x = np.random.default_rng(0).normal(30, 5, (500, 1)).round().astype(np.int32)
    outputs = likelihood.solve(likelihood.statistics(jnp.asarray(x), jnp.zeros(1)), 0.0, jnp.zeros(1))
    unit = (x + 0.5) / 64
    assert float(jax.nn.sigmoid(outputs[0, 0])) == pytest.approx(unit.mean(), rel=1e-4)
    assert float(jnp.exp(outputs[0, 1])) == pytest.approx(unit.std() * np.sqrt(3) / np.pi, rel=1e-3)


@every
def test_statistics_of_two_batches_add_up(likelihood: Likelihood) -> None:
    x = jnp.asarray(data(likelihood, 20))
    centre = x[0].astype(jnp.float32)
    added = jax.tree.map(jnp.add, likelihood.statistics(x[:7], centre), likelihood.statistics(x[7:], centre))
    whole = likelihood.statistics(x, centre)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), added, whole)


@pytest.mark.parametrize(
    ('likelihood', 'domain', 'words'),
    [
        (Bernoulli(), Domain(kind='real', shape=(2,)), 'Bernoulli scores binary or unit data, and this is real'),
        (Categorical(levels=3), Domain(kind='binary', shape=(2,)), 'Categorical scores integer or tokens data'),
        (Categorical(levels=3), Domain(kind='integer', shape=(2,), values=17), 'levels=3, and the data have 17'),
        (
            DiscretisedLogistic(levels=3),
            Domain(kind='integer', shape=(2,), values=17),
            'levels=3, and the data have 17',
        ),
        (
            DiscretisedLogisticMixture(levels=3),
            Domain(kind='integer', shape=(2,), values=17),
            'levels=3, and the data have 17',
        ),
        (ContinuousBernoulli(), Domain(kind='binary', shape=(2,)), 'ContinuousBernoulli scores unit data'),
        (Gaussian(), Domain(kind='integer', shape=(2,), values=17), 'Gaussian scores real or unit data'),
    ],
)
def test_a_misfit_is_said_in_words(likelihood: Likelihood, domain: Domain, words: str) -> None:
    why = misfit(likelihood, domain)
    assert why is not None
    assert words in why


def test_what_fits_is_let_pass() -> None:
    assert misfit(Bernoulli(), Domain(kind='unit', shape=(2,))) is None
    assert misfit(Categorical(levels=17), Domain(kind='integer', shape=(2,), values=17)) is None
    assert misfit(ContinuousBernoulli(), Domain(kind='unit', shape=(2,), cell=1 / 17)) is None
