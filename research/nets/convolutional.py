"""Convolutional encoder and decoder: strided convolutions down to a small grid, dense layers, and the way back.

The encoder halves the image's sides once for each of its `widths` (channels after each layer), flattens, and goes on with dense
layers; the decoder is its mirror, so its `widths` are the encoder's in reverse order: the first is that of the grid it starts
from, and the last layer gives the data's channels. A side has to be divisible by 2 as often as it is halved: with the two
layers here by 4 (28 -> 7, 32 -> 8), with three by 8, with four by 16.

    LOCATELLO_ENCODER, LOCATELLO_DECODER    four layers, for 64x64: the nets of Locatello et al. 2019, arXiv:1811.12359, table 1,
                                            after Higgins et al. 2017; kernels 4 4 2 2 down, 4 4 4 4 up

No normalisation: outputs are of each example alone, whatever else is in the batch. Glorot-uniform kernels, biases zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import flax.linen as nn
import jax.numpy as jnp

from research.nets.conv import Conv, ConvTranspose
from research.nets.mlp import ACTIVATIONS, ActivationName
from research.types import Array, BadInput, ranged

GLOROT = nn.initializers.glorot_uniform()


def images(name: str, x: Array) -> Array:
    """[batch, height, width, ...] -> [batch, height, width, channels]: one-hot codes of a pixel are channels too.

    Raises BadInput for what is no image.
    """
    if x.ndim < 4:
        raise BadInput(f'{name} takes images (height, width, channels), and the data are of shape {x.shape[1:]}')
    x = x.reshape(*x.shape[:3], -1)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)


def grid(name: str, shape: tuple[int, ...], halvings: int) -> tuple[int, int]:
    """Height and width of an image (height, width, ...) after so many halvings.

    Raises BadInput, with the sides that would fit, where they cannot be halved so often.
    """
    if len(shape) < 3:
        raise BadInput(f'{name} takes images (height, width, channels), and the data are of shape {shape}')
    least = 2**halvings
    for side in shape[:2]:
        if side % least:
            near = sorted({max(side // least, 1) * least, (side // least + 1) * least})
            raise BadInput(
                f'{name} halves the sides {halvings} times and takes multiples of {least}, but the image is '
                f'{shape[0]}x{shape[1]}: a side of {side} does not fit, {" or ".join(map(str, near))} would'
            )
    return shape[0] // least, shape[1] // least


def dense(x: Array, widths: Iterable[int], activation: ActivationName) -> Array:
    """Dense layers, each with its activation, named hidden_0, hidden_1 ..."""
    for layer, width in enumerate(widths):
        x = ACTIVATIONS[activation](nn.Dense(width, kernel_init=GLOROT, name=f'hidden_{layer}')(x))
    return x


class Encoder(nn.Module, kw_only=True):
    """Images [batch, height, width, ...] to [batch, *shape]. Raises BadInput for a side that does not fit, and for another
    number of kernels than of widths."""

    widths: tuple[int, ...] = ranged((32, 64), at_least=1)
    kernels: tuple[int, ...] = ranged((4, 4), at_least=2)
    hidden: tuple[int, ...] = ranged((256,), at_least=1)
    activation: ActivationName = 'relu'

    @nn.compact
    def __call__(self, x: Array, shape: tuple[int, ...], train: bool = False) -> Array:
        same_number('Encoder', self.widths, self.kernels)
        x = images('Encoder', x)
        grid('Encoder', x.shape[1:], len(self.widths))
        for layer, (width, size) in enumerate(zip(self.widths, self.kernels, strict=True)):
            conv = Conv(features=width, kernel=(size, size), strides=(2, 2), kernel_init=GLOROT, name=f'down_{layer}')
            x = ACTIVATIONS[self.activation](conv(x))
        h = dense(x.reshape(x.shape[0], -1), self.hidden, self.activation)
        return nn.Dense(math.prod(shape), kernel_init=GLOROT, name='out')(h).reshape(-1, *shape)


class Decoder(nn.Module, kw_only=True):
    """Latents [batch, latent] to [batch, *shape], shape = (height, width, channels) or with the numbers that a likelihood asks
    for each of these. Raises BadInput as the encoder does."""

    widths: tuple[int, ...] = ranged((64, 32), at_least=1)
    kernels: tuple[int, ...] = ranged((4, 4), at_least=2)
    hidden: tuple[int, ...] = ranged((256,), at_least=1)
    activation: ActivationName = 'relu'

    @nn.compact
    def __call__(self, x: Array, shape: tuple[int, ...], train: bool = False) -> Array:
        same_number('Decoder', self.widths, self.kernels)
        start = (*grid('Decoder', shape, len(self.widths)), self.widths[0])
        h = dense(x.reshape(x.shape[0], -1), (*self.hidden, math.prod(start)), self.activation).reshape(-1, *start)
        channels = (*self.widths[1:], math.prod(shape[2:]))
        for layer, (width, size) in enumerate(zip(channels, self.kernels, strict=True)):
            h = ConvTranspose(
                features=width, kernel=(size, size), strides=(2, 2), kernel_init=GLOROT, name=f'up_{layer}'
            )(h)
            h = ACTIVATIONS[self.activation](h) if layer < len(channels) - 1 else h
        return h.reshape(-1, *shape)


def same_number(name: str, widths: tuple[int, ...], kernels: tuple[int, ...]) -> None:
    if len(widths) != len(kernels) or not widths:
        raise BadInput(
            f'{name} has widths={widths} and kernels={kernels}: give one kernel for each width, at least one'
        )


LOCATELLO_ENCODER = Encoder(widths=(32, 32, 64, 64), kernels=(4, 4, 2, 2), hidden=(256,))
LOCATELLO_DECODER = Decoder(widths=(64, 64, 32, 32), kernels=(4, 4, 4, 4), hidden=(256,))
