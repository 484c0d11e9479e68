"""Annealed importance sampling with Hamiltonian transitions: log p(x) from below, and from above where z is known.

Neal 2001, Statistics and Computing 11; with Hamiltonian Monte Carlo for decoders: Wu, Burda, Salakhutdinov & Grosse 2017,
arXiv:1611.04273. A path of densities leads from a base p(z) that can be drawn from to the posterior,

    f_t(z) = p(z) p(x | z)^{b_t},   0 = b_0 < b_1 < ... < b_T = 1,                                                  (1)

and a transition K_t leaves f_t, normalised, as it is. Forward, z_0 is drawn from p and z_t from K_t(z_{t-1}); in reverse, z_T is
drawn from p(z | x) and z_{t-1} from K_t(z_t), which is its own reversal. Either way

    log w = sum_t (b_t - b_{t-1}) log p(x | z_{t-1});   E[w] = p(x) forward,   E[1 / w] = 1 / p(x) in reverse.        (2)

So by Jensen's inequality the logarithm of a mean of w is a lower bound on log p(x) in expectation, and minus the logarithm of
a mean of 1 / w an upper one (Grosse, Ghahramani & Adams 2015, arXiv:1511.02543: bidirectional Monte Carlo). A draw from p(z | x)
is there for simulated data alone, whose z is known: one, from which all reverse chains start. Each keeps (2), hence so does
their mean.

K_t is Hamiltonian Monte Carlo (Neal 2011, arXiv:1206.1901): L leapfrog steps of size e, then accepted with probability
min(1, exp(-change of energy)). A size that a chain adapts by its own past makes K_t depend on z, and (2) no longer holds. Here
`step_sizes` sends pilot chains along the path, of each example its own, and adapts

    log e <- log e + RATE (accepted - target)                                                                       (3)

(Robbins & Monro 1951; target 0.65, Beskos et al. 2013, arXiv:1001.4460). The chains that count take e as given by the pilots,
smoothed over the path: whatever e is then, (2) is exact. A factor drawn from [0.8, 1.2] for each trajectory keeps it
from coming back to where it began (Neal 2011, section 3.2).

The base need not be the prior: with log q(z | x) for log p(z), and log p(x, z) - log q(z | x) for log p(x | z), (1) leads
from an encoder's q to the posterior, and (2) stands. Nothing of the path is kept, so that memory does not grow with T.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.maths.bounds import log_mean_exp
from research.types import Array, Key, ranged

Density = Callable[[Array], Array]  # log-density of z [chains, batch, latent]: [chains, batch] nats
RATE = 0.15
SEGMENTS = 30  # of the path, each with one step size, between which it is interpolated
SMOOTHED = 10  # pilot transitions in each


@dataclass(frozen=True, kw_only=True)
class Linear:
    """b_t = t / T."""

    def at(self, part: Array) -> Array:
        """b [...] at these parts of the path, in [0, 1]."""
        return part


@dataclass(frozen=True, kw_only=True)
class Sigmoidal:
    """b_t = (s(d (2 t / T - 1)) - s(-d)) / (s(d) - s(-d)), s the logistic function: small steps at both ends (Wu et al. 2017)."""

    slope: float = ranged(4.0, above=0)  # d

    def at(self, part: Array) -> Array:
        """b [...] at these parts of the path, in [0, 1]."""
        return 0.5 + 0.5 * jnp.tanh(self.slope * (part - 0.5)) / jnp.tanh(self.slope / 2)


@dataclass(frozen=True, kw_only=True)
class Annealing:
    """A path and its transitions. `temperatures` is T: one transition at each."""

    temperatures: int = ranged(1000, at_least=1)
    leapfrog: int = ranged(10, at_least=1)  # L
    schedule: Linear | Sigmoidal = Sigmoidal()
    target: float = ranged(0.65, above=0, below=1)  # share of trajectories that are accepted
    size: float = ranged(0.3, above=0)  # of the pilots' first leapfrog step


class Point(NamedTuple):
    """z [chains, batch, latent], with its two log-densities [chains, batch] and their gradients."""

    z: Array
    log_prior: Array
    log_likelihood: Array
    prior_slope: Array
    likelihood_slope: Array

    def log_f(self, b: Array) -> Array:
        """Eq. 1, [chains, batch]."""
        return self.log_prior + b * self.log_likelihood

    def slope(self, b: Array) -> Array:
        return self.prior_slope + b * self.likelihood_slope


class Annealed(NamedTuple):
    """log w [chains, batch] of eq. 2, where the chains ended, and the share that each example accepted, [batch]."""

    log_weights: Array
    z: Array
    accepted: Array


def look(log_prior: Density, log_likelihood: Density, z: Array) -> Point:
    """Both densities and their gradients at z: what all temperatures need, computed once."""

    def both(log_density: Density) -> tuple[Array, Array]:
        def total(z: Array) -> tuple[Array, Array]:
            each = log_density(z)
            return each.sum(), each

        slope, each = jax.grad(total, has_aux=True)(z)
        return each, slope

    (prior, prior_slope), (likelihood, likelihood_slope) = both(log_prior), both(log_likelihood)
    return Point(z, prior, likelihood, prior_slope, likelihood_slope)


def transition(
    log_prior: Density, log_likelihood: Density, point: Point, b: Array, size: Array, leapfrog: int, key: Key
) -> tuple[Point, Array]:
    """One trajectory of Hamiltonian Monte Carlo at f with exponent b, of steps `size` [batch]; and its acceptance [chains, batch]."""
    key_momentum, key_size, key_accept = (jax.random.fold_in(key, i) for i in range(3))
    momentum = jax.random.normal(key_momentum, point.z.shape)
    e = (size * jax.random.uniform(key_size, point.log_prior.shape, minval=0.8, maxval=1.2))[..., None]

    def energy(point: Point, momentum: Array) -> Array:
        return 0.5 * (momentum**2).sum(axis=-1) - point.log_f(b)

    def leap(_: Array, state: tuple[Point, Array]) -> tuple[Point, Array]:
        point, momentum = state
        half = momentum + e / 2 * point.slope(b)
        point = look(log_prior, log_likelihood, point.z + e * half)
        return point, half + e / 2 * point.slope(b)

    ahead, ended = jax.lax.fori_loop(0, leapfrog, leap, (point, momentum))
    change = energy(ahead, ended) - energy(point, momentum)
    accepted = jnp.where(jnp.isnan(change), 0.0, jnp.exp(-jnp.maximum(change, 0.0)))  # one that ran away is refused
    moved = jax.random.uniform(key_accept, accepted.shape) < accepted

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(moved.reshape(moved.shape + (1,) * (new.ndim - moved.ndim)), new, old)

    return jax.tree.map(choose, ahead, point), accepted


def step_sizes(log_prior: Density, log_likelihood: Density, pilots: Array, how: Annealing, key: Key) -> Array:
    """log e at the middle of each segment of the path, [SEGMENTS, batch], by eq. 3 from pilots [chains, batch, latent] ~ p.

    Chains that count take none of these pilots.
    """
    steps = SEGMENTS * SMOOTHED

    def step(state: tuple[Point, Array], i: Array) -> tuple[tuple[Point, Array], Array]:
        point, size = state
        b = how.schedule.at((i + 1) / steps)
        point, accepted = transition(
            log_prior, log_likelihood, point, b, jnp.exp(size), how.leapfrog, jax.random.fold_in(key, i)
        )
        size = size + RATE * (accepted.mean(axis=0) - how.target)
        return (point, size), size

    first = jnp.full(pilots.shape[1], how.size)
    start = (look(log_prior, log_likelihood, pilots), jnp.log(first))
    sizes = jax.lax.scan(step, start, jnp.arange(steps))[1]
    return sizes.reshape(SEGMENTS, SMOOTHED, -1).mean(axis=1)


def size_at(log_sizes: Array, part: Array) -> Array:
    """e [batch] at this part of the path, between the middles of two segments."""
    place = jnp.clip(part * SEGMENTS - 0.5, 0, SEGMENTS - 1)
    low = jnp.minimum(place.astype(jnp.int32), SEGMENTS - 2)
    share = place - low
    return jnp.exp((1 - share) * log_sizes[low] + share * log_sizes[low + 1])


def forward(
    log_prior: Density, log_likelihood: Density, z: Array, log_sizes: Array, how: Annealing, key: Key
) -> Annealed:
    """Eq. 2 from z [chains, batch, latent] drawn from p; log_sizes [SEGMENTS, batch] from `step_sizes`."""
    return _along(log_prior, log_likelihood, z, log_sizes, how, key, back=False)


def reverse(
    log_prior: Density, log_likelihood: Density, z: Array, log_sizes: Array, how: Annealing, key: Key
) -> Annealed:
    """Eq. 2 from z [chains, batch, latent], of which each example's first is from its posterior and all others are the same."""
    return _along(log_prior, log_likelihood, z, log_sizes, how, key, back=True)


def _along(
    log_prior: Density, log_likelihood: Density, z: Array, log_sizes: Array, how: Annealing, key: Key, back: bool
) -> Annealed:
    steps = how.temperatures

    def step(done: Array, state: tuple[Point, Array, Array]) -> tuple[Point, Array, Array]:
        point, log_w, total = state
        i = steps - 1 - done if back else done
        before, part = how.schedule.at(i / steps), (i + 1) / steps
        b = how.schedule.at(part)
        log_w = log_w if back else log_w + (b - before) * point.log_likelihood
        point, accepted = transition(
            log_prior, log_likelihood, point, b, size_at(log_sizes, part), how.leapfrog, jax.random.fold_in(key, i)
        )
        log_w = log_w + (b - before) * point.log_likelihood if back else log_w
        return point, log_w, total + accepted.mean(axis=0)

    start = (look(log_prior, log_likelihood, z), jnp.zeros(z.shape[:2]), jnp.zeros(z.shape[1]))
    point, log_w, total = jax.lax.fori_loop(0, steps, step, start)  # a scan; or a while loop, where T is traced
    return Annealed(log_w, point.z, total / steps)


def lower_bound(log_weights: Array) -> Array:
    """log of the mean over chains of w, [batch] nats: at most log p(x) in expectation, of forward weights [chains, batch]."""
    return log_mean_exp(log_weights)


def upper_bound(log_weights: Array) -> Array:
    """Minus the log of the mean over chains of 1 / w, [batch] nats: at least log p(x) in expectation, of reverse weights."""
    return -log_mean_exp(-log_weights)
