"""Take an estimator through a set of examples, batch by batch, compiled once for all of one structure."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.engine import numbers as settings
from research.types import Batch, Key, Params


def each(estimator: Any, params: Params, data: Batch, key: Key, batch_size: int) -> Any:
    """What `estimator.measure(params, batch, key)` says of each example: [batch, ...] arrays become [n, ...].

    `data` is an array or a tree of arrays of one length; the last batch is filled up with repeats, which are dropped again.
    """
    numbers = settings.numbers(estimator)
    measure = _compiled(settings.insert(estimator, dict.fromkeys(numbers, 1.0)))
    n = len(jax.tree.leaves(data)[0])
    size = min(batch_size, n)
    parts = []
    for i, first in enumerate(range(0, n, size)):
        rows = np.minimum(np.arange(first, first + size), n - 1)
        batch = jax.tree.map(lambda x, rows=rows: jnp.asarray(x[rows]), data)
        with jax.default_matmul_precision('highest'):  # a quoted likelihood is worth full float32 on any device
            found = measure(numbers, params, batch, jax.random.fold_in(key, i))
        parts.append(jax.tree.map(np.asarray, found))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *parts)


@functools.lru_cache(maxsize=16)
def _compiled(structure: Any) -> Callable[..., Any]:
    return jax.jit(lambda numbers, params, x, key: settings.insert(structure, numbers).measure(params, x, key))
