"""p(x | outputs) for the outputs of a decoder: what the last layer's numbers mean.

Each likelihood is a frozen dataclass with the same seven functions. `shape` is that of the outputs for one example of
shape `event`; log-probabilities are in nats per example, summed over the event's variables.
`statistics` and `solve` fit constant outputs to data in closed form, which is the `Independent` model; `centre` is a point
near the data, about which moments are taken, since float32 loses a small variance far from zero. `embed` is how an encoder
sees the data, and `seen` the interval that lies in, where there is one. The continuous Bernoulli and the mixture of discretised
logistics are in files of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths.continuous_bernoulli import ContinuousBernoulli
from research.maths.events import Limits, Statistics, sum_event
from research.maths.logistic import NARROWEST, WIDEST, DiscretisedLogisticMixture, level, log_bin
from research.maths.sequences import Sequence, timed
from research.types import Array, Domain, Key, ranged

LOG_2PI = 1.8378770664093453


@dataclass(frozen=True, kw_only=True)
class Bernoulli:
    """Binary variables; outputs are logits. Reals in [0, 1] are scored by their expectation over binarisation."""

    kinds = ('binary', 'unit')
    seen: ClassVar[Limits] = (0.0, 1.0)

    def embed(self, x: Array) -> Array:
        return x

    def shape(self, event: tuple[int, ...]) -> tuple[int, ...]:
        return event

    def log_prob(self, outputs: Array, x: Array) -> Array:
        """`x log s(outputs) + (1 - x) log(1 - s(outputs))`, [batch] nats."""
        return sum_event(x * outputs - jax.nn.softplus(outputs))

    def sample(self, outputs: Array, key: Key) -> Array:
        return jax.random.bernoulli(key, jax.nn.sigmoid(outputs)).astype(jnp.float32)

    def mean(self, outputs: Array) -> Array:
        return jax.nn.sigmoid(outputs)

    def statistics(self, x: Array, centre: Array) -> Statistics:
        return {'count': jnp.float32(x.shape[0]), 'sum': x.sum(axis=0, dtype=jnp.float32)}

    def solve(self, statistics: Statistics, smoothing: float, centre: Array) -> Array:
        """Logits of `(sum + smoothing) / (count + 2 smoothing)`."""
        ones = statistics['sum'] + smoothing
        return jnp.log(ones) - jnp.log(statistics['count'] + 2 * smoothing - ones)


@dataclass(frozen=True, kw_only=True)
class Categorical:
    """Each variable takes one of `levels` unordered values; outputs are [..., levels] logits."""

    levels: int = ranged(None, at_least=2, from_domain='values')
    kinds = ('integer', 'tokens')
    seen: ClassVar[Limits] = (0.0, 1.0)

    def embed(self, x: Array) -> Array:
        return jax.nn.one_hot(x, self.levels)

    def shape(self, event: tuple[int, ...]) -> tuple[int, ...]:
        return (*event, self.levels)

    def log_prob(self, outputs: Array, x: Array) -> Array:
        log_p = jax.nn.log_softmax(outputs)
        chosen = jnp.take_along_axis(log_p, x[..., None].astype(jnp.int32), axis=-1)
        return sum_event(chosen)

    def sample(self, outputs: Array, key: Key) -> Array:
        return jax.random.categorical(key, outputs)

    def mean(self, outputs: Array) -> Array:
        return (jax.nn.softmax(outputs) * jnp.arange(self.levels)).sum(axis=-1)

    def statistics(self, x: Array, centre: Array) -> Statistics:
        return {'counts': jax.nn.one_hot(x, self.levels).sum(axis=0)}

    def solve(self, statistics: Statistics, smoothing: float, centre: Array) -> Array:
        return jnp.log(statistics['counts'] + smoothing)  # add-k; the softmax normalises


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Independent normals. Outputs are means, or [..., 2] means and log-scales where `scale` is None.

    The learned scale is `floor + exp(log-scale)`: without a floor, a variable that is constant in training has an
    unbounded likelihood.
    """

    scale: float | None = ranged(None, above=0, optional=True)
    floor: float = ranged(1e-2, above=0)
    kinds = ('real', 'unit')
    seen: ClassVar[Limits] = None

    def embed(self, x: Array) -> Array:
        return x

    def shape(self, event: tuple[int, ...]) -> tuple[int, ...]:
        return (*event, 2) if self.scale is None else event

    def parameters(self, outputs: Array) -> tuple[Array, Array]:
        """Mean and scale, each [batch, *event]."""
        if self.scale is None:
            return outputs[..., 0], self.floor + jnp.exp(outputs[..., 1])
        return outputs, jnp.full_like(outputs, self.scale)

    def log_prob(self, outputs: Array, x: Array) -> Array:
        mean, scale = self.parameters(outputs)
        return sum_event(-0.5 * ((x - mean) / scale) ** 2 - jnp.log(scale) - 0.5 * LOG_2PI)

    def sample(self, outputs: Array, key: Key) -> Array:
        mean, scale = self.parameters(outputs)
        return mean + scale * jax.random.normal(key, mean.shape)

    def mean(self, outputs: Array) -> Array:
        return self.parameters(outputs)[0]

    def statistics(self, x: Array, centre: Array) -> Statistics:
        x = x - centre
        return {'count': jnp.float32(x.shape[0]), 'sum': x.sum(axis=0), 'square': (x * x).sum(axis=0)}

    def solve(self, statistics: Statistics, smoothing: float, centre: Array) -> Array:
        """Maximum likelihood; `smoothing` plays no part, the floor does."""
        mean = statistics['sum'] / statistics['count']
        deviation = jnp.sqrt(jnp.maximum(statistics['square'] / statistics['count'] - mean**2, 0))
        log_scale = jnp.log(jnp.maximum(deviation - self.floor, 1e-6))
        return jnp.stack([centre + mean, log_scale], axis=-1) if self.scale is None else centre + mean


@dataclass(frozen=True, kw_only=True)
class DiscretisedLogistic:
    """Grey levels 0 .. levels - 1 as bins of a logistic density (Kingma et al. 2016, arXiv:1606.04934, eq. 12).

    Outputs are [..., 2]: mean and log-scale on the unit interval, whose bins have width 1 / levels; the first and
    last bin hold the tails, so the probabilities sum to one.
    """

    levels: int = ranged(None, at_least=2, from_domain='values')
    kinds = ('integer',)
    seen: ClassVar[Limits] = (-1.0, 1.0)

    def embed(self, x: Array) -> Array:
        return 2 * x.astype(jnp.float32) / (self.levels - 1) - 1

    def shape(self, event: tuple[int, ...]) -> tuple[int, ...]:
        return (*event, 2)

    def parameters(self, outputs: Array) -> tuple[Array, Array]:
        """Mean and log-scale, each [batch, *event]."""
        return jax.nn.sigmoid(outputs[..., 0]), jnp.clip(outputs[..., 1], NARROWEST, WIDEST)

    def log_prob(self, outputs: Array, x: Array) -> Array:
        """log(s(upper) - s(lower)), [batch] nats."""
        return sum_event(log_bin(*self.parameters(outputs), x.astype(jnp.float32), self.levels))

    def sample(self, outputs: Array, key: Key) -> Array:
        mean, log_scale = self.parameters(outputs)
        return level(mean + jnp.exp(log_scale) * jax.random.logistic(key, mean.shape), self.levels)

    def mean(self, outputs: Array) -> Array:
        return jax.nn.sigmoid(outputs[..., 0]) * self.levels - 0.5

    def statistics(self, x: Array, centre: Array) -> Statistics:
        return Gaussian().statistics((x + 0.5) / self.levels, jnp.float32(0.5))

    def solve(self, statistics: Statistics, smoothing: float, centre: Array) -> Array:
        """By moments: a logistic density of scale s has variance (pi s)^2 / 3."""
        mean = statistics['sum'] / statistics['count']
        variance = jnp.maximum(statistics['square'] / statistics['count'] - mean**2, 1e-6)
        logit = jax.scipy.special.logit(jnp.clip(0.5 + mean, 1e-4, 1 - 1e-4))
        return jnp.stack([logit, 0.5 * jnp.log(3 * variance) - jnp.log(jnp.pi)], axis=-1)


Likelihood = (
    Bernoulli
    | Categorical
    | Gaussian
    | DiscretisedLogistic
    | ContinuousBernoulli
    | DiscretisedLogisticMixture
    | Sequence
)


def misfit(likelihood: Likelihood, domain: Domain) -> str | None:
    """Why this likelihood cannot score data of this domain, as the end of a sentence; None where it can."""
    if isinstance(likelihood, Sequence):
        return mismatch(likelihood.of, domain) or likelihood.misfit(domain)
    why, name = mismatch(likelihood, domain), type(likelihood).__name__
    return (
        why
        or (timed(domain) and f'{name} scores no sequences, and these are: set likelihood=Sequence(of={name}())')
        or None
    )


def mismatch(likelihood: Likelihood, domain: Domain) -> str | None:
    """Why it cannot score one variable of such data."""
    name = type(likelihood).__name__
    if domain.kind not in likelihood.kinds:
        return f'{name} scores {" or ".join(likelihood.kinds)} data, and this is {domain.kind}'
    if isinstance(likelihood, Bernoulli) and domain.cell != 1:
        return (
            'Bernoulli is no density, and this is dequantised data: set data.values=binarise or scale, or take Gaussian '
            'or ContinuousBernoulli'
        )
    if (
        isinstance(likelihood, Categorical | DiscretisedLogistic | DiscretisedLogisticMixture)
        and likelihood.levels != domain.values
    ):
        return f'{name} has levels={likelihood.levels}, and the data have {domain.values}'
    return None
