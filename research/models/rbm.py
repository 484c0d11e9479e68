"""The restricted Boltzmann machine: binary x and h in one undirected net. Smolensky 1986; Hinton 2002.

    p(x, h) = exp(b.x + c.h + x.W h) / Z         (eq. 1)
    p(x) = exp(-F(x)) / Z,  F(x) = -b.x - sum_k log(1 + exp(c_k + (x W)_k))        (eq. 2, the free energy)

Given one side the variables of the other are independent, so Gibbs sampling goes side by side. The gradient of log p(x) is
-dF(x) + E[dF(x')] under the model (eq. 3). Persistent contrastive divergence (Tieleman 2008) estimates the expectation by
chains that go on from step to step while the parameters move slowly. They are state that is carried, not trained, and not
averaged with the parameters: so they lie among the 'constants'. The loss is F(data) - F(chains), whose gradient is eq. 3;
its value is no likelihood. A batch goes through in one part (`undivided`): parts would each move the chains on.

log Z is exact where the smaller side has at most `EXACT` units, by a sum over its states; beyond, it is estimated by annealed
importance sampling (Neal 2001; Salakhutdinov & Murray 2008) from the model of the data's base rates, whose Z is known, along
energies that mix base and model. E[Z estimate] = Z, so by Jensen's inequality log Z comes out too low rather than too high,
and log p(x) too high: such a score is an estimate, not a bound, and says so. Every batch that is scored runs its own AIS.
Few steps flatter: 500 hidden units on MNIST had log Z = 474.4 by 1000 steps, 477.9 by 10000 and 478.7 by 60000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp

from research.models.mixture import flat, product
from research.types import Array, Domain, Key, Kind, Objective, Params, ranged

EXACT = 20  # units of the smaller side up to which log Z is a sum: 2^20 states take seconds
BLOCK = 12  # 2^12 of them at a time


class Weights(NamedTuple):
    b: Array  # [visible]
    c: Array  # [hidden]
    w: Array  # [visible, hidden]


def free_energy(theta: Weights, x: Array) -> Array:
    """F(x) of eq. 2, [batch] nats, from x [batch, visible]."""
    return -product(x, theta.b) - jax.nn.softplus(theta.c + product(x, theta.w)).sum(axis=1)


def log_partition(theta: Weights) -> Array:
    """log Z by a sum over all states of the smaller side, the other summed in closed form (eq. 2). A scalar, in nats."""
    visible, hidden = theta.w.shape
    smaller = theta if visible <= hidden else Weights(theta.c, theta.b, theta.w.T)
    units = min(visible, hidden)
    low = min(units, BLOCK)
    states = jnp.arange(2**low)[:, None] >> jnp.arange(low) & 1  # of the first `low` units

    def block(total: Array, high: Array) -> tuple[Array, None]:
        rest = jnp.broadcast_to(high >> jnp.arange(units - low) & 1, (2**low, units - low))
        x = jnp.concatenate([states, rest], axis=1).astype(jnp.float32)
        return jnp.logaddexp(total, jax.nn.logsumexp(-free_energy(smaller, x))), None

    return jax.lax.scan(block, jnp.float32(-jnp.inf), jnp.arange(2 ** (units - low)))[0]


def bits(key: Key, logits: Array) -> Array:
    return jax.random.bernoulli(key, jax.nn.sigmoid(logits)).astype(jnp.float32)


def gibbs(theta: Weights, x: Array, key: Key, steps: int) -> Array:
    """`steps` times h given x, then x given h: [chains, visible] -> [chains, visible]."""

    def step(i: Array, x: Array) -> Array:
        key_h, key_x = jax.random.split(jax.random.fold_in(key, i))
        h = bits(key_h, theta.c + product(x, theta.w))
        return bits(key_x, theta.b + product(h, theta.w.T))

    return jax.lax.fori_loop(0, steps, step, x)


def annealed_log_partition(theta: Weights, base: Array, key: Key, runs: int, steps: int) -> Array:
    """log of the mean over `runs` of AIS weights, a scalar in nats; E[exp of it] = Z (Salakhutdinov & Murray 2008).

    At temperature t the model has biases (1 - t) base + t b and t c and weights t W; t rises evenly from 0, where x are
    independent bits with logits `base` [visible] and Z = 2^hidden prod_d (1 + exp(base_d)), to 1. A weight is the product
    over t of p*_{t + 1/steps}(x_t) / p*_t(x_t); x_t comes from x_{t - 1/steps} by one step of Gibbs sampling at t.
    """

    def at(t: Array) -> Weights:
        return Weights((1 - t) * base + t * theta.b, t * theta.c, t * theta.w)

    def step(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        x, log_w = state
        now, then = at(i / steps), at((i + 1) / steps)
        log_w = log_w + free_energy(now, x) - free_energy(then, x)
        return gibbs(then, x, jax.random.fold_in(key, i + 1), 1), log_w

    start = bits(jax.random.fold_in(key, 0), jnp.broadcast_to(base, (runs, base.size)))
    _, log_w = jax.lax.fori_loop(0, steps, step, (start, jnp.zeros(runs)))
    known = theta.c.size * jnp.log(2.0) + jax.nn.softplus(base).sum()
    return known + jax.nn.logsumexp(log_w) - jnp.log(runs)


@dataclass(frozen=True, kw_only=True)
class RBM:
    """`chains` persistent chains, moved on by `steps` of Gibbs sampling in each step of training."""

    hidden: int = ranged(500, at_least=1)
    visible: int = ranged(None, at_least=1, from_domain='dims')
    chains: int = ranged(100, at_least=1)
    steps: int = ranged(1, at_least=1)
    scale: float = ranged(0.01, above=0)  # standard deviation of the weights at the start
    sample_steps: int = ranged(1000, at_least=1)  # of Gibbs sampling, from the chains, for each sample
    ais_runs: int = ranged(20, at_least=1)  # of each batch that is scored
    ais_steps: int = ranged(10_000, at_least=1)

    undivided: ClassVar[Literal[True]] = True
    network: ClassVar[bool] = True  # of stochastic units; trained by sampling, not by backpropagation

    @property
    def exact(self) -> bool:
        """Whether log Z is a sum over states; before the data are known, as the hidden side alone says."""
        return min(self.hidden, self.hidden if self.visible is None else self.visible) <= EXACT

    @property
    def log_prob_kind(self) -> Kind:
        return 'exact' if self.exact else 'estimate'

    def fits(self, domain: Domain) -> str | None:
        return None if domain.kind == 'binary' else f'RBM is a model of binary data, not {domain.kind}'

    def init(self, key: Key, x: Array) -> Params:
        """Small weights; visible biases, and chains drawn, at the smoothed base rates (Hinton 2012, section 8)."""
        key_w, key_x = jax.random.split(key)
        ones = flat(x).sum(axis=0) + 1
        base = jnp.log(ones) - jnp.log(x.shape[0] + 2 - ones)  # [visible]: a constant bit keeps a finite logit
        return {
            'b': base,
            'c': jnp.zeros(self.hidden),
            'W': self.scale * jax.random.normal(key_w, (base.size, self.hidden)),
            'constants': {'base': base, 'chains': bits(key_x, jnp.broadcast_to(base, (self.chains, base.size)))},
        }

    def weights(self, params: Params) -> Weights:
        return Weights(params['b'], params['c'], params['W'])

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        """F(data) - F(chains), whose gradient is eq. 3; 'flip' is log p of a random bit of each example given its others."""
        key_chains, key_flip = jax.random.split(key)
        theta, x, constants = self.weights(params), flat(x), params['constants']
        chains = jax.lax.stop_gradient(gibbs(theta, constants['chains'], key_chains, self.steps))
        energy = free_energy(theta, x)
        loss = energy.mean() - free_energy(theta, chains).mean()
        which = jax.random.randint(key_flip, (x.shape[0],), 0, x.shape[1])
        flipped = jnp.abs(x - jax.nn.one_hot(which, x.shape[1]))
        flip = jax.nn.log_sigmoid(free_energy(theta, flipped) - energy).mean()
        return Objective(loss, {'loss': loss, 'flip': flip}, {'constants': {**constants, 'chains': chains}})

    def log_partition(self, params: Params, key: Key) -> Array:
        """log Z in nats: exact, or estimated by AIS."""
        theta = self.weights(params)
        if min(theta.w.shape) <= EXACT:
            return log_partition(theta)
        return annealed_log_partition(theta, params['constants']['base'], key, self.ais_runs, self.ais_steps)

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """-F(x) - log Z, [batch] nats; of the kind that `log_prob_kind` says."""
        return -free_energy(self.weights(params), flat(x)) - self.log_partition(params, key)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape], each from a random one of the chains by `sample_steps` of Gibbs sampling: near p(x), not from it."""
        key_start, key_x = jax.random.split(key)
        chains = params['constants']['chains']
        start = chains[jax.random.randint(key_start, (n,), 0, chains.shape[0])]
        return gibbs(self.weights(params), start, key_x, self.sample_steps).reshape(n, *shape)
