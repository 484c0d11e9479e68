"""Hidden Markov models by Baum-Welch. Baum, Petrie, Soules & Weiss 1970; Rabiner 1989, Proc. IEEE 77. No network anywhere.

p(x) = sum over paths z of pi(z_1) p(x_1 | z_1) prod_t a(z_t | z_{t-1}) p(x_t | z_t), summed in time K^2 a step by the recursions
of `maths.chains`. What a state shows is a field: bits, symbols, normals, or mixtures of them (`maths.emissions`); the chain is
the same for a piano roll and for a text. The M step is closed: expected counts of first states, of transitions and of what
each state showed, plus pseudo-counts. EMTrainer fits it by `statistics` and `solve`, GradientTrainer by `loss`.

An example is [time, ...]. Shorter sequences are filled up with -1 (bits, symbols) or NaN (reals), before or behind: there
is no step where a whole row holds nothing, and a row that holds something lacks only what it lacks. A sequence without any
step has log-probability 0. One state is the independent model; a state that was never visited shows what all the data show and
goes anywhere with the same probability.

A window of text carries the `context` before it, which is given: the filter starts from pi at the beginning of the context, and
log p(window | context) is the sum of the gains (chains, eq. 2) after it: exact for the model, whose sequences begin there.
EM climbs the likelihood of the whole window, context included, which is what a closed M step exists for; `loss` says that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths import chains
from research.maths.chains import Chain
from research.maths.emissions import BernoulliEmission, Emission
from research.types import Array, Domain, Key, Kind, Metrics, Objective, Params, ranged


def rows(x: Array) -> Array:
    """[batch, time, ...] -> [batch * time, dims]."""
    return x.reshape(x.shape[0] * x.shape[1], -1)


@dataclass(frozen=True, kw_only=True)
class HMM:
    """`smoothing` further counts of each transition and of each first state.

    `parallel_from`: sequences of at least so many steps go by prefix products (`chains.forward_parallel`) instead of a scan,
    except on CPU, where the scan always wins.
    """

    states: int = ranged(16, at_least=1)
    emission: Emission = BernoulliEmission()
    smoothing: float = ranged(0.1, above=0)
    context: int = ranged(None, at_least=0, from_domain='context')
    parallel_from: int = ranged(1024, at_least=1)

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    def fits(self, domain: Domain) -> str | None:
        if domain.kind not in self.emission.kinds:
            kinds = ' or '.join(self.emission.kinds)
            return f'{type(self.emission).__name__} shows {kinds} data, not {domain.kind}'
        if domain.unit == 'time step' and len(domain.shape) == 1:
            return 'HMM takes sequences, and one example here is one time step: set data.pieces=true'
        if 'tokens' in self.emission.kinds and len(domain.shape) > 1:
            return f'{type(self.emission).__name__} shows one symbol a step, not {domain.shape[1:]}'
        return None

    def init(self, key: Key, x: Array) -> Params:
        """First states alike, transitions a little apart (states that are alike would stay so), emissions from the data."""
        key_a, key_e = jax.random.split(key)
        seen = self.emission.seen(rows(x))
        return {
            'initial': jnp.zeros(self.states),
            'transition': 0.1 * jax.random.normal(key_a, (self.states, self.states)),
            'emission': self.emission.init(key_e, rows(x), seen, self.states),
        }

    def chain(self, params: Params) -> Chain:
        return Chain(jax.nn.log_softmax(params['initial']), jax.nn.log_softmax(params['transition']))

    def shown(self, params: Params, x: Array, seen: Array) -> Array:
        """log p(x_t | z_t) over what is `seen` [batch, time, dims] of `x` [batch, time, ...]: [time, batch, states]."""
        log_e = self.emission.log_prob(params['emission'], rows(x), seen.reshape(-1, seen.shape[-1]))
        return log_e.reshape(*x.shape[:2], -1).swapaxes(0, 1)

    def seen(self, x: Array) -> Array:
        """What is there of `x`, bool [batch, time, dims]."""
        return self.emission.seen(rows(x)).reshape(*x.shape[:2], -1)

    def forward(self, chain: Chain, log_e: Array, exists: Array) -> tuple[Array, Array]:
        if len(log_e) < self.parallel_from:
            return chains.forward(chain, log_e, exists)
        found: tuple[Array, Array] = jax.lax.platform_dependent(
            chain, log_e, exists, cpu=chains.forward, default=chains.forward_parallel
        )
        return found

    def backward(self, chain: Chain, log_e: Array, exists: Array) -> tuple[Array, Array]:
        if len(log_e) < self.parallel_from:
            return chains.backward(chain, log_e, exists)
        found: tuple[Array, Array] = jax.lax.platform_dependent(
            chain, log_e, exists, cpu=chains.backward, default=chains.backward_parallel
        )
        return found

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats of each sequence, given its context where it has one."""
        seen = self.seen(x)
        _, gains = self.forward(self.chain(params), self.shown(params, x, seen), seen.any(axis=2).T)
        return gains[self.context :].sum(axis=0)

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        loss = -self.log_prob(params, x, key).mean()
        return Objective(loss, {'loss': loss})

    def statistics(self, params: Params, x: Array) -> tuple[Params, Metrics]:
        """E step: expected first states, transitions, and what each state showed; 'loss' in mean nats a sequence."""
        seen, chain = self.seen(x), self.chain(params)
        log_e, exists = self.shown(params, x, seen), seen.any(axis=2).T
        alpha, gains = self.forward(chain, log_e, exists)
        posterior, moves = chains.expected(chain, alpha, self.backward(chain, log_e, exists), exists)
        first = jnp.where(chains.firsts(exists)[..., None], posterior, 0).sum(axis=(0, 1))
        weights = posterior.swapaxes(0, 1).reshape(-1, self.states)
        shown = self.emission.statistics(params['emission'], rows(x), seen.reshape(len(weights), -1), weights)
        return {'first': first, 'moves': moves, 'emission': shown}, {'loss': -gains.sum(axis=0).mean()}

    def solve(self, params: Params, statistics: Params) -> Params:
        return {
            'initial': jnp.log(statistics['first'] + self.smoothing),
            'transition': jnp.log(statistics['moves'] + self.smoothing),
            'emission': self.emission.solve(params['emission'], statistics['emission']),
        }

    def posterior(self, params: Params, x: Array) -> Array:
        """p(z_t | x), [batch, time, states]; zeros where there is no step."""
        seen, chain = self.seen(x), self.chain(params)
        log_e, exists = self.shown(params, x, seen), seen.any(axis=2).T
        alpha, _ = self.forward(chain, log_e, exists)
        return chains.expected(chain, alpha, self.backward(chain, log_e, exists), exists)[0].swapaxes(0, 1)

    def most_probable(self, params: Params, x: Array) -> tuple[Array, Array]:
        """Viterbi: the most probable path [batch, time], -1 where there is no step, and log p(x, path) [batch] nats."""
        seen = self.seen(x)
        path, best = chains.most_probable(self.chain(params), self.shown(params, x, seen), seen.any(axis=2).T)
        return path.T, best

    def part(self, x: Array, observed: Array) -> tuple[Array, Array]:
        """What is seen of `x` where only `observed` [time, ...] is, and the steps that exist, [time, batch].

        A step of which nothing is observed exists, whatever `x` holds there; behind the end that changes nothing.
        """
        asked = observed.reshape(x.shape[1], -1)  # [time, dims]
        seen = self.seen(x) & asked
        return seen, (seen.any(axis=2) | ~asked.any(axis=1)).T

    def log_marginal(self, params: Params, x: Array, observed: Array) -> Array:
        """[batch] nats of what is observed, given the observed part of the context."""
        seen, exists = self.part(x, observed)
        _, gains = self.forward(self.chain(params), self.shown(params, x, seen), exists)
        return gains[self.context :].sum(axis=0)

    def conditional(self, params: Params, x: Array, observed: Array, key: Key) -> Array:
        """`x` with the rest drawn given what is observed: a path backwards from the filter, then what each state shows."""
        key_z, key_x = jax.random.split(key)
        seen, exists = self.part(x, observed)
        chain = self.chain(params)
        alpha, _ = self.forward(chain, self.shown(params, x, seen), exists)
        path = jnp.maximum(chains.draw(chain, alpha, exists, key_z), 0).T.reshape(-1)
        drawn = self.emission.fill(params['emission'], rows(x), seen.reshape(len(path), -1), path, key_x)
        return jnp.where(observed | ~exists.T.reshape(*x.shape[:2], *(1,) * (x.ndim - 2)), x, drawn.reshape(x.shape))

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape], `shape` = (time, ...): sequences of full length, from the beginning on."""
        key_z, key_x = jax.random.split(key)
        path = chains.walk(self.chain(params), key_z, n, shape[0]).reshape(-1)
        whole = isinstance(self.emission.kinds, tuple) and 'tokens' in self.emission.kinds
        nothing = rows(jnp.zeros((n, *shape), jnp.int32 if whole else jnp.float32))
        drawn = self.emission.fill(params['emission'], nothing, jnp.zeros(nothing.shape, bool), path, key_x)
        return drawn.reshape(n, *shape)
