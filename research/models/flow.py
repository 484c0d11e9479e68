"""Normalising flows as models of data: a standard normal, bent by a bijection whose volume is known, so log p(x) is exact.

    log p(x) = log N(u; 0, I) + log |det du/dx|,     u = f^-1((x - shift) / scale)                                   (1)

(Rezende & Mohamed 2015, arXiv:1505.05770, eq. 5; Dinh et al. 2017, arXiv:1605.08803, eq. 2.) Which flow it is, the bijection
says: MAF (Papamakarios et al. 2017, arXiv:1705.07057) scores in one pass for each layer, and RealNVP draws in one as well.
`shift` and `scale` are the mean and deviation of each variable in the data that `init` sees, and stay as they are: so each
layer starts from variables of order one, and the flow, which starts at the identity, as the diagonal normal of the data.

A density of grey levels is only worth something where they are dequantised (Uria et al. 2013, arXiv:1306.0186): on whole
numbers it grows without bound. Points without any noise are what the scale's floor and the bijection's limits are for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.latents.autoregressive import MAF
from research.latents.bijections import Bijection, Stack
from research.maths.bounds import gaussian_log_prob
from research.models.mixture import flat
from research.types import Array, Domain, Key, Kind, Objective, Params, ranged


@dataclass(frozen=True, kw_only=True)
class Flow:
    """`standardise=False` leaves shift 0 and scale 1: for a density over latents, of which `init` sees no sample."""

    bijection: Bijection = Stack(step=MAF(), layers=5)
    standardise: bool = True
    floor: float = ranged(1e-3, above=0)  # of the scale: a variable that is constant has no deviation

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = True

    def fits(self, domain: Domain) -> str | None:
        return None if domain.kind in ('real', 'unit') else f'Flow is a density on real or unit data, not {domain.kind}'

    def init(self, key: Key, x: Array) -> Params:
        """The bijection's start, and the constants of (1)."""
        x = flat(x)  # [batch, dims]
        shift, scale = jnp.zeros(x.shape[1]), jnp.ones(x.shape[1])
        if self.standardise:
            shift, scale = x.mean(axis=0), jnp.sqrt(x.var(axis=0) + self.floor**2)
        return {'bijection': self.bijection.init(key, x.shape[1]), 'constants': {'shift': shift, 'scale': scale}}

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """(1), [batch] nats."""
        shift, scale = params['constants']['shift'], params['constants']['scale']
        u, log_det = self.bijection.inverse(params['bijection'], (flat(x) - shift) / scale)
        return gaussian_log_prob(u) + log_det - jnp.log(scale).sum()

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        """Mean of minus log p(x), in nats."""
        loss = -self.log_prob(params, x, key).mean()
        return Objective(loss, {'loss': loss})

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape] draws."""
        u = jax.random.normal(key, (n, math.prod(shape)))
        z, _ = self.bijection.forward(params['bijection'], u)
        return (params['constants']['shift'] + params['constants']['scale'] * z).reshape(n, *shape)
