"""Adversaries and penalties: the games a generator and a critic play, as functions of the critic's logits.

An adversary has two functions: `critic(real, fake)` and `generator(fake)`, each [batch] logits to a scalar to minimise.
A penalty is a function of the critic and of one real and one fake batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp

from research.types import Array, Key, ranged


class Adversary(Protocol):
    def critic(self, real: Array, fake: Array) -> Array: ...
    def generator(self, fake: Array) -> Array: ...


@dataclass(frozen=True, kw_only=True)
class NonSaturating:
    """Goodfellow et al. 2014 (arXiv:1406.2661), section 3: the generator maximises log D(G(z)).

    Where critic and data agree (all logits 0) the critic's loss is 2 log 2 and the generator's log 2.
    """

    def critic(self, real: Array, fake: Array) -> Array:
        return jax.nn.softplus(-real).mean() + jax.nn.softplus(fake).mean()

    def generator(self, fake: Array) -> Array:
        return jax.nn.softplus(-fake).mean()


@dataclass(frozen=True, kw_only=True)
class Hinge:
    """Lim & Ye 2017 (arXiv:1705.02894); Miyato et al. 2018 (arXiv:1802.05957), eqs 16 and 17."""

    def critic(self, real: Array, fake: Array) -> Array:
        return jax.nn.relu(1 - real).mean() + jax.nn.relu(1 + fake).mean()

    def generator(self, fake: Array) -> Array:
        return -fake.mean()


@dataclass(frozen=True, kw_only=True)
class Wasserstein:
    """Arjovsky et al. 2017 (arXiv:1701.07875), eq. 2. Needs a Lipschitz critic: use it with a penalty."""

    def critic(self, real: Array, fake: Array) -> Array:
        return fake.mean() - real.mean()

    def generator(self, fake: Array) -> Array:
        return -fake.mean()


class Penalty(Protocol):
    def __call__(self, critic: Callable[[Array], Array], real: Array, fake: Array, key: Key) -> Array: ...


@dataclass(frozen=True, kw_only=True)
class NoPenalty:
    def __call__(self, critic: Callable[[Array], Array], real: Array, fake: Array, key: Key) -> Array:
        return jnp.zeros(())


@dataclass(frozen=True, kw_only=True)
class GradientPenalty:
    """weight * E (|grad critic(x)| - 1)^2 at points between real and fake (Gulrajani et al. 2017, arXiv:1704.00028, eq. 3).

    The critic must treat each example alone: batch normalisation would mix them (section 4 of the paper).
    """

    weight: float = ranged(10.0, at_least=0)

    def __call__(self, critic: Callable[[Array], Array], real: Array, fake: Array, key: Key) -> Array:
        mix = jax.random.uniform(key, (real.shape[0],) + (1,) * (real.ndim - 1))
        between = mix * real + (1 - mix) * fake
        slope = jax.grad(lambda x: critic(x).sum())(between).reshape(real.shape[0], -1)
        norm = jnp.sqrt((slope**2).sum(axis=-1) + 1e-12)  # the root's own derivative is infinite at 0
        return self.weight * ((norm - 1) ** 2).mean()
