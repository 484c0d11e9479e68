"""Multilayer perceptrons, and the two things every net here shares: its activations and its training pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from research.types import MUTABLE, Array, Key, Params, ranged

ActivationName = Literal['relu', 'tanh', 'gelu', 'silu', 'leaky_relu', 'softplus']
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    'relu': nn.relu,
    'tanh': nn.tanh,
    'gelu': nn.gelu,
    'silu': nn.silu,
    'leaky_relu': lambda x: nn.leaky_relu(x, 0.2),
    'softplus': nn.softplus,
}


def train_apply(net: Any, params: Params, x: Array, shape: tuple[int, ...], key: Key) -> tuple[Array, Params]:
    """The training pass of any net here: its output, and its mutable collections advanced by this batch.

    `key` decides dropout. A net without mutable collections returns {}.
    """
    y, advanced = net.apply(params, x, shape, train=True, mutable=list(MUTABLE), rngs={'dropout': key})
    return y, dict(advanced)


class MLP(nn.Module, kw_only=True):
    """Flatten, then dense layers of the `hidden` widths, then one linear layer, reshaped to [batch, *shape].

    Of a tuple, all its arrays are flattened and laid end to end.

    Glorot-uniform kernels and zero biases (Glorot & Bengio 2010).
    """

    hidden: tuple[int, ...] = ranged((400,), at_least=1)
    activation: ActivationName = 'relu'
    batch_norm: bool = False

    @nn.compact
    def __call__(self, x: Array | tuple[Array, ...], shape: tuple[int, ...], train: bool = False) -> Array:
        parts = [part.reshape(part.shape[0], -1) for part in (x if isinstance(x, tuple) else (x,))]
        h = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)  # [batch, inputs]
        h = h if jnp.issubdtype(h.dtype, jnp.floating) else h.astype(jnp.float32)
        for width in self.hidden:
            h = nn.Dense(width, kernel_init=nn.initializers.glorot_uniform(), use_bias=not self.batch_norm)(h)
            if self.batch_norm:
                h = nn.BatchNorm(use_running_average=not train, momentum=0.9)(h)
            h = ACTIVATIONS[self.activation](h)
        h = nn.Dense(math.prod(shape), kernel_init=nn.initializers.glorot_uniform())(h)
        return h.reshape(h.shape[0], *shape)
