"""The continuous Bernoulli: a density on [0, 1] where VAEs have long used a probability. Loaiza-Ganem & Cunningham 2019,
arXiv:1907.06845.

    p(x) = C(lambda) lambda^x (1 - lambda)^(1 - x)                                                                 (4)

With the logit eta of lambda it is an exponential family, p(x) = exp(x eta - A(eta)), whose A has every moment for derivatives:

    A(eta) = log int_0^1 exp(x eta) dx = log((e^eta - 1) / eta)                                                    (1)
           = eta / 2 + log(sinh(eta / 2) / (eta / 2))                                                              (2)
    E[x] = A'(eta) = 1 / (1 - e^-eta) - 1 / eta,     A(0) = 0,  A'(0) = 1 / 2                                      (3)

Near eta = 0, which is lambda = 1/2, (1) and (3) are differences of large numbers. There the even part of (2) is its Taylor
series, whose first term left out is below 1e-8 within |eta| < 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths.events import Limits, Statistics, sum_event
from research.types import Array, Key

EDGE = 50.0  # solve's logits lie within -EDGE .. EDGE: means from 0.02 to 0.98
HALVINGS = 40
NEAR = 1.0  # of eta: below, the series
LINEAR = 1e-3  # of eta: below, the inverse distribution function is its tangent


def log_normaliser(eta: Array) -> Array:
    """A of eq. 1, with derivatives good to float32 everywhere."""
    near = jnp.abs(eta) < NEAR
    u2 = jnp.where(near, eta, 0.0) ** 2 / 4
    series = eta / 2 + u2 / 6 - u2**2 / 180 + u2**3 / 2835 - u2**4 / 37800
    far = jnp.where(near, 1.0, eta)
    size = jnp.abs(far)
    return jnp.where(near, series, jnp.maximum(far, 0) + jnp.log(-jnp.expm1(-size)) - jnp.log(size))


def expectation(eta: Array) -> Array:
    """Eq. 3, elementwise."""
    return jax.grad(lambda eta: log_normaliser(eta).sum())(eta)


def quantile(eta: Array, u: Array) -> Array:
    """x with P(X <= x) = u: log(1 + u (e^eta - 1)) / eta, for eta > 0 by the symmetry 1 - x(1 - u; -eta)."""
    size = jnp.abs(eta)
    v = jnp.where(eta > 0, 1 - u, u)
    safe = jnp.where(size < LINEAR, 1.0, size)
    x = -jnp.log1p(v * jnp.expm1(-safe)) / safe
    x = jnp.where(size < LINEAR, v - size * v * (1 - v) / 2, x)
    return jnp.clip(jnp.where(eta > 0, 1 - x, x), 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class ContinuousBernoulli:
    """Reals in [0, 1]; outputs are logits of lambda, whose mean is not lambda (eq. 3)."""

    kinds = ('unit',)
    seen: ClassVar[Limits] = (0.0, 1.0)

    def embed(self, x: Array) -> Array:
        return x

    def shape(self, event: tuple[int, ...]) -> tuple[int, ...]:
        return event

    def log_prob(self, outputs: Array, x: Array) -> Array:
        """`x eta - A(eta)`, [batch] nats."""
        return sum_event(x * outputs - log_normaliser(outputs))

    def sample(self, outputs: Array, key: Key) -> Array:
        return quantile(outputs, jax.random.uniform(key, outputs.shape))

    def mean(self, outputs: Array) -> Array:
        return expectation(outputs)

    def statistics(self, x: Array, centre: Array) -> Statistics:
        return {'count': jnp.float32(x.shape[0]), 'sum': x.sum(axis=0, dtype=jnp.float32)}

    def solve(self, statistics: Statistics, smoothing: float, centre: Array) -> Array:
        """Logits whose mean is `(sum + smoothing) / (count + 2 smoothing)`, by halving -EDGE .. EDGE: without that end a pixel
        that is always black would start beyond what a decoder's outputs can move."""
        target = (statistics['sum'] + smoothing) / (statistics['count'] + 2 * smoothing)

        def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = (low + high) / 2
            below = expectation(middle) < target
            return jnp.where(below, middle, low), jnp.where(below, high, middle)

        low, high = jax.lax.fori_loop(0, HALVINGS, halve, (jnp.full_like(target, -EDGE), jnp.full_like(target, EDGE)))
        return (low + high) / 2
