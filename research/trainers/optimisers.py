"""Optimisers as config values: frozen dataclasses whose numbers may be swept, each built by optax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import optax

from research.types import Array, ranged


class Schedule(Protocol):
    def __call__(self, count: Array) -> Array: ...


class Optimiser(Protocol):
    """`build(rate)` is the optax transformation; `rate` is a number or a schedule of the step count."""

    def build(self, rate: float | Schedule) -> optax.GradientTransformation: ...


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Kingma & Ba 2015 (arXiv:1412.6980); with weight decay, AdamW on matrices only (Loshchilov & Hutter 2019).

    With `normalise`, each array's gradient is first divided by its own norm (Yu et al. 2017, arXiv:1707.04822), as for the
    VampPrior's tables.
    """

    b1: float = ranged(0.9, at_least=0, below=1)
    b2: float = ranged(0.999, at_least=0, below=1)
    eps: float = ranged(1e-8, above=0)
    weight_decay: float | None = ranged(None, at_least=0, optional=True)
    clip: float | None = ranged(None, above=0, optional=True)  # of the gradient's global norm
    normalise: bool = False

    def build(self, rate: float | Schedule) -> optax.GradientTransformation:
        parts = [] if self.clip is None else [optax.clip_by_global_norm(self.clip)]
        if self.normalise:
            parts.append(optax.stateless(lambda updates, _: jax.tree.map(unit_norm, updates)))
        parts.append(optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps))
        if self.weight_decay is not None:
            matrices = lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)  # noqa: E731
            parts.append(optax.add_decayed_weights(self.weight_decay, matrices))
        return optax.chain(*parts, optax.scale_by_learning_rate(rate))


def unit_norm(gradient: Array) -> Array:
    """Divided by its norm; what is zero stays zero."""
    return gradient / (jnp.sqrt((gradient**2).sum()) + 1e-7)


@dataclass(frozen=True, kw_only=True)
class Sgd:
    momentum: float = ranged(0.0, at_least=0, below=1)

    def build(self, rate: float | Schedule) -> optax.GradientTransformation:
        return optax.chain(optax.trace(decay=self.momentum), optax.scale_by_learning_rate(rate))


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Linear warm-up over `warmup` steps, then half a cosine down to `end` of the peak at `steps` (Loshchilov & Hutter 2017)."""

    steps: int = ranged(at_least=1)
    warmup: int = ranged(0, at_least=0)
    end: float = ranged(0.1, at_least=0, at_most=1)

    def factor(self, count: Array) -> Array:
        """The share of the peak learning rate at step `count`."""
        rising = (count + 1) / (self.warmup + 1)
        along = jnp.clip((count - self.warmup) / max(1, self.steps - self.warmup), 0, 1)
        falling = self.end + (1 - self.end) * 0.5 * (1 + jnp.cos(jnp.pi * along))
        return jnp.where(count < self.warmup, rising, falling)


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Piecewise constant: the rate is multiplied by `decay` at each of the steps `starts`."""

    starts: tuple[int, ...] = ranged(at_least=1)
    decay: float = ranged(0.1, above=0, at_most=1)

    def factor(self, count: Array) -> Array:
        """The share of the first learning rate at step `count`."""
        passed = jnp.array([count >= start for start in self.starts]).sum()
        return jnp.power(self.decay, passed)


def rate(learning_rate: float, schedule: Cosine | Stages | None) -> float | Schedule:
    return learning_rate if schedule is None else lambda count: learning_rate * schedule.factor(count)
