"""What a hidden state shows: p(x_t | z_t) for sequence models, each fitted in closed form from expected counts.

Every emission is a frozen dataclass with the same six functions over rows, one a time step: x [rows, dims], and what of it
is there, `seen` bool [rows, dims]; an entry that is not there is summed out. Its parameters have a leading axis of states.
`statistics` weighs each row by the posterior of each state, [rows, states], and adds up over batches. `fill` draws what
is not there, given the state and the rest of the row.

Smoothing: each state is given `smoothing` further observations which are distributed as all the data are (maximum a posteriori
under a conjugate prior; MacKay & Peto 1995 for text). So a state that was never visited shows what the data show on
average, and a symbol that no state has seen has a probability. The data's totals are the same at every iteration of EM,
since posteriors add up to one, so the prior is fixed and EM climbs the penalised likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from research.maths.chains import product
from research.maths.likelihoods import LOG_2PI
from research.types import Array, Key, Params, ranged

HALF = 0.5  # observations of each value that the data's own distribution is given, so that none is impossible


def rows_at_random(key: Key, x: Array, seen: Array, count: int) -> Array:
    """`count` rows [count, dims] of those where something is there; all the same to a row of zeros if nothing ever is."""
    some = seen.any(axis=1)
    chosen = jax.random.categorical(key, jnp.where(some, 0.0, -1e9), shape=(count,))
    return jnp.where(seen, x, 0)[chosen].astype(jnp.float32)


@dataclass(frozen=True, kw_only=True)
class BernoulliEmission:
    """Independent bits, -1 where one is not there; parameters are logits [states, dims]."""

    smoothing: float = ranged(1.0, above=0)
    kinds = ('binary',)

    def seen(self, x: Array) -> Array:
        return x >= 0

    def init(self, key: Key, x: Array, seen: Array, states: int) -> Params:
        """Each state half-way between a random row and the mean."""
        mean = jnp.where(seen, x, 0).sum(axis=0) / jnp.maximum(seen.sum(axis=0), 1)
        p = jnp.clip(0.25 + 0.25 * rows_at_random(key, x, seen, states) + 0.25 * mean, 0.01, 0.99)
        return {'outputs': jax.scipy.special.logit(p)}

    def log_prob(self, params: Params, x: Array, seen: Array) -> Array:
        """sum_d [x o - log(1 + e^o)] over what is there, [rows, states] nats."""
        there = seen.astype(jnp.float32)
        outputs = params['outputs']
        return product(jnp.where(seen, x, 0.0), outputs.T) - product(there, jax.nn.softplus(outputs).T)

    def statistics(self, params: Params, x: Array, seen: Array, weights: Array) -> Params:
        there = seen.astype(jnp.float32)
        return {'weight': product(weights.T, there), 'ones': product(weights.T, jnp.where(seen, x, 0.0))}

    def solve(self, params: Params, statistics: Params) -> Params:
        """p = (ones + smoothing m) / (weight + smoothing), m the data's own frequency of a one."""
        weight, ones = statistics['weight'], statistics['ones']
        mean = (ones.sum(axis=0) + HALF) / (weight.sum(axis=0) + 2 * HALF)
        on = ones + self.smoothing * mean
        off = jnp.maximum(weight - ones, 0) + self.smoothing * (1 - mean)
        return {'outputs': jnp.log(on) - jnp.log(off)}

    def fill(self, params: Params, x: Array, seen: Array, states: Array, key: Key) -> Array:
        drawn = jax.random.bernoulli(key, jax.nn.sigmoid(params['outputs'][states]))
        return jnp.where(seen, x, drawn.astype(x.dtype))


@dataclass(frozen=True, kw_only=True)
class CategoricalEmission:
    """One of `levels` symbols a step, -1 where none is; parameters are log-probabilities [states, levels]."""

    levels: int = ranged(None, at_least=2, from_domain='values')
    smoothing: float = ranged(1.0, above=0)
    kinds = ('tokens', 'integer')

    def seen(self, x: Array) -> Array:
        return x >= 0

    def codes(self, x: Array, seen: Array) -> Array:
        return jnp.where(seen, x, 0)[:, 0].astype(jnp.int32)

    def init(self, key: Key, x: Array, seen: Array, states: int) -> Params:
        """The data's own frequencies, each times a random factor of mean one (exponential), state by state."""
        counts = jnp.zeros(self.levels).at[self.codes(x, seen)].add(seen[:, 0].astype(jnp.float32)) + HALF
        noise = jax.random.exponential(key, (states, self.levels)) + 0.1
        return {'log_p': jax.nn.log_softmax(jnp.log(counts) + jnp.log(noise))}

    def log_prob(self, params: Params, x: Array, seen: Array) -> Array:
        """[rows, states] nats."""
        return jnp.where(seen, jax.nn.log_softmax(params['log_p']).T[self.codes(x, seen)], 0.0)

    def statistics(self, params: Params, x: Array, seen: Array, weights: Array) -> Params:
        counted = jnp.where(seen, weights, 0.0)
        return {'counts': jnp.zeros((self.levels, weights.shape[1])).at[self.codes(x, seen)].add(counted).T}

    def solve(self, params: Params, statistics: Params) -> Params:
        """p(v) = (count + smoothing m(v)) / (total + smoothing), m the data's own distribution."""
        counts = statistics['counts']
        mean = counts.sum(axis=0) + HALF
        return {'log_p': jax.nn.log_softmax(jnp.log(counts + self.smoothing * mean / mean.sum()))}

    def fill(self, params: Params, x: Array, seen: Array, states: Array, key: Key) -> Array:
        drawn = jax.random.categorical(key, params['log_p'][states])[:, None]
        return jnp.where(seen, x, drawn.astype(x.dtype))


@dataclass(frozen=True, kw_only=True)
class GaussianEmission:
    """Normals with diagonal covariance, NaN where an entry is not there. `variance_floor` is added to every variance."""

    variance_floor: float = ranged(1e-3, above=0)
    kinds = ('real', 'unit')

    def seen(self, x: Array) -> Array:
        return ~jnp.isnan(x)

    def init(self, key: Key, x: Array, seen: Array, states: int) -> Params:
        """Means at random rows, variances those of the data."""
        n, there = jnp.maximum(seen.sum(axis=0), 1), jnp.where(seen, x, 0.0)
        mean = there.sum(axis=0) / n
        spread = jnp.log((jnp.where(seen, there - mean, 0.0) ** 2).sum(axis=0) / n + 1e-6)
        means = rows_at_random(key, x, seen, states)
        return {'means': means, 'log_variances': jnp.broadcast_to(spread, means.shape)}

    def moments(self, params: Params, x: Array, seen: Array) -> Array:
        """What is there, x - c and (x - c)^2, side by side, [rows, 3 dims]; c is the middle of the means."""
        there = jnp.where(seen, jnp.where(seen, x, 0.0) - self.centre(params), 0.0)
        return jnp.concatenate([seen.astype(jnp.float32), there, there * there], axis=1)

    def centre(self, params: Params) -> Array:
        return jax.lax.stop_gradient(params['means'].mean(axis=0))

    def log_prob(self, params: Params, x: Array, seen: Array) -> Array:
        """-1/2 sum_d [(x - m)^2 / v + log v + log 2 pi] over what is there, [rows, states] nats."""
        log_v = jnp.logaddexp(params['log_variances'], jnp.log(self.variance_floor))
        means, precision = params['means'] - self.centre(params), jnp.exp(-log_v)
        constant = -0.5 * (means**2 * precision + log_v + LOG_2PI)
        natural = jnp.concatenate([constant, means * precision, -0.5 * precision], axis=1)
        return product(self.moments(params, x, seen), natural.T)

    def statistics(self, params: Params, x: Array, seen: Array, weights: Array) -> Params:
        return {'moments': product(weights.T, self.moments(params, x, seen))}

    def solve(self, params: Params, statistics: Params) -> Params:
        """Weighted means and variances; a state that was never visited keeps its own."""
        weight, sums, squares = jnp.split(statistics['moments'], 3, axis=1)
        alive, n = weight > 1e-6, jnp.maximum(weight, 1e-6)
        means = sums / n
        variances = jnp.maximum(squares / n - means**2, 1e-12)
        return {
            'means': jnp.where(alive, self.centre(params) + means, params['means']),
            'log_variances': jnp.where(alive, jnp.log(variances), params['log_variances']),
        }

    def fill(self, params: Params, x: Array, seen: Array, states: Array, key: Key) -> Array:
        scale = jnp.sqrt(jnp.exp(params['log_variances'][states]) + self.variance_floor)
        return jnp.where(seen, x, params['means'][states] + scale * jax.random.normal(key, scale.shape))


Base = BernoulliEmission | CategoricalEmission | GaussianEmission


@dataclass(frozen=True, kw_only=True)
class MixtureEmission:
    """p(x | z) = sum_m w_zm p(x | z, m): `components` of the `base` emission in each state, fitted with it by EM."""

    base: Base = BernoulliEmission()
    components: int = ranged(4, at_least=1)
    smoothing: float = ranged(0.1, above=0)  # further observations of each component in each state

    @property
    def kinds(self) -> Any:
        return self.base.kinds

    def seen(self, x: Array) -> Array:
        return self.base.seen(x)

    def init(self, key: Key, x: Array, seen: Array, states: int) -> Params:
        logits = jnp.zeros((states, self.components))
        return {'logits': logits, 'base': self.base.init(key, x, seen, states * self.components)}

    def joint(self, params: Params, x: Array, seen: Array) -> Array:
        """log w + log p(x | z, m), [rows, states, components]."""
        each = self.base.log_prob(params['base'], x, seen)
        return each.reshape(len(x), -1, self.components) + jax.nn.log_softmax(params['logits'])

    def log_prob(self, params: Params, x: Array, seen: Array) -> Array:
        return jax.nn.logsumexp(self.joint(params, x, seen), axis=2)

    def statistics(self, params: Params, x: Array, seen: Array, weights: Array) -> Params:
        r = jax.nn.softmax(self.joint(params, x, seen)) * weights[:, :, None]
        base = self.base.statistics(params['base'], x, seen, r.reshape(len(x), -1))
        return {'weights': r.sum(axis=0), 'base': base}

    def solve(self, params: Params, statistics: Params) -> Params:
        logits = jnp.log(statistics['weights'] + self.smoothing)
        return {'logits': logits, 'base': self.base.solve(params['base'], statistics['base'])}

    def fill(self, params: Params, x: Array, seen: Array, states: Array, key: Key) -> Array:
        """A component given what is there of the row, then the rest given the component."""
        key_m, key_x = jax.random.split(key)
        own = jnp.take_along_axis(self.joint(params, x, seen), states[:, None, None], axis=1)[:, 0]
        m = jax.random.categorical(key_m, own)
        return self.base.fill(params['base'], x, seen, states * self.components + m, key_x)


Emission = Base | MixtureEmission
