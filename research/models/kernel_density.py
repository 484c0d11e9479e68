"""A normal around every training example. Rosenblatt 1956; Parzen 1962; the bandwidth after Duin 1976. No network anywhere.

p(x) = 1/n sum_i N(x | x_i, h^2 I). Of the given bandwidths h the one is taken that scores the training set best with each
example left out of its own sum (Duin's pseudo-likelihood): sum_i log 1/(n - 1) sum_{j != i} N(x_i | x_j, h^2 I).

Exact, in blocks of `block` examples against all: no array exceeds block x n. One pass over all the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths.gaussian import product
from research.maths.likelihoods import LOG_2PI
from research.models.mixture import flat, mask
from research.types import Array, Domain, Key, Kind, Metrics, Params, ranged


@dataclass(frozen=True, kw_only=True)
class KernelDensity:
    """One bandwidth is a given one. Where nothing is left to compare by (a single example), the first is taken."""

    bandwidths: tuple[float, ...] = ranged((0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4), above=0)
    block: int = ranged(500, at_least=1)

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    def fits(self, domain: Domain) -> str | None:
        kinds = ('real', 'unit')
        return None if domain.kind in kinds else f'KernelDensity is a density on real or unit data, not {domain.kind}'

    def init(self, key: Key, x: Array) -> Params:
        """Room for all examples, at their mean."""
        x = flat(x)
        return {'examples': jnp.broadcast_to(x.mean(axis=0), x.shape), 'bandwidth': jnp.float32(self.bandwidths[0])}

    def statistics(self, params: Params, x: Array) -> tuple[Params, Metrics]:
        return {'examples': flat(x)}, {}

    def solve(self, params: Params, statistics: Params) -> Params:
        """The examples, and the bandwidth under which each is most probable given all the others."""
        examples = statistics['examples']
        choices = jnp.array(self.bandwidths)
        origin = examples.mean(axis=0)
        x = examples - origin

        def left_out(one: tuple[Array, Array]) -> Array:
            i, row = one
            others = jnp.where(jnp.arange(x.shape[0]) == i, jnp.inf, squares(row, x))
            scaled = -0.5 * others / choices[:, None] ** 2
            return jax.nn.logsumexp(scaled, axis=1) - x.shape[1] * jnp.log(choices)

        scores = jax.lax.map(left_out, (jnp.arange(x.shape[0]), x), batch_size=self.size_of(x)).sum(axis=0)
        return {'examples': examples, 'bandwidth': choices[scores.argmax()]}

    def size(self, params: Params) -> int:
        """All examples and the bandwidth."""
        return int(params['examples'].size) + 1

    def size_of(self, x: Array) -> int:
        return min(self.block, x.shape[0])

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats."""
        x = flat(x)
        return self.score(params, x, jnp.ones(x.shape[1]))

    def log_marginal(self, params: Params, x: Array, observed: Array) -> Array:
        """[batch] nats of the observed part: the kernels' other dimensions integrate to 1."""
        return self.score(params, flat(x), mask(observed))

    def score(self, params: Params, x: Array, seen: Array) -> Array:
        x, examples = about(params, x, seen)
        h, n = params['bandwidth'], examples.shape[0]
        sums = jax.lax.map(
            lambda row: jax.nn.logsumexp(-0.5 * squares(row, examples) / h**2), x, batch_size=self.size_of(x)
        )
        return sums - jnp.log(n) - seen.sum() * (jnp.log(h) + 0.5 * LOG_2PI)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        key_i, key_x = jax.random.split(key)
        i = jax.random.randint(key_i, (n,), 0, params['examples'].shape[0])
        x = params['examples'][i]
        return (x + params['bandwidth'] * jax.random.normal(key_x, x.shape)).reshape(n, *shape)

    def conditional(self, params: Params, x: Array, observed: Array, key: Key) -> Array:
        """x with what is not observed from the kernel of an example, drawn by how near it is to what is, [batch, *shape]."""
        key_i, key_x = jax.random.split(key)
        rows, examples = about(params, flat(x), mask(observed))
        keys = jax.random.split(key_i, rows.shape[0])
        h = params['bandwidth']
        i = jax.lax.map(
            lambda one: jax.random.categorical(one[0], -0.5 * squares(one[1], examples) / h**2),
            (keys, rows),
            batch_size=self.size_of(rows),
        )
        drawn = params['examples'][i] + h * jax.random.normal(key_x, rows.shape)
        return jnp.where(observed, x, drawn.reshape(x.shape))


def squares(row: Array, examples: Array) -> Array:
    """Squared distances [n] of one example [dims]; over a block of rows this is one matrix product."""
    return jnp.maximum((row * row).sum() - 2 * product(examples, row) + (examples * examples).sum(axis=1), 0.0)


def about(params: Params, x: Array, seen: Array) -> tuple[Array, Array]:
    """x and the examples about the examples' mean, 0 where not observed: squares keep their digits in float32."""
    examples = params['examples']
    origin = examples.mean(axis=0)
    return jnp.where(seen > 0, x - origin, 0.0), (examples - origin) * seen
