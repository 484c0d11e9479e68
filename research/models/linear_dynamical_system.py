"""Linear dynamical system: hidden Markov's continuous brother. Kalman 1960; Ghahramani & Hinton 1996, CRG-TR-96-2. No network.

    z_1 ~ N(m, V),   z_t = A z_{t-1} + N(0, I),   x_t = C z_t + d + N(0, R),   R diagonal                          (1)

A sequence is one normal of time x dims variables, so everything is exact, in time K^3 a step by the filter and the smoother of
`maths.kalman`. Of one step it is factor analysis; with A = 0 it is factor analysis of each step alone. The noise of the state
needs no matrix Q: a change of the state's basis makes it the identity, without any change of p(x).

EM (Shumway & Stoffer 1982; Ghahramani & Hinton 1996): with E[z_t | x], E[z_t z_t^T | x] and E[z_t+1 z_t^T | x] of the smoother,

    [C d]_i = sum x_ti E[z~_t]^T (sum E[z~_t z~_t^T])^-1,   R_ii = mean of E[(x_ti - [C d]_i z~_t)^2],   z~ = (z, 1)     (2)
    A = sum E[z_t+1 z_t^T] (sum E[z_t z_t^T])^-1,   Q = mean of E[(z_t+1 - A z_t)(z_t+1 - A z_t)^T]                   (3)
    m = mean of E[z_1],   V = mean of E[(z_1 - m)(z_1 - m)^T] + INITIAL I                                            (4)

with sums over the steps in which x_ti is there, and then z <- Q^-1/2 z. EMTrainer fits it so, GradientTrainer by `loss`.

An example is [time, ...]: rows of an image are a sequence too. What is NaN is not there and summed out. Shorter sequences are
filled up with NaN, before or behind: there is no step where a whole row holds nothing. A sequence without any step has
log-probability 0. A variable that is constant in training keeps the noise `variance_floor`; one that is never there keeps
what it had; sequences of one step leave A as it was; more states than variables are no error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths import chains, kalman
from research.maths.gaussian import LEAST, RANK, Dense, product
from research.maths.kalman import Smoothed, System
from research.types import Array, Domain, Key, Kind, Metrics, Objective, Params, ranged

INITIAL = 1e-3  # least variance of the first state, where a step's noise has 1: one sequence alone would leave none
START = 0.5  # A is near START I before anything is fitted


@dataclass(frozen=True, kw_only=True)
class LinearDynamicalSystem:
    """`states` dimensions of z; `variance_floor` is the least noise of a variable, and what it is from the start on if none is
    ever seen of it."""

    states: int = ranged(8, at_least=1)
    variance_floor: float = ranged(1e-3, above=0)

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    def fits(self, domain: Domain) -> str | None:
        if domain.kind not in ('real', 'unit'):
            return f'LinearDynamicalSystem is a density on real or unit data, not {domain.kind}'
        return None if domain.shape else 'LinearDynamicalSystem takes sequences [time, ...], not single numbers'

    def init(self, key: Key, x: Array) -> Params:
        """Loadings at random, half of each variable's variance from the state and half noise; moves near START I."""
        key_c, key_a = jax.random.split(key)
        k, there = self.states, ~jnp.isnan(rows(x))
        n, known = jnp.maximum(there.sum(axis=(0, 1)), 1), jnp.where(there, rows(x), 0.0)
        mean = known.sum(axis=(0, 1)) / n
        variance = jnp.where(there, known - mean, 0.0)
        variance = (variance * variance).sum(axis=(0, 1)) / n
        scale = jnp.sqrt(0.5 * (1 - START**2) * variance / k)[:, None]
        return {
            'initial': jnp.zeros(k),
            'initial_roots': jnp.eye(k) * (-0.5 * jnp.log(1 - START**2)),  # the variance that A z + noise settles at
            'move': START * jnp.eye(k) + 0.1 / jnp.sqrt(k) * jax.random.normal(key_a, (k, k)),
            'loadings': scale * jax.random.normal(key_c, (mean.size, k)),
            'offset': mean,
            'log_noise': jnp.log(0.5 * variance + LEAST),
        }

    def system(self, params: Params) -> System:
        root = Dense().factors({'roots': params['initial_roots'][None]}, INITIAL)[0]
        noise = jnp.exp(params['log_noise']) + self.variance_floor
        return System(params['initial'], root, params['move'], params['loadings'], noise)

    def part(self, params: Params, x: Array, observed: Array | None = None) -> tuple[Array, Array, Array]:
        """x about the offset, 0 where nothing is seen, and what is seen [time, batch, dims]; the steps that exist [time, batch].

        A step of which nothing is `observed` [time, ...] exists, whatever `x` holds there; behind the end that changes nothing.
        """
        x = rows(x)
        asked = jnp.ones(x.shape[1:], bool) if observed is None else jnp.reshape(observed, x.shape[1:])
        seen = ~jnp.isnan(x) & asked
        exists = (seen.any(axis=2) | ~asked.any(axis=1)).T
        about = jnp.where(seen, jnp.where(seen, x, 0.0) - params['offset'], 0.0)
        return about.swapaxes(0, 1), seen.swapaxes(0, 1).astype(jnp.float32), exists

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats of each sequence."""
        return self.score(params, *self.part(params, x))

    def log_marginal(self, params: Params, x: Array, observed: Array) -> Array:
        """[batch] nats of what is observed: any entries of any steps."""
        return self.score(params, *self.part(params, x, observed))

    def score(self, params: Params, x: Array, seen: Array, exists: Array) -> Array:
        system = self.system(params)
        return kalman.shared(lambda seen, exists: kalman.forward(system, x, seen, exists)[1].sum(axis=0), seen, exists)

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        loss = -self.log_prob(params, x, key).mean()
        return Objective(loss, {'loss': loss})

    def statistics(self, params: Params, x: Array) -> tuple[Params, Metrics]:
        """E step: the sums of eqs. 2 to 4, x about the offset and z_1 about m; 'loss' in mean nats a sequence."""
        system, (x, seen, exists) = self.system(params), self.part(params, x)

        def sums(masks: Array, here: Array) -> tuple[Params, Array]:
            filtered, gains = kalman.forward(system, x, masks, here)
            smoothed = kalman.backward(system, filtered, here)
            return expected(system.mean, x, seen, exists, smoothed), gains.sum(axis=0)

        found, log_p = kalman.shared(sums, seen, exists)
        return found, {'loss': -log_p.mean()}

    def solve(self, params: Params, statistics: Params) -> Params:
        """M step, and z in the basis in which Q is the identity."""
        moved, root = self.moves(params, statistics)  # eq. 3
        inverse = kalman.divided(root, jnp.eye(self.states))  # Q^-1/2
        n, started = jnp.maximum(statistics['firsts'], 1), statistics['firsts'] > 0
        first = product(inverse, statistics['first'])
        square = kalman.quadratic(inverse, statistics['first_square'])
        mean, spread = Dense().solve({'sum': first[None], 'scatter': square[None]}, n[None], INITIAL)  # eq. 4
        loadings, offset, log_noise = self.shows(params, statistics)
        return {
            'initial': product(inverse, params['initial']) + jnp.where(started, mean[0], 0),
            'initial_roots': jnp.where(started, spread['roots'][0], params['initial_roots']),
            'move': product(product(inverse, moved), root),
            'loadings': product(loadings, root),
            'offset': offset,
            'log_noise': log_noise,
        }

    def shows(self, params: Params, statistics: Params) -> tuple[Array, Array, Array]:
        """C, d and log(R - floor) of eq. 2."""
        count = statistics['second'][:, -1, -1]
        seen, n = count > 0, jnp.maximum(count, 1)
        second, cross = statistics['second'] / n[:, None, None], statistics['cross'] / n[:, None]
        both = regression(second, cross[:, None])  # [dims, 1, states + 1]
        explained = 2 * (both[:, 0] * cross).sum(axis=1) - kalman.quadratic(both, second)[:, 0, 0]
        noise = statistics['square'] / n - explained
        return (
            jnp.where(seen[:, None], both[:, 0, :-1], params['loadings']),
            params['offset'] + jnp.where(seen, both[:, 0, -1], 0),
            jnp.where(seen, jnp.log(jnp.maximum(noise - self.variance_floor, LEAST)), params['log_noise']),
        )

    def moves(self, params: Params, statistics: Params) -> tuple[Array, Array]:
        """A of eq. 3 and the root of Q; as they were where no step follows another."""
        n, eye = jnp.maximum(statistics['pairs'], 1), jnp.eye(self.states)
        before, after, ahead = statistics['before'] / n, statistics['after'] / n, statistics['ahead'] / n
        move = regression(before, ahead)
        q = after - product(move, ahead.T) - product(ahead, move.T) + kalman.quadratic(move, before)
        root = jnp.linalg.cholesky(q + (RANK * jnp.diagonal(after).max() + LEAST) * eye)
        some = statistics['pairs'] > 0
        return jnp.where(some, move, params['move']), jnp.where(some, root, eye)

    def posterior(self, params: Params, x: Array) -> tuple[Array, Array]:
        """Mean [batch, time, states] and covariance [batch, time, states, states] of each step's state given all of x."""
        system, (about, seen, exists) = self.system(params), self.part(params, x)
        filtered, _ = kalman.forward(system, about, seen, exists)
        smoothed = kalman.backward(system, filtered, exists)
        return smoothed.mean.swapaxes(0, 1), smoothed.covariance.swapaxes(0, 1)

    def conditional(self, params: Params, x: Array, observed: Array, key: Key) -> Array:
        """`x` with the rest drawn given what is observed, [batch, *shape]. Durbin & Koopman 2002, Biometrika 89(3).

        A draw y of everything, moved to y + E[. | x_o] - E[. | y_o], is a draw of the conditional; since means are linear, that
        is the smoother of x_o - y_o from zero.
        """
        system, (about, seen, exists) = self.system(params), self.part(params, x, observed)
        drawn = self.generate(system, exists, len(x), key)

        def move(masks: Array, here: Array) -> Array:
            centred = system._replace(mean=jnp.zeros(self.states))
            filtered, _ = kalman.forward(centred, jnp.where(seen > 0, about - drawn, 0), masks, here)
            return product(kalman.backward(centred, filtered, here).mean, system.loadings.T)

        filled = params['offset'] + drawn + kalman.shared(move, seen, exists)
        filled = filled.swapaxes(0, 1).reshape(x.shape).astype(x.dtype)
        kept = observed | ~exists.T.reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
        return jnp.where(kept, x, filled)

    def generate(self, system: System, exists: Array, n: int, key: Key) -> Array:
        """x about the offset from eq. 1, [time, n, dims]."""
        key_z, key_x = jax.random.split(key)
        z = kalman.walk(system, exists, n, key_z)
        noise = jax.random.normal(key_x, (*z.shape[:2], system.noise.size))
        return product(z, system.loadings.T) + jnp.sqrt(system.noise) * noise

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape], `shape` = (time, ...): sequences of full length."""
        x = self.generate(self.system(params), jnp.ones((shape[0], 1), bool), n, key)
        return (params['offset'] + x).swapaxes(0, 1).reshape(n, *shape)


def rows(x: Array) -> Array:
    """[batch, time, ...] -> [batch, time, dims] float32."""
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:])).astype(jnp.float32)


def regression(second: Array, cross: Array) -> Array:
    """cross second^-1 [..., m, k] for second moments [..., k, k], each variance a millionth larger: float32 knows no better."""
    own = jnp.diagonal(second, axis1=-2, axis2=-1) * RANK + LEAST
    root = jnp.linalg.cholesky(second + own[..., None] * jnp.eye(second.shape[-1]))
    return kalman.turned(jax.scipy.linalg.cho_solve((root, True), kalman.turned(cross)))


def expected(mean: Array, x: Array, seen: Array, exists: Array, smoothed: Smoothed) -> Params:
    """The sums of eqs. 2 to 4 over steps and examples; z_1 about `mean`, where it is known best."""
    here = exists.astype(jnp.float32)
    later = (jnp.cumsum(here[::-1], axis=0)[::-1] > here).astype(jnp.float32) * here  # a step follows
    first = chains.firsts(exists).astype(jnp.float32)
    earlier = here - first
    z, covariance = smoothed.mean, smoothed.covariance
    about = z - mean
    one = jnp.concatenate([z, jnp.ones((*z.shape[:2], 1))], axis=2)  # z~

    def second(weights: Array, a: Array, b: Array, covariance: Array) -> Array:
        """Sum of w (a b^T + covariance), weights [time, batch] or [time, batch, dims]: [(dims,) k, k]."""
        masked = weights if covariance.shape[1] > 1 else weights.sum(axis=1, keepdims=True)
        w = 'tbd' if weights.ndim == 3 else 'tb'
        out = 'dkl' if weights.ndim == 3 else 'kl'
        means = jnp.einsum(f'{w},tbk,tbl->{out}', weights, a, b, precision='highest')
        return means + jnp.einsum(f'{w},tbkl->{out}', masked, covariance, precision='highest')

    padded = jnp.pad(covariance, ((0, 0), (0, 0), (0, 1), (0, 1)))
    return {
        'second': second(seen, one, one, padded),
        'cross': jnp.einsum('tbd,tbk->dk', x, one, precision='highest'),
        'square': (x * x).sum(axis=(0, 1)),
        'pairs': later.sum(),
        'before': second(later, z, z, covariance),
        'after': second(earlier, z, z, covariance),
        'ahead': second(later, smoothed.next_mean, z, kalman.turned(smoothed.cross)),
        'firsts': first.sum(),
        'first': jnp.einsum('tb,tbk->k', first, about, precision='highest'),
        'first_square': second(first, about, about, covariance),
    }
