"""Bounds on log p(x) from samples of q(z | x). Nats per example.

`ELBO` and `ImportanceWeighted` are what a VAE is fitted by: how many z are drawn for each x, what the rate of each is,
and how the terms of all draws make one bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.types import Array, Key, ranged


def gaussian_kl(mean: Array, log_var: Array) -> Array:
    """KL(N(mean, exp(log_var)) || N(0, I)), [batch] (Kingma & Welling 2014, arXiv:1312.6114, appendix B)."""
    return 0.5 * (jnp.exp(log_var) + mean**2 - 1 - log_var).sum(axis=-1)


def gaussian_log_prob(z: Array, mean: Array | float = 0.0, log_var: Array | float = 0.0) -> Array:
    """log N(z; mean, exp(log_var)), summed over the last axis."""
    return -0.5 * ((z - mean) ** 2 * jnp.exp(-log_var) + log_var + jnp.log(2 * jnp.pi)).sum(axis=-1)


@dataclass(frozen=True, kw_only=True)
class ELBO:
    """The evidence lower bound from one draw, its KL divergence in closed form (Kingma & Welling 2014, eq. 10)."""

    draws: ClassVar[int] = 1

    def rate(self, z: Array, mean: Array, log_var: Array) -> Array:
        """KL(q(z | x) || N(0, I)), [1, batch]."""
        return gaussian_kl(mean, log_var)[None]

    def bound(self, log_weights: Array) -> Array:
        """[1, batch] -> [batch]."""
        return log_weights[0]


@dataclass(frozen=True, kw_only=True)
class ImportanceWeighted:
    """(1/m) sum_j log (1/k) sum_i w_ij, w = p(x, z) / q(z | x), of m = `groups` times k = `samples` draws.

    samples=k is IWAE-k (Burda et al. 2016, arXiv:1509.00519, eq. 8); groups=k, samples=1 is what its table 1 calls VAE
    with k; both together are MIWAE (Rainforth et al. 2018, arXiv:1802.04537). The gradient weighs each draw by its
    normalised weight within its group (Burda et al., eq. 13 and 14): that is what differentiating the logarithm gives.
    """

    samples: int = ranged(5, at_least=1)
    groups: int = ranged(1, at_least=1)

    @property
    def draws(self) -> int:
        return self.samples * self.groups

    def rate(self, z: Array, mean: Array, log_var: Array) -> Array:
        """log q(z | x) - log p(z) of each draw, [draws, batch] from z [draws, batch, latent]."""
        return gaussian_log_prob(z, mean[None], log_var[None]) - gaussian_log_prob(z)

    def bound(self, log_weights: Array) -> Array:
        """[draws, batch] -> [batch]."""
        grouped = log_weights.reshape(self.groups, self.samples, -1)
        return (jax.nn.logsumexp(grouped, axis=1) - jnp.log(self.samples)).mean(axis=0)


def importance_bound(log_weights: Callable[[Key], Array], samples: int, chunk: int, key: Key) -> Array:
    """log (1/k) sum_i w_i, the bound of Burda et al. 2016 (arXiv:1509.00519, eq. 8), [batch] nats.

    `log_weights(key)` draws [chunk, batch] log importance weights. Chunks are added up in a scan, so memory does not
    grow with k = `samples`; the last chunk's surplus is masked, so exactly k weights count.
    """

    def add(total: Array, i: Array) -> tuple[Array, None]:
        log_w = log_weights(jax.random.fold_in(key, i))  # [chunk, batch]
        counted = (i * chunk + jnp.arange(chunk) < samples)[:, None]
        return jnp.logaddexp(total, jax.nn.logsumexp(jnp.where(counted, log_w, -jnp.inf), axis=0)), None

    batch = jax.eval_shape(log_weights, key).shape[1]
    total, _ = jax.lax.scan(add, jnp.full((batch,), -jnp.inf), jnp.arange(-(-samples // chunk)))
    return total - jnp.log(samples)
