"""Probabilistic PCA is scikit-learn's, the maximum that EM climbs to, and defined on degenerate data."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from research.models.factor_analysers import FactorAnalysers
from research.models.ppca import PPCA
from research.types import Domain
from tests.models.test_mixture import iterate

KEY = jax.random.key(0)


def fit(model: PPCA, x: np.ndarray) -> Any:
    def solve(x: jax.Array) -> Any:
        params = model.init(KEY, x)
        return model.solve(params, model.statistics(params, x)[0])

    return jax.jit(solve)(jnp.asarray(x))


@pytest.mark.parametrize('offset', [0.0, 100.0])
def test_each_score_is_scikit_learns(offset: float) -> None:
    """Per example to 1e-4 relative, wherever the origin is. scikit-learn divides by n - 1, hence the factor."""
    x = load_digits().data / 16 + 0.1 * np.random.default_rng(0).normal(size=(1797, 64))
    reference = PCA(8, svd_solver='full').fit(np.sqrt((len(x) - 1) / len(x)) * (x - x.mean(axis=0)))
    expected = reference.score_samples(x - x.mean(axis=0))
    moved = (x + offset).astype(np.float32)
    model = PPCA(factors=8, variance_floor=1e-6)
    params = fit(model, moved)
    found = jax.jit(model.log_prob)(params, jnp.asarray(moved), KEY)
    np.testing.assert_allclose(found, expected, rtol=1e-4 if not offset else 1e-2, atol=2e-3 if not offset else 0.1)
    assert np.mean(found) == pytest.approx(expected.mean(), rel=1e-4, abs=2e-3)


def test_em_climbs_to_it_and_not_above() -> None:
    """The closed form is the maximum: 400 iterations of EM come within 1e-3 nats of it from below."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(200, 2)) @ rng.normal(size=(2, 6)) + 0.3 * rng.normal(size=(200, 6))).astype(np.float32)
    closed = PPCA(factors=2)
    best = float(closed.log_prob(fit(closed, x), jnp.asarray(x), KEY).mean())
    model = FactorAnalysers(factors=2)
    _, levels = iterate(model, jax.jit(model.init)(KEY, jnp.asarray(x)), x, 400)
    assert best - 1e-3 < levels[-1] < best + 1e-4


@pytest.mark.parametrize('factors', [1, 3, 9])
def test_degenerate_data_stay_defined(factors: int) -> None:
    """One example, a constant, as many factors as variables and more."""
    model = PPCA(factors=factors)
    for x in (
        np.ones((1, 3)),
        np.tile([[1.0, 2.0, 3.0]], (5, 1)),
        np.random.default_rng(0).normal(size=(9, 3)),
        np.ones((4, 1)),
    ):
        params = fit(model, x.astype(np.float32))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
        assert np.isfinite(model.log_prob(params, jnp.asarray(x, jnp.float32), KEY)).all()


def test_parts_and_draws_are_those_of_its_normal() -> None:
    """Shapes, what is observed kept, and log p(x) where all is; the algebra is tested with the factor analysers."""
    x = np.random.default_rng(0).normal(size=(50, 2, 2)).astype(np.float32)
    model = PPCA(factors=1)
    params = fit(model, x)
    o = np.array([[True, False], [False, True]])
    filled = model.conditional(params, jnp.asarray(x), jnp.asarray(o), KEY)
    assert filled.shape == x.shape
    assert (np.asarray(filled)[:, o] == x[:, o]).all()
    np.testing.assert_allclose(
        model.log_marginal(params, jnp.asarray(x), jnp.ones((2, 2), bool)),
        model.log_prob(params, jnp.asarray(x), KEY), rtol=1e-5,
    )  # fmt: skip
    assert model.sample(params, KEY, 3, (2, 2)).shape == (3, 2, 2)
    assert float(model.loss(params, jnp.asarray(x), KEY).loss) == pytest.approx(
        -float(model.log_prob(params, jnp.asarray(x), KEY).mean())
    )


def test_what_it_cannot_score_is_said() -> None:
    assert 'tokens' in str(PPCA().fits(Domain(kind='tokens', shape=(2,), values=3)))
