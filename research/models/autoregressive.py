"""Autoregressive models of a fixed set of variables: p(x) = prod_d p(x_d | x_<d), exact and fitted by gradient.

The net gives the parameters of all conditionals in one pass, output d from the inputs before d alone
(`research/nets/masked.py`), so log p(x) is a sum and costs what one pass costs. Which model it is, the net says: the fully
visible sigmoid belief network (Neal 1992; Frey 1998), `NADE` (Larochelle & Murray 2011), `MADE` (Germain et al. 2015,
arXiv:1502.03509). The conditionals are any likelihood: Bernoulli for bits, categorical for integers, normal for reals.

To draw, variable d needs those before it: dims passes one after the other. Here all variables are drawn in each pass, from
the same noise, until nothing changes (Wiggers & Hoogeboom 2020, arXiv:2002.09928; Song et al. 2021, arXiv:2002.03629). After t
passes the first t variables are what the sequential draw would have given, so at most dims passes are needed, and a pass
that changes nothing proves that all are right: the same samples, mostly in far fewer passes, whatever the order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths.likelihoods import Bernoulli, Likelihood, misfit
from research.nets.masked import MADE
from research.nets.mlp import train_apply
from research.types import Array, Domain, Key, Kind, Net, Objective, Params, ranged


@dataclass(frozen=True, kw_only=True)
class Autoregressive:
    """`smoothing` pseudo-counts keep the marginals that the outputs start at off 0 and 1."""

    net: Net = MADE(hidden=(500,))  # [batch, dims, inputs] -> [batch, dims, outputs], d from those before d
    likelihood: Likelihood = Bernoulli()  # of each variable given those before it
    start_at_marginals: bool = True  # the outputs start at the data's own marginals
    smoothing: float = ranged(1.0, above=0)

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = True

    def fits(self, domain: Domain) -> str | None:
        if isinstance(self.likelihood, Bernoulli) and domain.kind == 'unit':
            return 'Bernoulli conditionals are of bits, not of grey levels: set data.values=binarise or threshold'
        return misfit(self.likelihood, domain)

    def init(self, key: Key, x: Array) -> Params:
        """Variables of the net, and the constant that is added to its output."""
        event = x.shape[1:]
        offset = jnp.zeros(self.likelihood.shape(event))
        if self.start_at_marginals:
            centre = x.mean(axis=0)
            offset = self.likelihood.solve(self.likelihood.statistics(x, centre), self.smoothing, centre)
        return {'net': self.net.init(key, self.seen(x[:2]), self.shape(event)), 'constants': {'offset': offset}}

    def seen(self, x: Array) -> Array:
        """What the net sees of x [batch, *event]: [batch, dims, inputs]."""
        return self.likelihood.embed(x).astype(jnp.float32).reshape(x.shape[0], math.prod(x.shape[1:]), -1)

    def shape(self, event: tuple[int, ...]) -> tuple[int, int]:
        """(dims, outputs): of the net's output for one example."""
        dims = math.prod(event)
        return dims, math.prod(self.likelihood.shape(event)) // dims

    def outputs(self, params: Params, raw: Array, event: tuple[int, ...]) -> Array:
        """Parameters of all p(x_d | x_<d), [batch, *likelihood.shape(event)], from the net's answer."""
        return raw.reshape(raw.shape[0], *self.likelihood.shape(event)) + params['constants']['offset']

    def conditionals(self, params: Params, x: Array) -> Array:
        event = x.shape[1:]
        return self.outputs(params, self.net.apply(params['net'], self.seen(x), self.shape(event)), event)

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        """Mean of minus log p(x), in nats."""
        event = x.shape[1:]
        raw, mutable = train_apply(self.net, params['net'], self.seen(x), self.shape(event), key)
        loss = -self.likelihood.log_prob(self.outputs(params, raw, event), x).mean()
        return Objective(loss, {'loss': loss}, {'net': mutable})

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """sum_d log p(x_d | x_<d), [batch] nats."""
        return self.likelihood.log_prob(self.conditionals(params, x), x)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape] draws: all variables at once, from the same noise in each pass, until nothing changes."""

        def again(state: tuple[Array, Array, Array]) -> Array:
            _, passes, changed = state
            return changed & (passes < math.prod(shape))

        def one(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            x, passes, _ = state
            new = self.likelihood.sample(self.conditionals(params, x), key)  # one key: one noise for all passes
            return new, passes + 1, (new != x).any()

        offset = params['constants']['offset']
        guess = self.likelihood.sample(jnp.broadcast_to(offset, (n, *offset.shape)), key)
        return jax.lax.while_loop(again, one, (guess, jnp.int32(0), jnp.bool_(True)))[0]
