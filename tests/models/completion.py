"""What a model says of a part of x, against the sum over all completions of binary x."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

KEY = jax.random.key(7)


def states(dims: int) -> np.ndarray:
    """All 2^dims of them, [2^dims, dims]."""
    return np.array(list(itertools.product((0, 1), repeat=dims)), np.float32)


def masks(dims: int) -> list[np.ndarray]:
    """Nothing observed, everything, and two parts."""
    every = np.arange(dims)
    return [every < 0, every >= 0, every % 2 == 0, every < dims // 3 + 1]


def probabilities(model: Any, params: Any, dims: int) -> np.ndarray:
    return np.exp(np.asarray(jax.jit(model.log_prob)(params, jnp.asarray(states(dims)), KEY), np.float64))


def check_marginals(model: Any, params: Any, dims: int) -> None:
    """`log_marginal` is the sum over completions, and ignores what is not observed."""
    every, p = states(dims), probabilities(model, params, dims)
    marginal = jax.jit(model.log_marginal)
    for observed in masks(dims):
        agree = (every[:, None] == every[None]) | ~observed  # [state, completion, dims]
        expected = (agree.all(axis=2) * p).sum(axis=1)
        hidden = np.where(observed, every, 1 - every)
        for x in (every, hidden):
            np.testing.assert_allclose(marginal(params, jnp.asarray(x), observed), np.log(expected), atol=2e-5)


def check_conditional(model: Any, params: Any, dims: int, n: int = 20_000) -> None:
    """Completions of one example fall as their probabilities say, within four standard errors."""
    every, p = states(dims), probabilities(model, params, dims)
    x = every[(2**dims) // 3]
    fill = jax.jit(model.conditional)
    for observed in masks(dims):
        possible = ((every == x) | ~observed).all(axis=1)
        exact = np.where(possible, p, 0) / p[possible].sum()
        drawn = np.asarray(fill(params, jnp.tile(x, (n, 1)), observed, KEY))
        assert (drawn[:, observed] == x[observed]).all()
        found = np.bincount((drawn @ (2 ** np.arange(dims))[::-1]).astype(int), minlength=len(every)) / n
        assert (np.abs(found - exact) < 4 * np.sqrt(exact * (1 - exact) / n) + 1e-6).all()


def check_most_probable(model: Any, params: Any, dims: int) -> None:
    """No completion is more probable than the one that is given."""
    every, p = states(dims), probabilities(model, params, dims)
    best = jax.jit(model.most_probable)
    for observed in masks(dims):
        filled = np.asarray(best(params, jnp.asarray(every), observed))
        for x, found in zip(every, filled, strict=True):
            possible = ((every == x) | ~observed).all(axis=1)
            index = int(found @ (2 ** np.arange(dims))[::-1])
            assert possible[index]
            assert p[index] >= p[possible].max() * (1 - 1e-4)
