"""Score and draw with a fitted model, batch by batch, compiled once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.engine import numbers as settings
from research.engine.numbers import Numbers
from research.types import Batch, Domain, Key, Params


def log_prob(
    model: Any, params: Params, x: np.ndarray, key: Key, batch_size: int, progress: bool = False
) -> np.ndarray:
    """[n] nats of each example of `x`; the last batch is filled up with repeats, whose values are dropped."""
    from tqdm import tqdm

    score, numbers = scorer(model)
    size = min(batch_size, len(x))
    parts = []
    for i, first in enumerate(
        tqdm(range(0, len(x), size), desc='scoring', disable=None if progress else True, leave=False)
    ):
        rows = np.minimum(np.arange(first, first + size), len(x) - 1)
        with jax.default_matmul_precision('highest'):  # a quoted likelihood is worth full float32 on any device
            parts.append(np.asarray(score(numbers, params, jnp.asarray(x[rows]), jax.random.fold_in(key, i))))
    return np.concatenate(parts)[: len(x)]


def scorer(model: Any) -> tuple[Callable[..., Any], Numbers]:
    """The compiled `log_prob` that all models of one structure share, and the numbers of this one."""
    numbers = settings.numbers(model)
    return _compiled(settings.insert(model, dict.fromkeys(numbers, 1.0))), numbers


@functools.lru_cache(maxsize=8)
def _compiled(structure: Any) -> Callable[..., Any]:
    return jax.jit(lambda numbers, params, x, key: settings.insert(structure, numbers).log_prob(params, x, key))


def sample(model: Any, params: Params, key: Key, n: int, shape: tuple[int, ...], batch_size: int = 1000) -> np.ndarray:
    """[n, *shape] draws."""
    size = min(n, batch_size)
    draw = jax.jit(lambda params, key: model.sample(params, key, size, shape))
    parts = [np.asarray(draw(params, jax.random.fold_in(key, i))) for i in range(-(-n // size))]
    return np.concatenate(parts)[:n]


def variables(domain: Domain) -> int:
    """Scored variables in one unit: of a piece of music those of one time step, else as the domain says."""
    return domain.shape[1] if stepwise(domain) else domain.dims


def stepwise(domain: Domain) -> bool:
    """Whether an example is a sequence of time steps, of which each is a unit."""
    return domain.unit == 'time step' and len(domain.shape) == 2


def units(x: Batch, domain: Domain) -> np.ndarray:
    """How many scored units each example holds: characters of a window, time steps of a piece after what is given, else 1."""
    if domain.kind == 'tokens':
        return (np.asarray(x)[:, domain.context :] >= 0).sum(axis=1)
    if stepwise(domain):
        return (np.asarray(x)[:, domain.context :] >= 0).any(axis=2).sum(axis=1)
    return np.ones(len(x), np.int64)
