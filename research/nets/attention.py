"""A causal Transformer over symbols, pre-normalised: Vaswani et al. 2017 (arXiv:1706.03762), Radford et al. 2019.

Initialisation as GPT-2: N(0, 0.02), residual projections scaled by 1 / sqrt(2 layers); the output shares the embedding.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from research.types import Array, BadInput, ranged


class Block(nn.Module, kw_only=True):
    """x + attention(norm(x)), then x + mlp(norm(x)): [batch, time, width] to the same."""

    heads: int
    dropout: float
    residual_scale: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        batch, time, width = x.shape
        init, out_init = nn.initializers.normal(0.02), nn.initializers.normal(0.02 * self.residual_scale)
        drop = nn.Dropout(self.dropout, deterministic=not train)
        qkv = nn.Dense(3 * width, use_bias=False, kernel_init=init)(nn.LayerNorm(use_bias=False)(x))
        q, k, v = jnp.split(qkv.reshape(batch, time, 3 * self.heads, width // self.heads), 3, axis=2)
        attended = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(batch, time, width)
        x = x + drop(nn.Dense(width, use_bias=False, kernel_init=out_init)(attended))
        hidden = nn.gelu(nn.Dense(4 * width, use_bias=False, kernel_init=init)(nn.LayerNorm(use_bias=False)(x)))
        return x + drop(nn.Dense(width, use_bias=False, kernel_init=out_init)(hidden))


class Transformer(nn.Module, kw_only=True):
    """Symbols [batch, time] (-1: nothing there) to logits [batch, time, values]; position t sees symbols 0 .. t.

    Raises BadInput for a width that its heads do not divide, or more than `window` positions.
    """

    layers: int = ranged(4, at_least=1)
    heads: int = ranged(4, at_least=1)
    width: int = ranged(128, at_least=1)
    window: int = ranged(64, at_least=1)
    dropout: float = ranged(0.0, at_least=0, below=1)

    @nn.compact
    def __call__(self, x: Array, shape: tuple[int, ...], train: bool = False) -> Array:
        values, time = shape[-1], x.shape[1]
        if self.width % self.heads:
            raise BadInput(f'width={self.width}: a Transformer with heads={self.heads} needs a multiple of it')
        if time > self.window:
            raise BadInput(f'window={self.window}: the data bring {time} positions; give the Transformer at least that')
        embed = nn.Embed(values + 1, self.width, embedding_init=nn.initializers.normal(0.02))
        place = self.param('positions', nn.initializers.normal(0.02), (self.window, self.width))
        h = embed(jnp.where(x < 0, values, x)) + place[:time]  # [batch, time, width]
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        for _ in range(self.layers):
            h = Block(heads=self.heads, dropout=self.dropout, residual_scale=(2 * self.layers) ** -0.5)(h, train)
        return embed.attend(nn.LayerNorm(use_bias=False)(h))[..., :values]
