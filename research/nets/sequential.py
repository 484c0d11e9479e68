"""Nets of a sequence VAE: an encoder of what is heard over time, and decoders that read what came before.

Bowman et al. 2016, arXiv:1511.06349: p(x | z) = prod_t p(x_t | x_<t, z). A decoder that reads is a language model told of z,

    h_t = net(z, x_1, .., x_{t-1}),     outputs_t = W h_t + b                                                      (1)

and gives the outputs of every t in one pass. It is so good a model without z that training may leave z unused; `word_dropout` hides
each earlier symbol from it with that probability while training (their word dropout, section 3.2), which leaves something for
z to tell. Such nets take a pair (z [batch, latent], x [batch, time] or [batch, time, keys]) and delay x themselves: outputs at t
never see x_t. -1 stands for nothing: before the beginning, and where a symbol is hidden.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp

from research.nets.attention import Block
from research.nets.recurrent import CellName, Recurrent
from research.types import Array, BadInput, ranged

GLOROT = nn.initializers.glorot_uniform()


@runtime_checkable
class Reader(Protocol):
    """A decoder whose input is the pair (z, x)."""

    reads: ClassVar[Literal[True]]


class RecurrentEncoder(nn.Module, kw_only=True):
    """One-hot codes or frames [batch, time, inputs] to [batch, *shape]: the mean over time of what a recurrent net makes of them."""

    cell: CellName = 'gru'
    width: int = ranged(128, at_least=1)
    layers: int = ranged(1, at_least=1)

    @nn.compact
    def __call__(self, x: Array, shape: tuple[int, ...], train: bool = False) -> Array:
        if x.ndim < 3:
            raise BadInput(
                f'RecurrentEncoder takes sequences [time, inputs], and the data are of shape {x.shape[1:]}: '
                f'give them likelihood=Sequence(of=...), or an MLP'
            )
        x = x.reshape(*x.shape[:2], -1)  # [batch, time, inputs]
        net = Recurrent(cell=self.cell, width=self.width, layers=self.layers, name='net')
        h = jnp.tanh(net(x, (x.shape[1], self.width)).mean(axis=1))
        return nn.Dense(math.prod(shape), kernel_init=GLOROT, name='out')(h).reshape(-1, *shape)


class Earlier(nn.Module, kw_only=True):
    """What is read of x before each position: symbols' embeddings [batch, time, width], or the frames' map to that width."""

    width: int
    values: int
    hidden: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        before = jnp.pad(x[:, :-1], ((0, 0), (1, 0)) + ((0, 0),) * (x.ndim - 2), constant_values=-1)
        if train:
            kept = jax.random.bernoulli(self.make_rng('dropout'), 1 - self.hidden, before.shape[:2])
            before = jnp.where(kept.reshape(*kept.shape, *(1,) * (x.ndim - 2)), before, -1)
        if x.ndim == 2:
            return nn.Embed(self.values + 1, self.width, name='embed')(jnp.where(before < 0, self.values, before))
        frames = jnp.maximum(before.reshape(*before.shape[:2], -1), 0).astype(jnp.float32)
        return nn.Dense(self.width, kernel_init=GLOROT, name='frame')(frames)


class RecurrentDecoder(nn.Module, kw_only=True):
    """Eq. 1 with a recurrent net that is told z at every step: (z, x) to [batch, *shape], shape = (time, ...)."""

    cell: CellName = 'gru'
    width: int = ranged(128, at_least=1)
    layers: int = ranged(1, at_least=1)
    word_dropout: float = ranged(0.0, at_least=0, below=1)

    reads: ClassVar[Literal[True]] = True

    @nn.compact
    def __call__(self, pair: tuple[Array, Array], shape: tuple[int, ...], train: bool = False) -> Array:
        z, x = pair
        earlier = Earlier(width=self.width, values=shape[-1], hidden=self.word_dropout, name='earlier')(x, train)
        told = jnp.broadcast_to(z[:, None], (*earlier.shape[:2], z.shape[-1]))
        net = Recurrent(cell=self.cell, width=self.width, layers=self.layers, name='net')
        outputs = math.prod(shape[1:])
        return net(jnp.concatenate([earlier, told], axis=2), (shape[0], outputs)).reshape(-1, *shape)


class TransformerDecoder(nn.Module, kw_only=True):
    """Eq. 1 with a causal Transformer, to whose every position a map of z is added: (z, x) to [batch, *shape].

    Raises BadInput for a width that its heads do not divide, or more than `window` positions.
    """

    layers: int = ranged(2, at_least=1)
    heads: int = ranged(4, at_least=1)
    width: int = ranged(128, at_least=1)
    window: int = ranged(65, at_least=1)
    word_dropout: float = ranged(0.0, at_least=0, below=1)

    reads: ClassVar[Literal[True]] = True

    @nn.compact
    def __call__(self, pair: tuple[Array, Array], shape: tuple[int, ...], train: bool = False) -> Array:
        z, x = pair
        if self.width % self.heads:
            raise BadInput(f'width={self.width}: TransformerDecoder with heads={self.heads} needs a multiple of it')
        if x.shape[1] > self.window:
            raise BadInput(f'window={self.window}: the data bring {x.shape[1]} positions; give TransformerDecoder that')
        h = Earlier(width=self.width, values=shape[-1], hidden=self.word_dropout, name='earlier')(x, train)
        place = self.param('positions', nn.initializers.normal(0.02), (self.window, self.width))
        h = h + place[: x.shape[1]] + nn.Dense(self.width, kernel_init=GLOROT, name='told')(z)[:, None]
        for i in range(self.layers):
            scale = (2 * self.layers) ** -0.5
            h = Block(heads=self.heads, dropout=0.0, residual_scale=scale, name=f'block_{i}')(h, train)
        h = nn.LayerNorm(use_bias=False, name='norm')(h)
        return nn.Dense(math.prod(shape[1:]), kernel_init=GLOROT, name='out')(h).reshape(-1, *shape)
