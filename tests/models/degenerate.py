"""Real data that leave a density little to hold on to, and what has to stay finite on them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

KEY = jax.random.key(0)
NAMES = ('constant', 'few', 'one', 'far')


def example(name: str, scale: float, offset: float) -> np.ndarray:
    """Constant variables, fewer examples than components, one example, or scales far apart about an `offset`: [n, 3]."""
    return {
        'constant': np.tile(np.array([[1.0, 2.0, 3.0]], np.float32), (6, 1)),
        'few': np.array([[0, 0, 1], [1, 0, 0], [1, 1, 1]], np.float32),
        'one': np.array([[0.5, 0.1, 0.2]], np.float32),
        'far': (np.random.default_rng(0).normal(size=(20, 3)) * [scale, 1e-3, 0] + offset).astype(np.float32),
    }[name]


def check(model: Any, fitted: Any, levels: Any, x: np.ndarray) -> None:
    """Finite parameters, scores, marginals and draws."""
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted))
    assert np.isfinite(levels).all()
    o = jnp.array([True, False, True])
    assert np.isfinite(jax.jit(model.log_marginal)(fitted, jnp.asarray(x), o)).all()
    assert np.isfinite(jax.jit(model.conditional)(fitted, jnp.asarray(x), o, KEY)).all()
