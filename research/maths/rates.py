"""What a VAE pays for its rate R = KL(q(z | x) || p(z)): how the terms of each latent enter the loss, before beta weighs them.

A rate arrives as [draws, batch, parts]: one part for each latent where the KL divergence is closed and factorises, else one
part in all. It leaves as [draws, batch] nats. `step` counts the steps taken so far.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp

from research.types import Array, ranged


@dataclass(frozen=True, kw_only=True)
class WholeRate:
    """The sum of all parts: R as it is."""

    def __call__(self, rates: Array, step: Array) -> Array:
        return rates.sum(axis=-1)


@dataclass(frozen=True, kw_only=True)
class FreeBits:
    """sum_j max(nats, E_batch[R_j]): each part's first nats cost nothing (Kingma et al. 2016, arXiv:1606.04934, eq. 15)."""

    nats: float = ranged(0.1, at_least=0)  # for each part

    def __call__(self, rates: Array, step: Array) -> Array:
        paid = jnp.maximum(rates.mean(axis=(0, 1)), self.nats).sum()
        return jnp.broadcast_to(paid, rates.shape[:2])


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """|R - C|, with C rising in a line from 0 to `nats` over `steps`; beta is the paper's gamma (Burgess et al. 2018,
    arXiv:1804.03599, eq. 8)."""

    nats: float = ranged(25.0, at_least=0)
    steps: int = ranged(100_000, at_least=1)

    def __call__(self, rates: Array, step: Array) -> Array:
        capacity = self.nats * jnp.minimum(step / self.steps, 1.0)
        off = jnp.abs(rates.sum(axis=-1).mean() - capacity)
        return jnp.broadcast_to(off, rates.shape[:2])


Rate = WholeRate | FreeBits | Capacity
