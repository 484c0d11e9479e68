"""Gated dense layers, and nets that take two inputs. Tomczak & Welling 2018, arXiv:1705.07120, section 4.1.

A gated layer (Dauphin et al. 2017, arXiv:1612.08083) lets one linear map decide how much of another passes:

    H(x) = (W_h x + b_h) * sigmoid(W_g x + b_g)                                                                    (1)

with no other activation. Kernels start at N(0, 2 / fan_in) (He et al. 2015, arXiv:1502.01852), biases at zero.

`GatedPair` takes two inputs, as the paper's q(z1 | x, z2) and p(x | z1, z2) do: each through a layer of its own, then both side by
side through the rest.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax.numpy as jnp

from research.types import Array, ranged

HE = nn.initializers.variance_scaling(2.0, 'fan_in', 'normal')


def flat(x: Array | tuple[Array, ...]) -> Array:
    """[batch, ...] -> [batch, inputs] of floats; of a tuple, all its arrays end to end."""
    parts = [part.reshape(part.shape[0], -1) for part in (x if isinstance(x, tuple) else (x,))]
    x = jnp.concatenate(parts, axis=1)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)


def linear(x: Array, shape: tuple[int, ...]) -> Array:
    """The last layer: [batch, inputs] -> [batch, *shape]."""
    return nn.Dense(math.prod(shape), kernel_init=HE, name='out')(x).reshape(x.shape[0], *shape)


class Gated(nn.Module, kw_only=True):
    """Eq. 1: [..., inputs] -> [..., features]."""

    features: int = ranged(at_least=1)

    @nn.compact
    def __call__(self, x: Array) -> Array:
        gate = nn.sigmoid(nn.Dense(self.features, kernel_init=HE, name='gate')(x))
        return nn.Dense(self.features, kernel_init=HE, name='value')(x) * gate


class GatedMLP(nn.Module, kw_only=True):
    """Flatten, gated layers of the `hidden` widths, one linear layer, reshaped to [batch, *shape]. Of a tuple, all its arrays are laid end to end."""

    hidden: tuple[int, ...] = ranged((300, 300), at_least=1)

    @nn.compact
    def __call__(self, x: Array | tuple[Array, ...], shape: tuple[int, ...], train: bool = False) -> Array:
        h = flat(x)
        for layer, width in enumerate(self.hidden):
            h = Gated(features=width, name=f'gated_{layer}')(h)
        return linear(h, shape)


class GatedPair(nn.Module, kw_only=True):
    """Two inputs [batch, ...], each through a gated layer of `each` units, then gated layers of the `hidden` widths and a linear
    one: [batch, *shape]."""

    each: int = ranged(300, at_least=1)
    hidden: tuple[int, ...] = ranged((300,), at_least=1)

    @nn.compact
    def __call__(self, x: tuple[Array, Array], shape: tuple[int, ...], train: bool = False) -> Array:
        first, second = (Gated(features=self.each, name=f'input_{i}')(flat(part)) for i, part in enumerate(x))
        h = jnp.concatenate([first, second], axis=1)  # [batch, 2 * each]
        for layer, width in enumerate(self.hidden):
            h = Gated(features=width, name=f'gated_{layer}')(h)
        return linear(h, shape)
