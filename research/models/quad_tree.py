"""Quad-tree circuit on images (QT-CP). Loconte et al. 2024, arXiv:2409.07953. No network anywhere.

The image is cut in four, and again, down to its pixels; each region has K units, which are distributions of what it holds. A
unit of a pixel is a table over its values. A unit of a larger region is a product of one unit of each quarter, where each
quarter first mixes its own (a CP layer), and the image is a mixture of its K units:

    p_rk(x_r) = prod_{quarters q of r} sum_j W_qjk p_qj(x_q),    p(x) = sum_k w_k p_k(x)                      (1)

Counted from the pixels up, an odd side leaves a block of two or one at the edge. Quarters that are single pixels are not
mixed: a mixture of tables over one variable is a table, so no distribution is lost, and three quarters of the sums are saved.
In the published circuits the last layer of sums has one output, so that the four quarters of the image are independent of
each other: `top='product'` is that, and has no w.

The expected count of an entry or a weight is itself times d log p(x) / d itself (2), so that a backward pass is the E step.
The M step is (count + smoothing / n) / (total + smoothing) for the n inputs of a sum, and so many pseudo-counts for each value
of a table: one that was never seen keeps some probability, and what no example reaches becomes uniform.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from research.maths import circuits
from research.types import Array, Domain, Key, Kind, Metrics, Objective, Params, ranged

Pick = Callable[[Array, Key], Array]  # from logits [..., n] to one of n [...]


@dataclass(frozen=True, kw_only=True)
class QuadTree:
    """`states` units of each region; `smoothing` pseudo-counts for each sum, shared among its inputs, and `leaf_smoothing` for
    each value of a table. The start is the data's frequencies and uniform sums, but for a random `perturbation`: with none, all
    units would stay alike. Examples are [height, width, channels], [height, width], or [width] as a single row; `values` is 0
    for binary ones."""

    states: int = ranged(16, at_least=1)
    smoothing: float = ranged(0.1, above=0)
    leaf_smoothing: float = ranged(0.1, above=0)
    perturbation: float = ranged(0.95, above=0, below=1)
    values: int = ranged(None, at_least=0, from_domain='values')
    top: Literal['sum', 'product'] = 'sum'

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    def fits(self, domain: Domain) -> str | None:
        if domain.kind not in ('binary', 'integer') or len(domain.shape) > 3:
            return f'QuadTree scores images of binary or integer values, not {domain.kind} of shape {domain.shape}'
        if domain.values != self.values:
            return f'QuadTree has values={self.values}, and the data have {domain.values}'
        if self.top == 'product' and len(circuits.grids(*sides(domain.shape)[:2])) < 2:
            return f'top=product needs an image larger than 2x2, and this is {domain.shape}'
        return None

    def init(self, key: Key, x: Array) -> Params:
        """Tables from how often each value is in `x`, add-1."""
        height, width, channels = sides(x.shape[1:])
        n, values, k = height * width * channels, self.values or 2, self.states
        seen = jnp.ones((n, values)).at[jnp.arange(n)[:, None], codes(x)].add(1.0)
        frequency = jnp.log(seen / seen.sum(axis=1, keepdims=True)).reshape(height, width, channels, values, 1)
        key_l, key_s = jax.random.split(key)
        levels = circuits.grids(height, width)
        levels = levels if self.top == 'sum' else levels[:-1]
        sums = {}
        for i, (rows, columns) in enumerate(levels):
            shape = (rows, columns, k, k if i + 1 < len(levels) else 1)
            sums[f'{rows}x{columns}'] = self.near_one(jax.random.fold_in(key_s, i), shape)
        return {'leaves': frequency + self.near_one(key_l, (height, width, channels, values, k)), 'sums': sums}

    def near_one(self, key: Key, shape: tuple[int, ...]) -> Array:
        """Logarithms of numbers between 1 - perturbation and 1."""
        flat = jax.random.uniform(key, (math.prod(shape),))
        return jnp.log(1 - self.perturbation * flat).reshape(shape)

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats, eq. 1."""
        tables = normalised(params)
        return upward(tables, evidence(tables, x, None), circuits.mix)[0]

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        loss = -self.log_prob(params, x, key).mean()
        return Objective(loss, {'loss': loss})

    def statistics(self, params: Params, x: Array) -> tuple[Params, Metrics]:
        """Expected counts, eq. 2."""

        def score(tables: Params) -> Array:
            return upward(tables, evidence(tables, x, None), circuits.mix)[0]

        tables = normalised(params)
        log_p, backward = jax.vjp(score, tables)
        slope = backward(jnp.ones_like(log_p))[0]  # of the leaves by their logarithms, which are the counts
        counts = {'leaves': slope['leaves'], 'sums': jax.tree.map(jnp.multiply, tables['sums'], slope['sums'])}
        return counts, {'loss': -log_p.mean()}

    def solve(self, params: Params, statistics: Params) -> Params:
        """M step. What rounding leaves below 0 counts as 0."""

        leaves = jnp.log(jnp.maximum(statistics['leaves'], 0) + self.leaf_smoothing)
        sums = {
            name: jnp.log(jnp.maximum(counts, 0) + self.smoothing / counts.shape[-2])
            for name, counts in statistics['sums'].items()
        }
        return {'leaves': leaves, 'sums': sums}

    def log_marginal(self, params: Params, x: Array, observed: Array) -> Array:
        """[batch] nats of the pixels that are observed, the others summed out."""
        tables = normalised(params)
        return upward(tables, evidence(tables, x, observed), circuits.mix)[0]

    def conditional(self, params: Params, x: Array, observed: Array, key: Key) -> Array:
        """x with the rest drawn from p(rest | observed), [batch, *shape]: units from the whole down, then values."""
        key_u, key_x = jax.random.split(key)
        tables = normalised(params)
        _, inputs = upward(tables, evidence(tables, x, observed), circuits.mix)
        drawn = show(tables, downward(tables, inputs, drawing, key_u), key_x)
        return jnp.where(observed, x, drawn.reshape(x.shape).astype(x.dtype))

    def most_probable(self, params: Params, x: Array, observed: Array) -> Array:
        """x with the rest as the most probable units and values together have it, [batch, *shape]."""
        tables = normalised(params)
        _, inputs = upward(tables, evidence(tables, x, observed, likely=True), circuits.best)
        chosen = downward(tables, inputs, lambda logits, key: logits.argmax(axis=-1), jax.random.key(0))
        likely = tables['leaves'].argmax(axis=3)  # [height, width, channels, K]
        found = jnp.take_along_axis(likely, chosen[:, :, None], axis=3).transpose(3, 0, 1, 2)
        return jnp.where(observed, x, found.reshape(x.shape).astype(x.dtype))

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        nothing = [jnp.zeros((*grid, n, 1)) for grid in circuits.grids(*sides(shape)[:2])]  # all that comes up is log 1
        key_u, key_x = jax.random.split(key)
        tables = normalised(params)
        drawn = show(tables, downward(tables, nothing, drawing, key_u), key_x)
        return drawn.reshape(n, *shape).astype(jnp.int32 if self.values else jnp.float32)


def drawing(logits: Array, key: Key) -> Array:
    """One of n [...] from logits [..., n]. Numbers are drawn flat here: in the shape they have, XLA compiles for 20 s on CPU."""
    return (logits + jax.random.gumbel(key, (logits.size,)).reshape(logits.shape)).argmax(axis=-1)


def sides(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels of one example."""
    height, width, channels = {1: (1, *shape, 1), 2: (*shape, 1), 3: shape}[len(shape)]
    return height, width, channels


def codes(x: Array) -> Array:
    """[batch, *shape] -> int32 [variables, batch]."""
    return x.reshape(x.shape[0], -1).T.astype(jnp.int32)


def normalised(params: Params) -> Params:
    """log p_dk(v) [height, width, channels, values, K] of the leaves, and the weights of eq. 1 [height, width, J, K]."""
    sums = {name: jax.nn.softmax(logits, axis=-2) for name, logits in params['sums'].items()}
    return {'leaves': jax.nn.log_softmax(params['leaves'], axis=-2), 'sums': sums}


def evidence(tables: Params, x: Array, observed: Array | None, likely: bool = False) -> Array:
    """Log-values of the pixels' units, [height, width, batch, K]; 0 where nothing is observed, or if `likely` what the most
    probable value has."""
    leaves = tables['leaves']
    height, width, channels, values, k = leaves.shape
    flat = leaves.reshape(-1, values, k)
    if observed is None:
        u = circuits.look_up(flat, codes(x))
    else:
        seen = jnp.asarray(observed).reshape(-1, 1)
        other = flat.max(axis=1, keepdims=True) if likely else 0.0
        u = jnp.where(seen[..., None], circuits.look_up(flat, jnp.where(seen, codes(x), 0)), other)
    return u.reshape(height, width, channels, -1, k).sum(axis=2)


def upward(tables: Params, u: Array, mix: Callable[[Array, Array], Array]) -> tuple[Array, list[Array]]:
    """log p(x) [batch] from the log-values of the pixels' units, and what goes into each level's sums."""
    inputs = []
    for rows, columns in circuits.grids(*u.shape[:2]):
        u = circuits.multiply(u)
        inputs.append(u)
        if f'{rows}x{columns}' in tables['sums']:
            u = mix(tables['sums'][f'{rows}x{columns}'], u)
    return u[0, 0, :, 0], inputs


def downward(tables: Params, inputs: list[Array], pick: Pick, key: Key) -> Array:
    """The units of the pixels [height, width, batch] from the whole down, with what came up as `inputs` of each level."""
    height, width = tables['leaves'].shape[:2]
    chosen = jnp.zeros((1, 1, inputs[0].shape[2]), jnp.int32)
    for i, u in enumerate(reversed(inputs)):
        rows, columns = u.shape[:2]
        chosen = circuits.spread(chosen, rows, columns)
        if f'{rows}x{columns}' in tables['sums']:
            logits = circuits.below(tables['sums'][f'{rows}x{columns}'], u, chosen)
            chosen = pick(logits, jax.random.fold_in(key, i))
    return circuits.spread(chosen, height, width)


def show(tables: Params, chosen: Array, key: Key) -> Array:
    """Values [batch, height, width, channels] that the units [height, width, batch] draw: so many as have less below them than
    a uniform number. For 256 values that is 20 times as quick as `jax.random.categorical`, which draws as many numbers."""
    below = jnp.cumsum(jnp.exp(tables['leaves']), axis=3)[:, :, :, :-1].swapaxes(3, 4)  # [.., channels, K, values - 1]

    def row(i: Array) -> Array:  # of the image: all at once would be [height, width, channels, batch, values]
        limits = jnp.take_along_axis(below[i], chosen[i][:, None, :, None], axis=2)
        u = jax.random.uniform(jax.random.fold_in(key, i), (math.prod(limits.shape[:3]),))
        return (limits <= u.reshape(*limits.shape[:3], 1)).sum(axis=-1)  # [width, channels, batch]

    return jax.lax.map(row, jnp.arange(chosen.shape[0])).transpose(3, 0, 1, 2)
