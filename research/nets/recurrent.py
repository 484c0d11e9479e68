"""Gated recurrent units over symbols: Cho et al. 2014 (arXiv:1406.1078)."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from research.types import Array, ranged


class GRU(nn.Module, kw_only=True):
    """Symbols [batch, time] (-1: nothing there) to logits [batch, time, values]; position t sees symbols 0 .. t."""

    width: int = ranged(128, at_least=1)
    layers: int = ranged(1, at_least=1)

    @nn.compact
    def __call__(self, x: Array, shape: tuple[int, ...], train: bool = False) -> Array:
        values = shape[-1]
        h = nn.Embed(values + 1, self.width)(jnp.where(x < 0, values, x))  # [batch, time, width]
        for _ in range(self.layers):
            h = nn.RNN(nn.GRUCell(self.width))(h)
        return nn.Dense(values)(h)
