"""What the codes of a whole set look like: the aggregate posterior q(z) = E_x q(z | x), and how the rate splits over it.

For diagonal normal q(z | x) and p(z) = N(0, I), Hoffman & Johnson 2016 (NIPS workshop) and Chen et al. 2018 (arXiv:1802.04942, eq. 2):

    E_x KL(q(z | x) || p(z)) = I(x; z) + KL(q(z) || prod_d q(z_d)) + sum_d KL(q(z_d) || p(z_d))                      (1)
         rate          =  mutual information + total correlation + dimension-wise KL

All three are means of logarithms of densities at z_j ~ q(z | x_j), j = 1 .. n. q(z_j) is not at hand; it is taken from the n examples,

    log q(z_j) = log(a q(z_j | x_j) + b sum_{i != j} q(z_j | x_i)),                                                    (2)

and a and b decide what is estimated, and on which side it errs:

    mixture     a = b = 1 / n              exact for the mixture of these n examples. For the population q(z_j) is too high on average
                                           since z_j is the example's own: mutual information too low, and at most log n
    left out    a = 0, b = 1 / (n - 1)     without the example's own: mutual information too high on average
    weighted    a = b = 1 / (N n)          minibatch-weighted sampling of n out of N (Chen et al., section 4.1): log q(z_j) too low,
                                           mutual information too high; of all n = N it is off by log N
    stratified  a = 1 / N,                 minibatch stratified sampling (Chen et al., appendix C, here over all n - 1 others alike):
                b = (N - 1) / (N (n - 1))  unbiased for q(z_j), so its logarithm is too low, by less; of all n = N it is the mixture

'mixture' and 'left out' enclose the population's mutual information in expectation (Poole et al. 2019, arXiv:1905.06922). Total correlation and dimension-wise KL are
differences of two such logarithms, whose errors go the same way and need not cancel: where z has many active dimensions hardly two
examples share a z, all of log q(z_j) is the example's own term, and total correlation is too large. That shows in mutual
information: near log n, trust neither. The sum of the three is the rate by any choice.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.maths.bounds import gaussian_log_prob
from research.types import Array, Key

ACTIVE = 0.01  # Burda et al. 2016, section 5.2
BLOCK = 16  # z_j scored at once, each against all n examples


class Weights(NamedTuple):
    """a and b of eq. 2."""

    own: float
    other: float


def mixture(n: int) -> Weights:
    return Weights(1 / n, 1 / n)


def left_out(n: int) -> Weights:
    return Weights(0.0, 1 / (n - 1))


def weighted(n: int, population: int) -> Weights:
    return Weights(1 / (population * n), 1 / (population * n))


def stratified(n: int, population: int) -> Weights:
    return Weights(1 / population, (population - 1) / (population * (n - 1)))


class Split(NamedTuple):
    """Eq. 1 at each z_j: nats [n], and the dimension-wise KL [n, latent]. Their means over j are the terms."""

    mutual_information: Array
    total_correlation: Array
    dimension_wise_kl: Array


def log_aggregate(z: Array, mean: Array, log_var: Array, weights: Weights) -> tuple[Array, Array]:
    """Eq. 2 for all of z [n, latent], z_j ~ N(mean_j, exp(log_var_j)): log q(z_j) [n], and log q(z_jd) of each alone [n, latent].

    BLOCK of the z_j at a time, so that memory grows with n latent and not with n^2.
    """
    n = z.shape[0]
    log_own, log_other = (math.log(w) if w > 0 else -math.inf for w in weights)
    inverse = jnp.exp(-log_var)

    def row(j: Array) -> tuple[Array, Array]:
        each = -0.5 * ((z[j] - mean) ** 2 * inverse + log_var + jnp.log(2 * jnp.pi))  # [n, latent]
        log_w = jnp.where(jnp.arange(n) == j, log_own, log_other)
        joint = jax.nn.logsumexp(log_w + each.sum(axis=1))
        return joint, jax.nn.logsumexp(log_w[:, None] + each, axis=0)

    return jax.lax.map(row, jnp.arange(n), batch_size=BLOCK)


def split(mean: Array, log_var: Array, key: Key, weights: Weights) -> Split:
    """Eq. 1 from one draw of each q(z | x_j) = N(mean_j, exp(log_var_j)), both [n, latent]."""
    z = mean + jnp.exp(log_var / 2) * jax.random.normal(key, mean.shape)
    joint, alone = log_aggregate(z, mean, log_var, weights)
    prior = -0.5 * (z**2 + jnp.log(2 * jnp.pi))
    return Split(
        mutual_information=gaussian_log_prob(z, mean, log_var) - joint,
        total_correlation=joint - alone.sum(axis=1),
        dimension_wise_kl=alone - prior,
    )


def activity(mean: Array) -> Array:
    """The variance over a set of E[z_d | x], [latent], from the posteriors' means [n, latent]."""
    return mean.var(axis=0)


def active_units(mean: Array) -> int:
    """How many latent variables have an activity above ACTIVE (Burda et al. 2016, section 5.2): the others say nothing of x."""
    return int((activity(mean) > ACTIVE).sum())
