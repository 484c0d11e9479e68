"""Keys that go on as they are: each variable of a sequence is a Markov chain of its own, fitted by counting. No network anywhere.

p(x) = prod_k p(x_1k) prod_t p(x_tk | x_{t-1,k}), with P(x_tk = 1 | b) = (count(b, 1) + s) / (count(b, 0) + count(b, 1) + 2 s),
where b is what stood there before: 0, 1, or nothing at the beginning. What a piano roll gives away without any harmony:
a key that sounds goes on sounding. Without `memory` the three are one, and each variable of each step stands alone.

An example is [time, ...], filled up with -1 before or behind; an entry of -1 is no step of its chain. A chain of two states
is summed out in time, so a part of x is no harder than the whole (`maths.chains`, eqs. 1 and 2, one chain for each key).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths import chains
from research.maths.chains import Chain
from research.types import Array, Domain, Key, Kind, Metrics, Objective, Params, ranged

NOTHING = 2  # what stood before the first step


def steps(x: Array) -> Array:
    """[batch, time, ...] -> [batch, time, keys] int32."""
    return x.reshape(*x.shape[:2], -1).astype(jnp.int32)


def last(x: Array) -> Array:
    """The last value of each chain that is not -1, up to and with each step; -1 before the first. Time is axis 1."""

    def step(before: Array, now: Array) -> tuple[Array, Array]:
        now = jnp.where(now >= 0, now, before)
        return now, now

    return jax.lax.scan(step, jnp.full_like(x[:, 0], -1), x.swapaxes(0, 1))[1].swapaxes(0, 1)


def delayed(x: Array) -> Array:
    """One step earlier; -1 at the first."""
    return jnp.concatenate([jnp.full_like(x[:, :1], -1), x[:, :-1]], axis=1)


def misfit(name: str, domain: Domain) -> str | None:
    """Why a model of binary sequences cannot take such data, or None."""
    if domain.kind != 'binary':
        return f'{name} scores binary sequences, not {domain.kind} data'
    if domain.unit == 'time step' and len(domain.shape) == 1:
        return f'{name} takes sequences, and one example here is one time step: set data.pieces=true'
    return None


@dataclass(frozen=True, kw_only=True)
class Persistence:
    """`smoothing` pseudo-counts for each value after each."""

    smoothing: float = ranged(0.5, above=0)
    memory: bool = True
    context: int = ranged(None, at_least=0, from_domain='context')

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    def fits(self, domain: Domain) -> str | None:
        return misfit('Persistence', domain)

    def init(self, key: Key, x: Array) -> Params:
        return {'outputs': jnp.zeros((3, math.prod(x.shape[2:])))}

    def before(self, x: Array) -> Array:
        """What stood before each entry of x [batch, time, keys]: 0, 1 or NOTHING."""
        found = delayed(last(x))
        return jnp.where(found >= 0, found, NOTHING)

    def outputs(self, params: Params, before: Array) -> Array:
        """Logits of a one after `before` [..., keys]."""
        silent, sounding, start = params['outputs']
        return jnp.where(before == 0, silent, jnp.where(before == 1, sounding, start))

    def nats(self, params: Params, x: Array) -> Array:
        """log p(x_tk | before), 0 where nothing is: [batch, time, keys]."""
        o = self.outputs(params, self.before(x))
        return jnp.where(x >= 0, x * o - jax.nn.softplus(o), 0.0)

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats of each sequence, given its context where it has one."""
        return self.nats(params, steps(x))[:, self.context :].sum(axis=(1, 2))

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        loss = -self.log_prob(params, x, key).mean()
        return Objective(loss, {'loss': loss})

    def statistics(self, params: Params, x: Array) -> tuple[Params, Metrics]:
        """count(b, v) of each key, [before, value, keys]; the context counts too. 'loss' in mean nats a sequence."""
        x = steps(x)
        before = self.before(x)
        counts = [[((before == b) & (x == v)).sum(axis=(0, 1)) for v in (0, 1)] for b in (0, 1, NOTHING)]
        return {'counts': jnp.array(counts, jnp.float32)}, {'loss': -self.nats(params, x).sum(axis=(1, 2)).mean()}

    def solve(self, params: Params, statistics: Params) -> Params:
        counts = statistics['counts']
        if not self.memory:
            counts = jnp.broadcast_to(counts.sum(axis=0), counts.shape)
        counts = counts + self.smoothing
        return {'outputs': jnp.log(counts[:, 1]) - jnp.log(counts[:, 0])}

    def draw(self, params: Params, before: Array, key: Key) -> Array:
        """The next values [n, keys] int32 after `before` [n, keys]."""
        return jax.random.bernoulli(key, jax.nn.sigmoid(self.outputs(params, before))).astype(jnp.int32)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape], `shape` = (time, ...): sequences of full length, from the beginning on."""

        def step(before: Array, i: Array) -> tuple[Array, Array]:
            now = self.draw(params, before, jax.random.fold_in(key, i))
            return now, now

        start = jnp.full((n, math.prod(shape[1:])), NOTHING)
        drawn = jax.lax.scan(step, start, jnp.arange(shape[0]))[1]
        return drawn.swapaxes(0, 1).reshape(n, *shape).astype(jnp.float32)

    def part(self, params: Params, x: Array, observed: Array) -> tuple[Chain, Array, Array]:
        """Of each key the chain, log p(x_tk | state) [keys, time, batch, 2] and the steps that exist [keys, time, batch].

        An entry that is not observed exists, whatever `x` holds there; behind the end that changes nothing.
        """
        seen, x = observed.reshape(x.shape[1], 1, -1), steps(x).swapaxes(0, 1)  # [time, batch, keys]
        off = -jax.nn.softplus(params['outputs'])  # log P(0 | before)
        tables = jnp.stack([off, params['outputs'] + off], axis=-1).swapaxes(0, 1)  # [keys, before, value]
        log_e = jnp.where(seen[..., None] & (x[..., None] == 1 - jnp.arange(2)), -jnp.inf, 0.0)
        chain = Chain(tables[:, NOTHING], tables[:, :NOTHING])
        return chain, jnp.moveaxis(log_e, 2, 0), jnp.moveaxis((x >= 0) | ~seen, 2, 0)

    def log_marginal(self, params: Params, x: Array, observed: Array) -> Array:
        """[batch] nats of what is observed, given the observed part of the context."""
        _, gains = jax.vmap(chains.forward)(*self.part(params, x, jnp.asarray(observed)))
        return gains[:, self.context :].sum(axis=(0, 1))

    def conditional(self, params: Params, x: Array, observed: Array, key: Key) -> Array:
        """`x` with the rest drawn given what is observed, [batch, time, ...]."""
        chain, log_e, exists = self.part(params, x, jnp.asarray(observed))
        alpha, _ = jax.vmap(chains.forward)(chain, log_e, exists)
        keys = jax.random.split(key, len(exists))
        path = jax.vmap(chains.draw)(chain, alpha, exists, keys)  # [keys, time, batch]
        return jnp.where(observed, x, jnp.moveaxis(path, 0, 2).swapaxes(0, 1).reshape(x.shape).astype(x.dtype))
