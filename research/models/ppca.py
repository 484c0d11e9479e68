"""Probabilistic PCA in closed form. Tipping & Bishop 1999, J. R. Stat. Soc. B 61(3). No network anywhere.

With S the covariance of the data, its eigenvalues l_1 >= l_2 ... and eigenvectors U, the most probable parameters are

    s^2 = sum_{j > q} l_j / (D - q),   W = U_q (diag(l_1 .. l_q) - s^2 I)^(1/2)                                  (eqs. 7, 8)

One pass: the statistics are the count, the sum and the outer product about a point near the data. The density is that of
one factor analyser with isotropic noise, and `models.factor_analysers` computes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from research.maths.gaussian import product
from research.models.factor_analysers import FactorAnalysers
from research.models.mixture import flat
from research.types import Array, Domain, Key, Kind, Metrics, Objective, Params, ranged


@dataclass(frozen=True, kw_only=True)
class PPCA:
    """`factors` beyond dims - 1 are not used. `variance_floor` is the least s^2: that of data without noise would be 0."""

    factors: int = ranged(10, at_least=1)
    variance_floor: float = ranged(1e-4, above=0)

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    @property
    def normal(self) -> FactorAnalysers:
        """What scores and draws."""
        return FactorAnalysers(factors=self.factors, variance_floor=self.variance_floor)

    def fits(self, domain: Domain) -> str | None:
        return None if domain.kind in ('real', 'unit') else f'PPCA is a density on real or unit data, not {domain.kind}'

    def init(self, key: Key, x: Array) -> Params:
        """A normal with the mean of the first examples and variance 1."""
        x = flat(x)
        mean = x.mean(axis=0)
        return {
            'logits': jnp.zeros(1),
            'means': mean[None],
            'loadings': jnp.zeros((1, x.shape[1], self.factors)),
            'log_noise': jnp.zeros((1, 1)),
            'constants': {'centre': mean},  # that moments are taken about
        }

    def statistics(self, params: Params, x: Array) -> tuple[dict[str, Array], Metrics]:
        x = flat(x) - params['constants']['centre']
        return {'count': jnp.float32(x.shape[0]), 'sum': x.sum(axis=0), 'outer': product(x.T, x)}, {}

    def solve(self, params: Params, statistics: dict[str, Array]) -> Params:
        """The maximum of the likelihood: loadings along the first eigenvectors, noise the mean of the other eigenvalues."""
        mean = statistics['sum'] / statistics['count']
        values, vectors = jnp.linalg.eigh(statistics['outer'] / statistics['count'] - jnp.outer(mean, mean))
        dims = values.size
        used = min(self.factors, dims - 1)
        values, vectors = jnp.maximum(values[::-1], 0), vectors[:, ::-1]
        noise = jnp.maximum(values[used:].mean(), self.variance_floor)  # eq. 8
        loadings = vectors[:, :used] * jnp.sqrt(jnp.maximum(values[:used] - noise, 0))  # eq. 7
        return {
            **params,
            'means': (params['constants']['centre'] + mean)[None],
            'loadings': jnp.pad(loadings, ((0, 0), (0, self.factors - used)))[None],
            'log_noise': jnp.log(noise).reshape(1, 1),
        }

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        return self.normal.loss(params, x, key)

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats."""
        return self.normal.log_prob(params, x, key)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        return self.normal.sample(params, key, n, shape)

    def log_marginal(self, params: Params, x: Array, observed: Array) -> Array:
        """[batch] nats of what is observed."""
        return self.normal.log_marginal(params, x, observed)

    def conditional(self, params: Params, x: Array, observed: Array, key: Key) -> Array:
        """x with the rest drawn from its exact conditional, [batch, *shape]."""
        return self.normal.conditional(params, x, observed, key)
