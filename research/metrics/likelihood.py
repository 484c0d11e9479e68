"""log p(x) of a model with latent variables, from below and from above, and what its bound is made of. Nats per example.

All estimators ask a model for the same few things (`metrics.latents.Latent`): p(x, z) in its two terms, and a q(z | x).

    ELBO         E_q[log p(x | z)] - E_q[log q(z | x) - log p(z)] = - distortion - rate                              (1)
    importance   log (1/k) sum_i p(x, z_i) / q(z_i | x)      Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519      (2)
    annealing    log (1/C) sum_c w_c along a path of T steps   Neal 2001; Wu et al. 2017, arXiv:1611.04273             (3)
    sandwich     (3), and its reverse from the z of which x was made   Grosse et al. 2015, arXiv:1511.02543            (4)

(1), (2) and (3) are lower bounds in expectation that rise with k, C and T; the upper bound of (4) falls. How far (1) and (2) stay
below depends on q: (2) needs exp(KL(p(z | x) || q)) draws or so (Chatterjee & Diaconis 2018), which a q that is too narrow never
gives, and then it says nothing of what it missed. (3) need not start from q. (4) is for data that the model made itself: its gap
bounds the bias of (3) there, and says how many steps real data need as far as they are like the model's.

An estimator is a frozen dataclass with `measure(params, batch, key)`, a dict of [batch] arrays; `engine.measure` compiles it
and takes it through a set. `over_examples` makes a mean with its standard error of what comes back: of the examples and of the
draws, not of the training seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from research.maths import annealing, bounds
from research.maths.annealing import Annealing
from research.maths.statistics import t_interval
from research.metrics.latents import Latent
from research.models.vae import repeat
from research.types import Array, BadInput, Key, Params, ranged

Values = dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Eq. 1 from so many draws of each example's q: 'elbo', 'distortion' and 'rate'."""

    model: Latent
    draws: int = ranged(10, at_least=1)

    def measure(self, params: Params, x: Array, key: Key) -> Values:
        z, log_q = self.model.propose(params, self.model.code(params, x), key, self.draws)
        rate = (log_q - self.model.log_prior(params, z)).mean(axis=0)
        distortion = -self.model.log_likelihood(params, x, z).mean(axis=0)
        return {'elbo': -distortion - rate, 'distortion': distortion, 'rate': rate}


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Eq. 2, 'lower'. So many draws of each example are in memory as `chunk` says, however large k = `samples` is."""

    model: Latent
    samples: int = ranged(5000, at_least=1)
    chunk: int = ranged(50, at_least=1)

    def measure(self, params: Params, x: Array, key: Key) -> Values:
        code, chunk = self.model.code(params, x), min(self.chunk, self.samples)

        def log_weights(key: Key) -> Array:
            z, log_q = self.model.propose(params, code, key, chunk)
            return self.model.log_likelihood(params, x, z) + self.model.log_prior(params, z) - log_q

        return {'lower': bounds.importance_bound(log_weights, self.samples, chunk, key)}


@dataclass(frozen=True, kw_only=True)
class Annealed:
    """Eq. 3, 'lower', and the share of trajectories that were 'accepted'; z has to be real, with a density everywhere.

    base  'prior', the safe one; or 'proposal', q(z | x), from which the path is short where q is good, and a lower bound all the same
    """

    model: Latent
    how: Annealing = Annealing()
    chains: int = ranged(16, at_least=1)
    pilots: int = ranged(2, at_least=1)  # chains that only find the step sizes
    base: Literal['prior', 'proposal'] = 'prior'

    def measure(self, params: Params, x: Array, key: Key) -> Values:
        key_sizes, key_start, key_path = (jax.random.fold_in(key, i) for i in range(3))
        path = self.path(params, x)
        sizes = self.sizes(params, x, path, key_sizes)
        found = annealing.forward(*path, self.start(params, x, self.chains, key_start), sizes, self.how, key_path)
        return {'lower': annealing.lower_bound(found.log_weights), 'accepted': found.accepted}

    def path(self, params: Params, x: Array) -> tuple[annealing.Density, annealing.Density]:
        """The logarithm of the base, and of what leads from it to p(x, z)."""
        model = self.model
        if not model.everywhere:
            raise BadInput('annealing moves through all of space, and these latents have no density everywhere there')

        def log_prior(z: Array) -> Array:
            return model.log_prior(params, z)

        def log_likelihood(z: Array) -> Array:
            return model.log_likelihood(params, x, z)

        if self.base == 'prior':
            return log_prior, log_likelihood
        code = model.code(params, x)

        def log_proposal(z: Array) -> Array:
            return model.log_proposal(params, code, z)

        return log_proposal, lambda z: log_prior(z) + log_likelihood(z) - log_proposal(z)

    def start(self, params: Params, x: Array, chains: int, key: Key) -> Array:
        """[chains, batch, latent] from the base."""
        if self.base == 'proposal':
            return self.model.propose(params, self.model.code(params, x), key, chains)[0]
        z = self.model.draw_prior(params, key, chains * x.shape[0])
        return z.reshape(chains, x.shape[0], *z.shape[1:])

    def sizes(self, params: Params, x: Array, path: tuple[annealing.Density, annealing.Density], key: Key) -> Array:
        key_start, key_path = (jax.random.fold_in(key, i) for i in range(2))
        return annealing.step_sizes(*path, self.start(params, x, self.pilots, key_start), self.how, key_path)


@dataclass(frozen=True, kw_only=True)
class Sandwich:
    """Eq. 4 on data of `simulate`: 'lower' and 'upper' by the same path and step sizes, and the share 'accepted' of each."""

    forward: Annealed

    def measure(self, params: Params, simulated: Values, key: Key) -> Values:
        """Both ends [batch] nats, up from q or the prior and down from the z that made x."""
        key_sizes, key_start, key_up, key_down = (jax.random.fold_in(key, i) for i in range(4))
        one, x = self.forward, simulated['x']
        path = one.path(params, x)
        sizes = one.sizes(params, x, path, key_sizes)
        up = annealing.forward(*path, one.start(params, x, one.chains, key_start), sizes, one.how, key_up)
        z = repeat(simulated['z'], one.chains).reshape(one.chains, *simulated['z'].shape)
        down = annealing.reverse(*path, z, sizes, one.how, key_down)
        return {
            'lower': annealing.lower_bound(up.log_weights),
            'upper': annealing.upper_bound(down.log_weights),
            'accepted': up.accepted,
            'accepted_back': down.accepted,
        }


def simulate(model: Latent, params: Params, key: Key, n: int, event: tuple[int, ...]) -> Values:
    """n examples 'x' [n, *event] of the model's own, each with the 'z' it was made of: a draw from p(z | x)."""
    key_z, key_x = jax.random.split(key)
    z = model.draw_prior(params, key_z, n)
    return {'x': model.draw_data(params, z, key_x, event), 'z': z}


class Estimate(NamedTuple):
    """A mean over `n` examples, its standard error and Student's 95 % interval (None of one example)."""

    mean: float
    error: float | None
    low: float | None
    high: float | None
    n: int


def over_examples(values: Any) -> Estimate:
    """Of values [n]; for a bias give the difference from the exact values, example by example."""
    each = np.asarray(values, np.float64)
    mean, low, high, n = t_interval(each)
    if low is None or high is None:
        return Estimate(mean, None, None, None, n)
    return Estimate(mean, float(each.std(ddof=1) / np.sqrt(n)), float(low), float(high), n)
