"""The baseline that every model has to beat: each variable alone, fitted in closed form. No network anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from research.maths.likelihoods import Bernoulli, Likelihood, Statistics, misfit
from research.types import Array, Domain, Key, Kind, Metrics, Objective, Params, ranged


@dataclass(frozen=True, kw_only=True)
class Independent:
    """p(x) = prod_d p(x_d). With Bernoulli variables, P(x_d = 1) = (ones + smoothing) / (n + 2 smoothing)."""

    likelihood: Likelihood = Bernoulli()
    smoothing: float = ranged(1.0, above=0)

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    def fits(self, domain: Domain) -> str | None:
        return misfit(self.likelihood, domain)

    def init(self, key: Key, x: Array) -> Params:
        centre = x.mean(axis=0)  # of the first examples: only where moments are taken about
        return {'outputs': jnp.zeros(self.likelihood.shape(x.shape[1:])), 'constants': {'centre': centre}}

    def statistics(self, params: Params, x: Array) -> tuple[Statistics, Metrics]:
        return self.likelihood.statistics(x, params['constants']['centre']), {}

    def solve(self, params: Params, statistics: Statistics) -> Params:
        centre = params['constants']['centre']
        return {**params, 'outputs': self.likelihood.solve(statistics, self.smoothing, centre)}

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        loss = -self.log_prob(params, x, key).mean()
        return Objective(loss, {'loss': loss})

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats."""
        return self.likelihood.log_prob(params['outputs'][None], x)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        outputs = params['outputs']
        return self.likelihood.sample(jnp.broadcast_to(outputs, (n, *outputs.shape)), key)
