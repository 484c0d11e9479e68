"""A mixture of discretised logistics: its formula, its special cases, its samples and its start."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.maths.likelihoods import DiscretisedLogistic
from research.maths.logistic import DiscretisedLogisticMixture

KEY = jax.random.key(0)


def drawn(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def probabilities(outputs: np.ndarray, levels: int) -> np.ndarray:
    """Eq. 1 for every level in float64: [levels]; outputs [3 * components]."""
    weights, means, log_scales = np.split(outputs.astype(np.float64), 3)
    pi = np.exp(weights) / np.exp(weights).sum()
    edges = np.concatenate([[-np.inf], np.arange(1, levels) / levels, [np.inf]])[:, None]
    below = stats.logistic.cdf(edges, 1 / (1 + np.exp(-means)), np.exp(log_scales))
    return np.asarray((np.diff(below, axis=0) * pi).sum(axis=1))


def test_it_is_the_papers_formula() -> None:
    likelihood, outputs = DiscretisedLogisticMixture(levels=16, components=3), drawn((9,))
    outputs[6:] -= 2
    found = likelihood.log_prob(jnp.broadcast_to(outputs, (16, 1, 9)), jnp.arange(16)[:, None])
    np.testing.assert_allclose(np.exp(found), probabilities(outputs, 16), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize('components', [1, 3])
def test_equal_components_are_one_logistic(components: int) -> None:
    one, x = drawn((6, 2, 2)), np.random.default_rng(1).integers(0, 256, (6, 2))
    many = np.concatenate([np.repeat(part, components, axis=-1) for part in np.split(one, 2, axis=-1)], axis=-1)
    weights = drawn((6, 2, components), 2)
    found = DiscretisedLogisticMixture(levels=256, components=components).log_prob(
        jnp.concatenate([weights, many], axis=-1), jnp.asarray(x)
    )
    np.testing.assert_allclose(
        found, DiscretisedLogistic(levels=256).log_prob(jnp.asarray(one), jnp.asarray(x)), rtol=1e-5
    )


def test_samples_fall_as_their_probabilities_say() -> None:
    likelihood, outputs, n = DiscretisedLogisticMixture(levels=8, components=2), drawn((6,), 3), 40_000
    outputs[4:] -= 2
    x = np.asarray(likelihood.sample(jnp.broadcast_to(outputs, (n, 1, 6)), KEY))[:, 0]
    p = probabilities(outputs, 8)
    found = np.bincount(x, minlength=8) / n
    assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-6).all()


@pytest.mark.parametrize('components', [1, 2, 5])
def test_the_start_has_the_moments_of_the_data(components: int) -> None:
    likelihood = DiscretisedLogisticMixture(levels=64, components=components)
    x = np.random.default_rng(0).normal(30, 5, (500, 2)).round().astype(np.int32)
    outputs = likelihood.solve(likelihood.statistics(jnp.asarray(x), jnp.zeros(2)), 0.0, jnp.zeros(2))
    assert outputs.shape == likelihood.shape((2,))
    log_weights, means, log_scales = likelihood.parameters(outputs)
    weights, unit = np.exp(log_weights), (x + 0.5) / 64
    mean = (weights * means).sum(axis=-1)
    variance = (weights * (means**2 + np.exp(2 * log_scales) * np.pi**2 / 3)).sum(axis=-1) - mean**2
    np.testing.assert_allclose(mean, unit.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(variance, unit.var(axis=0), rtol=1e-3)
    assert components == 1 or float(jnp.diff(means).min()) > 0  # no two components are the same


def test_it_learns_what_one_logistic_cannot() -> None:
    """Two grey levels far apart: from the start of `solve`, gradient ascent finds both."""
    likelihood = DiscretisedLogisticMixture(levels=32, components=2)
    x = jnp.asarray(np.random.default_rng(0).choice([4, 25], (200, 1)))
    start = likelihood.solve(likelihood.statistics(x, jnp.zeros(1)), 0.0, jnp.zeros(1))

    def loss(outputs: jax.Array) -> jax.Array:
        return -likelihood.log_prob(jnp.broadcast_to(outputs, (200, 1, 6)), x).mean()

    step = lambda outputs, _: (outputs - 0.1 * jnp.clip(jax.grad(loss)(outputs), -1, 1), None)  # noqa: E731
    fitted = jax.jit(lambda o: jax.lax.scan(step, o, None, length=1000)[0])(start)
    assert float(loss(start)) > 2
    assert float(loss(fitted)) == pytest.approx(np.log(2), abs=0.1)
