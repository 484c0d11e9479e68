"""DCGAN: the all-convolutional generator and critic of Radford, Metz & Chintala 2016, arXiv:1511.06434.

Section 3: strided convolutions instead of pooling; batch norm in both nets except at the generator's output and the
critic's input; ReLU in the generator, leaky ReLU of slope 0.2 in the critic; kernels drawn from N(0, 0.02^2).

The paper draws 64x64 images from a base grid of 4x4. Here the number of stages follows from the image: a side is
halved while it is even and its half is at least 4, so 64 -> 4 in four stages as in the paper, 32 -> 4 in three, 28 -> 7
in two, 8 -> 4 in one. The layer next to the image has `width` channels and each one further in doubles them.

Departures from the paper: kernels are 4x4 and not 5x5, as in most later code: a kernel the stride divides covers
every pixel equally often (Odena et al. 2016, doi:10.23915/distill.00003) for two thirds of the work. Outputs are
raw: the model applies its own tanh or sigmoid.
"""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from research.nets.conv import Conv, ConvTranspose
from research.nets.normalisation import BatchNorm
from research.types import Array, BadInput, Key, ranged

normal = nn.initializers.normal(0.02)


def scale_init(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """The authors' released code draws batch norm's scales from N(1, 0.02^2)."""
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)


def stages(image: tuple[int, ...]) -> int:
    """How often an image [height, width, channels] is halved, see above. Raises BadInput where it cannot be."""
    if len(image) != 3 or min(image[:2]) < 8 or image[0] % 4 or image[1] % 4:
        accepted = 'images (height, width, channels) with sides of at least 8 and divisible by 4'
        raise BadInput(f'DCGAN serves {accepted}, but the image is {image}.')
    height, width, count = image[0], image[1], 0
    while height % 2 == 0 and width % 2 == 0 and min(height, width) >= 8:
        height, width, count = height // 2, width // 2, count + 1
    return count


class Generator(nn.Module, kw_only=True):
    """Latents [batch, latent] -> raw images [batch, *shape], shape = (height, width, channels)."""

    width: int = ranged(64, at_least=1)
    kernel: int = ranged(4, at_least=2)
    normalise: bool = True
    momentum: float = ranged(0.9, at_least=0, below=1)

    @nn.compact
    def __call__(self, x: Array, shape: tuple[int, ...], train: bool = False) -> Array:
        if x.ndim != 2:
            raise BadInput(f"DCGAN's generator takes latents [batch, latent], but the shape is {x.shape}.")
        depth = stages(shape)
        widths = [self.width << level for level in reversed(range(depth))]
        grid = (shape[0] >> depth, shape[1] >> depth, widths[0])
        x = nn.Dense(math.prod(grid), use_bias=not self.normalise, kernel_init=normal, name='project')(x)
        x = x.reshape(-1, *grid)
        for level, features in enumerate([*widths[1:], shape[2]]):
            if self.normalise:
                x = BatchNorm(momentum=self.momentum, scale_init=scale_init, name=f'norm_{level}')(x, train)
            x = nn.relu(x)
            last = level == depth - 1
            x = ConvTranspose(
                features=features,
                kernel=(self.kernel, self.kernel),
                strides=(2, 2),
                use_bias=last or not self.normalise,
                kernel_init=normal,
                name=f'up_{level}',
            )(x)
        return x


class Critic(nn.Module, kw_only=True):
    """Images [batch, height, width, channels] -> logits [batch, *shape], shape = () for a critic.

    A critic under a gradient penalty takes normalise=False: the penalty is for each example alone, and batch norm ties
    the examples of a batch together (Gulrajani et al. 2017, section 4).
    """

    width: int = ranged(64, at_least=1)
    kernel: int = ranged(4, at_least=2)
    slope: float = ranged(0.2, at_least=0)
    normalise: bool = True
    momentum: float = ranged(0.9, at_least=0, below=1)

    @nn.compact
    def __call__(self, x: Array, shape: tuple[int, ...] = (), train: bool = False) -> Array:
        if x.ndim != 4:
            raise BadInput(f"DCGAN's critic takes images [batch, height, width, channels], but the shape is {x.shape}.")
        for level in range(stages(x.shape[1:])):
            normalise = self.normalise and level > 0
            x = Conv(
                features=self.width << level,
                kernel=(self.kernel, self.kernel),
                strides=(2, 2),
                use_bias=not normalise,
                kernel_init=normal,
                name=f'down_{level}',
            )(x)
            if normalise:
                x = BatchNorm(momentum=self.momentum, scale_init=scale_init, name=f'norm_{level}')(x, train)
            x = nn.leaky_relu(x, self.slope)
        x = nn.Dense(math.prod(shape), kernel_init=normal, name='score')(x.reshape(x.shape[0], -1))
        return x.reshape(-1, *shape)
