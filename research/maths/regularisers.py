"""Penalties on a batch of codes, added to a VAE's loss: what a sum over single examples cannot ask for.

Each is `__call__(z, mean, log_var, prior)`: z [batch, latent] drawn from q(z | x), q's means and log-variances, and as many
draws from the prior. They return a scalar in nats, already weighed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from research.types import Array, ranged


def aggregate(z: Array, mean: Array, log_var: Array) -> tuple[Array, Array]:
    """log q(z) [batch] and log q(z_j) [batch, latent] under the mixture of the batch's own posteriors.

    q(z) = (1/M) sum_j q(z | x_j) over the batch. The minibatch-weighted estimate of Chen et al. 2018 (arXiv:1802.04942, section 4.1)
    divides by the size of the data beside M: a constant, with the same gradient.
    """
    deviation = z[:, None] - mean  # [z, x, latent]
    log_q = -0.5 * (deviation**2 * jnp.exp(-log_var) + log_var + jnp.log(2 * jnp.pi))
    log_m = jnp.log(z.shape[0])
    return jax.nn.logsumexp(log_q.sum(axis=2), axis=1) - log_m, jax.nn.logsumexp(log_q, axis=1) - log_m


def total_correlation(z: Array, mean: Array, log_var: Array) -> Array:
    """E[log q(z) - sum_j log q(z_j)], scalar nats."""
    joint, marginals = aggregate(z, mean, log_var)
    return (joint - marginals.sum(axis=1)).mean()


@dataclass(frozen=True, kw_only=True)
class TotalCorrelation:
    """`weight` times the total correlation of q(z): beta-TCVAE with beta = 1 + weight (Chen et al. 2018, eq. 4)."""

    weight: float = ranged(5.0, at_least=0)

    def __call__(self, z: Array, mean: Array, log_var: Array, prior: Array) -> Array:
        return self.weight * total_correlation(z, mean, log_var)


@dataclass(frozen=True, kw_only=True)
class DIP:
    """Moments of q(z) drawn to those of N(0, I) (Kumar, Sattigeri & Balakrishnan 2018, arXiv:1711.00848, eqs. 6 and 7).

    kind='I' takes the covariance of the means; 'II' adds the mean of the variances, which is the covariance of z.
    """

    kind: Literal['I', 'II'] = 'I'
    off_diagonal: float = ranged(10.0, at_least=0)
    diagonal: float = ranged(100.0, at_least=0)

    def __call__(self, z: Array, mean: Array, log_var: Array, prior: Array) -> Array:
        centred = mean - mean.mean(axis=0)
        covariance = centred.T @ centred / mean.shape[0]  # [latent, latent]
        if self.kind == 'II':
            covariance = covariance + jnp.diag(jnp.exp(log_var).mean(axis=0))
        own = jnp.diagonal(covariance)
        off = (covariance**2).sum() - (own**2).sum()
        return self.off_diagonal * off + self.diagonal * ((own - 1) ** 2).sum()


@dataclass(frozen=True, kw_only=True)
class MMD:
    """`weight` times the squared maximum mean discrepancy between q(z) and the prior: WAE-MMD (Tolstikhin et al. 2018,
    arXiv:1711.01558, algorithm 2) with beta = 0, InfoVAE (Zhao, Song & Ermon 2019, arXiv:1706.02262, eq. 6) with beta = 1 - alpha
    and weight = alpha + lambda - 1.

    The unbiased estimate, so it may be below zero. Kernels of z, z' in d dimensions, for a prior of unit variance:
    'imq' sum_s C_s / (C_s + |z - z'|^2) with C_s = 2 d s, s of the WAE authors' seven scales; 'rbf' exp(-|z - z'|^2 / d).
    """

    weight: float = ranged(10.0, at_least=0)
    kernel: Literal['imq', 'rbf'] = 'imq'

    def __call__(self, z: Array, mean: Array, log_var: Array, prior: Array) -> Array:
        return self.weight * mmd(z, prior, self.kernel)


SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def mmd(a: Array, b: Array, kernel: Literal['imq', 'rbf']) -> Array:
    """Unbiased estimate of the squared maximum mean discrepancy of [n, d] and [n, d]; scalar."""
    n, dims = a.shape

    def k(x: Array, y: Array) -> Array:
        square = ((x[:, None] - y) ** 2).sum(axis=2)
        if kernel == 'rbf':
            return jnp.exp(-square / dims)
        return jnp.stack([2 * dims * s / (2 * dims * s + square) for s in SCALES]).sum(axis=0)

    def others(values: Array) -> Array:
        return (values.sum() - jnp.trace(values)) / max(n * (n - 1), 1)  # one example has no pairs

    return others(k(a, a)) + others(k(b, b)) - 2 * k(a, b).mean()


Regulariser = TotalCorrelation | DIP | MMD
