"""Each variable alone, as a histogram on [0, 1]: what independence costs where no shape is assumed. No network anywhere.

p(x) = prod_d bins (count_d(bin of x_d) + smoothing) / (n + bins smoothing): add-k (Lidstone 1920) in equal bins, one pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.models.mixture import flat, mask
from research.types import Array, Domain, Key, Kind, Metrics, Params, ranged


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Outside [0, 1] the density is 0. An empty bin keeps `smoothing` pseudo-counts."""

    bins: int = ranged(16, at_least=1)
    smoothing: float = ranged(1.0, above=0)

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    def fits(self, domain: Domain) -> str | None:
        return None if domain.kind == 'unit' else f'Histogram is a density on [0, 1], and this is {domain.kind} data'

    def init(self, key: Key, x: Array) -> Params:
        return {'log_p': jnp.full((x[0].size, self.bins), -jnp.log(self.bins))}

    def places(self, x: Array) -> Array:
        """The bin of each value, [batch, dims]; 1 belongs to the last."""
        return jnp.clip(jnp.floor(x * self.bins), 0, self.bins - 1).astype(jnp.int32)

    def statistics(self, params: Params, x: Array) -> tuple[Params, Metrics]:
        x = flat(x)
        counts = jnp.zeros((x.shape[1], self.bins)).at[jnp.arange(x.shape[1]), self.places(x)].add(1.0)
        return {'counts': counts}, {'loss': -self.score(params, x, jnp.ones(x.shape[1])).mean()}

    def solve(self, params: Params, statistics: Params) -> Params:
        return {'log_p': jax.nn.log_softmax(jnp.log(statistics['counts'] + self.smoothing))}

    def score(self, params: Params, x: Array, seen: Array) -> Array:
        x = jnp.where(seen > 0, x, 0.0)
        log_p = params['log_p'][jnp.arange(x.shape[1]), self.places(x)] + jnp.log(self.bins)  # [batch, dims]
        inside = (x >= 0) & (x <= 1)
        return jnp.where(inside, log_p * seen, -jnp.inf).sum(axis=1)

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats."""
        x = flat(x)
        return self.score(params, x, jnp.ones(x.shape[1]))

    def log_marginal(self, params: Params, x: Array, observed: Array) -> Array:
        """[batch] nats of what is observed."""
        return self.score(params, flat(x), mask(observed))

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        key_bin, key_x = jax.random.split(key)
        dims = params['log_p'].shape[0]
        place = jax.random.categorical(key_bin, params['log_p'], shape=(n, dims))
        return ((place + jax.random.uniform(key_x, place.shape)) / self.bins).reshape(n, *shape)

    def conditional(self, params: Params, x: Array, observed: Array, key: Key) -> Array:
        """x with the rest drawn anew: the variables are independent, [batch, *shape]."""
        return jnp.where(observed, x, self.sample(params, key, x.shape[0], x.shape[1:]))
