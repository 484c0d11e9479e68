"""Grey levels as bins of a logistic density, and of a mixture of them. Salimans, Karpathy, Chen & Kingma 2017, arXiv:1701.05517.

Level x of `levels` is the bin [x / levels, (x + 1) / levels] of the unit interval, and the outermost bins hold the tails, so that
probabilities add up to one. With K components (eq. 2; here each variable by itself, channels too),

    P(x) = sum_k pi_k [s((upper - mean_k) / scale_k) - s((lower - mean_k) / scale_k)],     s the logistic function  (1)

where the difference of two numbers near 1 is never taken: log(s(b) - s(a)) = log s(b) + log s(-a) + log(1 - e^(a - b)).     (2)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths.events import Limits, Statistics, sum_event
from research.types import Array, Key, ranged

NARROWEST, WIDEST = -7.0, 3.0  # log-scale, on the unit interval


def log_bin(mean: Array, log_scale: Array, x: Array, levels: int) -> Array:
    """log probability of level x under a logistic density, elementwise (eq. 2); the mean and scale on the unit interval."""
    scale = jnp.exp(log_scale)
    first, last = x <= 0, x >= levels - 1
    lower, upper = (x / levels - mean) / scale, ((x + 1) / levels - mean) / scale
    inner = jnp.where(first | last, 0.0, jnp.log(-jnp.expm1(-1 / (levels * scale))))
    return jnp.where(last, 0.0, jax.nn.log_sigmoid(upper)) + jnp.where(first, 0.0, jax.nn.log_sigmoid(-lower)) + inner


def level(value: Array, levels: int) -> Array:
    """The level of a real number on the unit interval; beyond its ends the outermost."""
    return jnp.clip(jnp.floor(value * levels), 0, levels - 1).astype(jnp.int32)


@dataclass(frozen=True, kw_only=True)
class DiscretisedLogisticMixture:
    """Outputs are [..., 3 * components]: logits of the weights, logits of the means, log-scales."""

    levels: int = ranged(None, at_least=2, from_domain='values')
    components: int = ranged(5, at_least=1)
    kinds = ('integer',)
    seen: ClassVar[Limits] = (-1.0, 1.0)

    def embed(self, x: Array) -> Array:
        return 2 * x.astype(jnp.float32) / (self.levels - 1) - 1

    def shape(self, event: tuple[int, ...]) -> tuple[int, ...]:
        return (*event, 3 * self.components)

    def parameters(self, outputs: Array) -> tuple[Array, Array, Array]:
        """Log-weights, means and log-scales, each [batch, *event, components]."""
        weights, means, log_scales = jnp.split(outputs, 3, axis=-1)
        return jax.nn.log_softmax(weights), jax.nn.sigmoid(means), jnp.clip(log_scales, NARROWEST, WIDEST)

    def log_prob(self, outputs: Array, x: Array) -> Array:
        """The logarithm of eq. 1, [batch] nats."""
        log_weights, means, log_scales = self.parameters(outputs)
        each = log_bin(means, log_scales, x[..., None].astype(jnp.float32), self.levels)
        return sum_event(jax.nn.logsumexp(log_weights + each, axis=-1))

    def sample(self, outputs: Array, key: Key) -> Array:
        key_k, key_x = jax.random.split(key)
        log_weights, means, log_scales = self.parameters(outputs)
        k = jax.random.categorical(key_k, log_weights)[..., None]
        mean, log_scale = (jnp.take_along_axis(part, k, axis=-1)[..., 0] for part in (means, log_scales))
        return level(mean + jnp.exp(log_scale) * jax.random.logistic(key_x, mean.shape), self.levels)

    def mean(self, outputs: Array) -> Array:
        """Of the density, in levels: like the discretised logistic's, it does not know of the tails."""
        log_weights, means, _ = self.parameters(outputs)
        return (jnp.exp(log_weights) * means).sum(axis=-1) * self.levels - 0.5

    def statistics(self, x: Array, centre: Array) -> Statistics:
        x = (x + 0.5) / self.levels - 0.5
        return {'count': jnp.float32(x.shape[0]), 'sum': x.sum(axis=0), 'square': (x * x).sum(axis=0)}

    def solve(self, statistics: Statistics, smoothing: float, centre: Array) -> Array:
        """By moments: equal weights, means spread evenly over half of the variance, each component as wide as keeps the whole.

        Of K evenly spaced points a step d apart the variance is d^2 (K^2 - 1) / 12; of a logistic of scale s, (pi s)^2 / 3.
        """
        mean = 0.5 + statistics['sum'] / statistics['count']
        variance = jnp.maximum(statistics['square'] / statistics['count'] - (mean - 0.5) ** 2, 1e-6)
        k, among = self.components, 0.0 if self.components == 1 else 0.5
        step = jnp.sqrt(12 * among * variance / max(k * k - 1, 1))
        means = mean[..., None] + step[..., None] * (jnp.arange(k) - (k - 1) / 2)
        logits = jax.scipy.special.logit(jnp.clip(means, 1e-4, 1 - 1e-4))
        log_scale = 0.5 * jnp.log(3 * (1 - among) * variance) - jnp.log(jnp.pi)
        log_scales = jnp.broadcast_to(log_scale[..., None], logits.shape)
        return jnp.concatenate([jnp.zeros_like(logits), logits, log_scales], axis=-1)
