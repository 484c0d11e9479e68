"""Bounds on log p(x) from samples of q(z | x). Nats per example."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from research.types import Array, Key


def gaussian_kl(mean: Array, log_var: Array) -> Array:
    """KL(N(mean, exp(log_var)) || N(0, I)), [batch] (Kingma & Welling 2014, arXiv:1312.6114, appendix B)."""
    return 0.5 * (jnp.exp(log_var) + mean**2 - 1 - log_var).sum(axis=-1)


def gaussian_log_prob(z: Array, mean: Array | float = 0.0, log_var: Array | float = 0.0) -> Array:
    """log N(z; mean, exp(log_var)), summed over the last axis."""
    return -0.5 * ((z - mean) ** 2 * jnp.exp(-log_var) + log_var + jnp.log(2 * jnp.pi)).sum(axis=-1)


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
