"""Recurrent nets over time: symbols or real vectors in, for each step the parameters of what comes next out.

With the input x_t, what the steps before left in h_{t-1} (and c_{t-1}), sigma the logistic function:

    tanh    h_t = tanh(W x_t + U h_{t-1} + b)                                              (Elman 1990)             (1)
    gru     r, z = sigma(W x_t + U h_{t-1} + b);  n = tanh(W_n x_t + b_n + r (U_n h_{t-1} + d_n))
            h_t = (1 - z) n + z h_{t-1}                                         (Cho et al. 2014, arXiv:1406.1078)  (2)
    lstm    i, f, o = sigma(W x_t + U h_{t-1} + b);  g = tanh(W_g x_t + U_g h_{t-1} + b_g)
            c_t = f c_{t-1} + i g;  h_t = o tanh(c_t)                           (Hochreiter & Schmidhuber 1997)     (3)

Eq. 2 has the reset gate after the product, where the paper has U_n (r h_{t-1}): then all of a step is one product. What the
inputs give is one product for all steps; only U h is left for the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from research.types import Array, ranged

CellName = Literal['tanh', 'gru', 'lstm']
Carry = tuple[Array, ...]  # of one layer, each [batch, width]


def tanh_step(carry: Carry, inputs: Array, recurrent: Array, bias: Array) -> Carry:
    """Eq. 1."""
    return (jnp.tanh(inputs + carry[0] @ recurrent),)


def gru_step(carry: Carry, inputs: Array, recurrent: Array, bias: Array) -> Carry:
    """Eq. 2; `bias` is d_n."""
    (h,) = carry
    r, z, n = jnp.split(inputs, 3, axis=-1)
    from_r, from_z, from_n = jnp.split(h @ recurrent, 3, axis=-1)
    n = jnp.tanh(n + nn.sigmoid(r + from_r) * (from_n + bias))
    z = nn.sigmoid(z + from_z)
    return ((1 - z) * n + z * h,)


def lstm_step(carry: Carry, inputs: Array, recurrent: Array, bias: Array) -> Carry:
    """Eq. 3."""
    h, c = carry
    i, f, o, g = jnp.split(inputs + h @ recurrent, 4, axis=-1)
    c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
    return nn.sigmoid(o) * jnp.tanh(c), c


CELLS: dict[str, tuple[int, int, Callable[[Carry, Array, Array, Array], Carry]]] = {  # gates, arrays carried, the step
    'tanh': (1, 1, tanh_step),
    'gru': (3, 1, gru_step),
    'lstm': (4, 2, lstm_step),
}


class Recurrent(nn.Module, kw_only=True):
    """Real vectors [batch, time, inputs] or symbols [batch, time] (-1: nothing there) to [batch, *shape], `shape` = (time, outputs);
    what comes out at t has seen steps 0 .. t.

    Input kernels Glorot-uniform, recurrent ones orthogonal gate by gate (Saxe et al. 2014), biases zero but that of the
    LSTM's forget gate, which is one (Jozefowicz et al. 2015).
    """

    cell: CellName = 'gru'
    width: int = ranged(46, at_least=1)
    layers: int = ranged(1, at_least=1)

    def __call__(self, x: Array, shape: tuple[int, ...], train: bool = False) -> Array:
        return self.go_on(x, None, shape)[1]

    @nn.compact
    def go_on(self, x: Array, carries: list[Carry] | None, shape: tuple[int, ...]) -> tuple[list[Carry], Array]:
        """The same from where `carries`, one for each layer, were left (None: the beginning), and where they are left now."""
        if jnp.issubdtype(x.dtype, jnp.integer):
            x = nn.Embed(shape[-1] + 1, self.width)(jnp.where(x < 0, shape[-1], x))
        left = []
        for layer in range(self.layers):
            carry, x = self.layer(f'{layer}', x, carries[layer] if carries else None)
            left.append(carry)
        y = nn.Dense(shape[-1], kernel_init=nn.initializers.glorot_uniform())(x)
        return left, y.reshape(x.shape[0], *shape)

    def layer(self, name: str, x: Array, carry: Carry | None) -> tuple[Carry, Array]:
        """One layer over x [batch, time, inputs]: what it carries at the end, and h [batch, time, width]."""
        gates, carried, step = CELLS[self.cell]
        kernel = nn.initializers.glorot_uniform()
        inputs = self.param(f'input_{name}', blocks(kernel, gates), (x.shape[-1], gates * self.width))
        turn = blocks(nn.initializers.orthogonal(), gates)
        recurrent = self.param(f'recurrent_{name}', turn, (self.width, gates * self.width))
        bias = self.param(f'bias_{name}', self.first_bias, (gates * self.width,))
        after = self.param(f'reset_bias_{name}', nn.initializers.zeros, (self.width,)) if self.cell == 'gru' else bias
        driven = (x @ inputs + bias).swapaxes(0, 1)  # [time, batch, gates * width]
        start = carry or (jnp.zeros((x.shape[0], self.width), driven.dtype),) * carried

        def advance(carry: Carry, now: Array) -> tuple[Carry, Array]:
            carry = step(carry, now, recurrent, after)
            return carry, carry[0]

        end, h = jax.lax.scan(advance, start, driven)
        return end, h.swapaxes(0, 1)

    def first_bias(self, key: Array, shape: tuple[int, ...]) -> Array:
        forget = jnp.arange(shape[0]) // self.width == 1
        return jnp.where(forget & (self.cell == 'lstm'), 1.0, 0.0)


def blocks(init: nn.initializers.Initializer, count: int) -> nn.initializers.Initializer:
    """`init` for each of `count` blocks of columns by itself."""

    def whole(key: Array, shape: tuple[int, ...], dtype: object = jnp.float32) -> Array:
        part = (shape[0], shape[1] // count)
        return jnp.concatenate([init(k, part, jnp.float32) for k in jax.random.split(key, count)], axis=1)

    return whole
