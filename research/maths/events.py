"""What all likelihoods share: sums over the variables of an event, and the words for what they pass about."""

from __future__ import annotations

from research.types import Array

Statistics = dict[str, Array]
Limits = tuple[float, float] | None


def sum_event(values: Array) -> Array:
    """Sum of all but the leading axis: [batch, ...] -> [batch]."""
    return values.reshape(values.shape[0], -1).sum(axis=-1)
