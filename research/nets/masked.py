"""Nets whose output d sees no input but those before d in a fixed order: what an autoregressive model needs.

Both take x [batch, dims, inputs] (a variable is one number, or as many as its one-hot code has) and give [batch, dims,
outputs]: the parameters of p(x_d | x_<d) for every d in one pass. MADE takes a pair (x, context [batch, size]) as well:
every output may see all of the context.

`MADE` (Germain, Gregor, Murray & Larochelle 2015, arXiv:1502.03509) is a perceptron with connections cut. Variable d has
degree d, 1 .. D, its place in the order; a hidden unit k has a degree m(k) in 1 .. D - 1 and sees only what is of degree at
most m(k) (eq. 8 and 12); output d sees only hidden units of degree below d (eq. 9 and 13), and with direct connections the
inputs below d. The paper draws m(k); here the degrees are spread evenly, which is their expectation. Without hidden layers
what is left is a logistic regression of each variable on those before it: the fully visible sigmoid belief network (Neal
1992; Frey 1998).

`NADE` (Larochelle & Murray 2011) gives each variable a hidden layer of its own, but all share their weights:

    h_d = g(c + sum_{e < d} W_e x_e)      (eq. 2)         outputs_d = b_d + V_d h_d      (eq. 1)

What the layers have in common is a running sum, so all D cost O(D H) and not O(D^2 H).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from research.nets.mlp import ACTIVATIONS, ActivationName
from research.types import Array, ranged

GLOROT = nn.initializers.glorot_uniform()
NADE_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {'sigmoid': nn.sigmoid, 'tanh': nn.tanh, 'relu': nn.relu}


def ordering(dims: int, seed: int | None) -> np.ndarray:
    """order[t] is the variable at place t, [dims]: the natural order for None, else a random one."""
    return np.arange(dims) if seed is None else np.random.default_rng(seed).permutation(dims)


def hidden_degrees(width: int, dims: int) -> np.ndarray:
    """Degrees [width] of a hidden layer, rising evenly through 1 .. dims - 1."""
    return 1 + np.arange(width) * max(dims - 1, 1) // width


class MaskedDense(nn.Module, kw_only=True):
    """y_j = b_j + sum_i [before[i] <= after[j]] x_i K_ij: [batch, inputs] -> [batch, outputs].

    `before` [inputs] and `after` [outputs] are integer degrees; both must rise. So the matrix is a staircase, and what lies
    above it is not multiplied at all, in `blocks` of columns: with 4 of them 5/8 of the product are left.
    """

    bias: bool = True
    blocks: int = ranged(4, at_least=1)

    @nn.compact
    def __call__(self, x: Array, before: np.ndarray, after: np.ndarray) -> Array:
        kernel = self.param('kernel', GLOROT, (before.size, after.size))  # [inputs, outputs]
        cuts = np.linspace(0, after.size, min(self.blocks, after.size) + 1).astype(int)
        parts = []
        for first, last in itertools.pairwise(cuts):
            rows = int(np.searchsorted(before, after[last - 1], side='right'))
            seen = jnp.asarray(before[:rows, None]) <= jnp.asarray(after[first:last])
            parts.append(x[:, :rows] @ jnp.where(seen, kernel[:rows, first:last], 0).astype(x.dtype))
        y = jnp.concatenate(parts, axis=1)
        return y + self.param('bias', nn.initializers.zeros, (after.size,)) if self.bias else y


class MADE(nn.Module, kw_only=True):
    """The masked perceptron; `hidden=()` is the fully visible sigmoid belief network.

    direct      adds connections from the inputs to the outputs (section 4.2); without hidden layers there are no others
    order_seed  None: variables come in their own order; else in a random one
    """

    hidden: tuple[int, ...] = ranged((500,), at_least=1)
    activation: ActivationName = 'relu'
    direct: bool = False
    order_seed: int | None = ranged(None, at_least=0, optional=True)

    @nn.compact
    def __call__(self, x: Array | tuple[Array, Array], shape: tuple[int, ...], train: bool = False) -> Array:
        x, context = x if isinstance(x, tuple) else (x, None)
        dims, outputs = shape
        order = ordering(dims, self.order_seed)
        inputs = x[:, order].reshape(x.shape[0], -1)  # [batch, dims * inputs per variable]
        degrees = np.repeat(np.arange(1, dims + 1), inputs.shape[1] // dims)
        below = np.repeat(np.arange(dims), outputs)  # output d sees degrees up to d - 1
        h, before = inputs, degrees
        for layer, width in enumerate(self.hidden):
            after = hidden_degrees(width, dims)
            h, before = MaskedDense()(h, before, after), after
            if context is not None and layer == 0:
                h = h + nn.Dense(width, use_bias=False, kernel_init=GLOROT)(context)
            h = ACTIVATIONS[self.activation](h)
        y = MaskedDense()(h, before, below)
        if context is not None:  # straight to the outputs too: the first variable's sees no hidden unit
            y = y + nn.Dense(dims * outputs, use_bias=False, kernel_init=GLOROT)(context)
        if self.direct and self.hidden:
            y = y + MaskedDense(bias=False)(inputs, degrees, below)
        return y.reshape(x.shape[0], dims, outputs)[:, np.argsort(order)]


class NADE(nn.Module, kw_only=True):
    """The weight-shared net; `chunk` variables at a time go through one matrix product, and nothing but the running sum
    between chunks is kept for the gradient."""

    hidden: int = ranged(500, at_least=1)
    activation: Literal['sigmoid', 'tanh', 'relu'] = 'sigmoid'
    order_seed: int | None = ranged(None, at_least=0, optional=True)
    chunk: int = ranged(4, at_least=1)

    @nn.compact
    def __call__(self, x: Array, shape: tuple[int, ...], train: bool = False) -> Array:
        dims, outputs = shape
        order = ordering(dims, self.order_seed)
        x = x[:, order]  # [batch, dims, inputs]
        inputs = x.shape[2]
        w = self.param('W', GLOROT, (dims * inputs, self.hidden)).reshape(dims, inputs, self.hidden)
        c = self.param('c', nn.initializers.zeros, (self.hidden,))
        v = self.param('V', GLOROT, (dims * outputs, self.hidden)).reshape(dims, outputs, self.hidden)
        b = self.param('b', nn.initializers.zeros, (dims, outputs))
        start = jnp.broadcast_to(c, (x.shape[0], self.hidden)).astype(x.dtype)
        y = running(start, x, w, v, NADE_ACTIVATIONS[self.activation], min(self.chunk, dims))
        return (y + b)[:, np.argsort(order)]


def running(start: Array, x: Array, w: Array, v: Array, activation: Callable[[Array], Array], chunk: int) -> Array:
    """V_d g(start + sum_{e < d} W_e x_e) for every d, [batch, dims, outputs].

    start [batch, hidden], x [batch, dims, inputs], w [dims, inputs, hidden], v [dims, outputs, hidden]. Within a chunk the
    sums are one product of the chunk's inputs, masked for each d, with its weights.
    """
    batch, dims, inputs = x.shape
    chunks = math.ceil(dims / chunk)

    def cut(a: Array) -> Array:  # [dims, ...] -> [chunks, chunk, ...], filled up with zeros
        filled = jnp.pad(a, [(0, chunks * chunk - dims)] + [(0, 0)] * (a.ndim - 1))
        return filled.reshape(chunks, chunk, *a.shape[1:])

    earlier = np.tril(np.ones((chunk, chunk), np.float32), -1)  # [d, e]: 1 where e < d

    def step(a: Array, part: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        x_c, w_c, v_c = part  # [chunk, batch, inputs], [chunk, inputs, hidden], [chunk, outputs, hidden]
        flat_w = w_c.reshape(chunk * inputs, -1)
        seen = earlier[:, None, :, None].astype(x_c.dtype) * x_c.swapaxes(0, 1)[None]  # [d, batch, e, inputs]
        # a product with ones, not a broadcast: the gradient is a product then, where XLA's sum is ten times slower on CPU
        repeated = jnp.ones((chunk, 1), a.dtype) @ a.reshape(1, -1)
        before = repeated.reshape(chunk, batch, -1) + (seen.reshape(chunk * batch, -1) @ flat_w).reshape(
            chunk, batch, -1
        )
        y = jnp.einsum('dbh,doh->dbo', activation(before), v_c)  # eq. 1 and 2
        return a + x_c.swapaxes(0, 1).reshape(batch, -1) @ flat_w, y

    _, y = jax.lax.scan(jax.checkpoint(step), start, (cut(x.swapaxes(0, 1)), cut(w), cut(v)))
    return y.reshape(chunks * chunk, batch, -1)[:dims].swapaxes(0, 1)
