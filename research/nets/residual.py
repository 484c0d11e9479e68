"""A small residual encoder and decoder. He et al. 2016, arXiv:1603.05027 (pre-activation blocks), without normalisation.

A block adds to its input what two 3x3 convolutions make of it,

    y = x + a conv(relu(conv(relu(x)))),        a = 0 at the start                                                 (1)

so that every block starts as the identity and depth costs nothing at first (SkipInit: De & Smith 2020, arXiv:2002.10444). Batch
normalisation, in whose place a stands, would tie the examples of a batch together.

Before each stage of `blocks` blocks the encoder halves the sides by a strided convolution, after each the decoder doubles
them; there is a stage for each of `widths`, so three of them take sides divisible by 8: 32 -> 4, 64 -> 8. The decoder's widths
are the encoder's in reverse order.
"""

from __future__ import annotations

import math

import flax.linen as nn

from research.nets.conv import Conv, ConvTranspose
from research.nets.convolutional import GLOROT, dense, grid, images
from research.types import Array, BadInput, ranged

HE = nn.initializers.variance_scaling(2.0, 'fan_in', 'normal')


class Block(nn.Module, kw_only=True):
    """Eq. 1: [batch, height, width, channels] to the same."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        h = x
        for layer in range(2):
            h = Conv(features=x.shape[3], kernel_init=HE, name=f'conv_{layer}')(nn.relu(h))
        return x + self.param('gain', nn.initializers.zeros, ()) * h


class ResidualEncoder(nn.Module, kw_only=True):
    """Images [batch, height, width, ...] to [batch, *shape]. Raises BadInput for a side that does not fit."""

    widths: tuple[int, ...] = ranged((32, 64, 128), at_least=1)
    blocks: int = ranged(1, at_least=0)
    hidden: tuple[int, ...] = ranged((256,), at_least=1)

    @nn.compact
    def __call__(self, x: Array, shape: tuple[int, ...], train: bool = False) -> Array:
        some('ResidualEncoder', self.widths)
        x = images('ResidualEncoder', x)
        grid('ResidualEncoder', x.shape[1:], len(self.widths))
        for stage, width in enumerate(self.widths):
            x = nn.relu(x) if stage else x
            x = Conv(features=width, kernel=(4, 4), strides=(2, 2), kernel_init=HE, name=f'down_{stage}')(x)
            for i in range(self.blocks):
                x = Block(name=f'block_{stage}_{i}')(x)
        h = dense(nn.relu(x).reshape(x.shape[0], -1), self.hidden, 'relu')
        return nn.Dense(math.prod(shape), kernel_init=GLOROT, name='out')(h).reshape(-1, *shape)


class ResidualDecoder(nn.Module, kw_only=True):
    """Latents [batch, latent] to [batch, *shape], shape = (height, width, channels) or with the numbers that a likelihood asks
    for each of these. Raises BadInput for a side that does not fit."""

    widths: tuple[int, ...] = ranged((128, 64, 32), at_least=1)
    blocks: int = ranged(1, at_least=0)
    hidden: tuple[int, ...] = ranged((256,), at_least=1)

    @nn.compact
    def __call__(self, x: Array, shape: tuple[int, ...], train: bool = False) -> Array:
        some('ResidualDecoder', self.widths)
        start = (*grid('ResidualDecoder', shape, len(self.widths)), self.widths[0])
        h = dense(x.reshape(x.shape[0], -1), self.hidden, 'relu')
        h = nn.Dense(math.prod(start), kernel_init=GLOROT, name='grid')(h).reshape(-1, *start)
        for stage, width in enumerate((*self.widths[1:], math.prod(shape[2:]))):
            for i in range(self.blocks):
                h = Block(name=f'block_{stage}_{i}')(h)
            init = HE if stage < len(self.widths) - 1 else GLOROT
            up = ConvTranspose(features=width, kernel=(4, 4), strides=(2, 2), kernel_init=init, name=f'up_{stage}')
            h = up(nn.relu(h))
        return h.reshape(-1, *shape)


def some(name: str, widths: tuple[int, ...]) -> None:
    if not widths:
        raise BadInput(f'{name} has widths=(): give the channels of at least one stage')
