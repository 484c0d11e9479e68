"""What all likelihoods share: sums over the variables of an event, and the words for what they pass about."""

from __future__ import annotations

import jax.numpy as jnp

from research.types import Array

Statistics = dict[str, Array]
Limits = tuple[float, float] | None


def repeat(x: Array, times: int) -> Array:
    """All of `x` so many times over: [batch, ...] -> [times * batch, ...]."""
    return jnp.broadcast_to(x, (times, *x.shape)).reshape(-1, *x.shape[1:])


def sum_event(values: Array) -> Array:
    """Sum of all but the leading axis: [batch, ...] -> [batch]."""
    return values.reshape(values.shape[0], -1).sum(axis=-1)
