"""The von Mises-Fisher density on the unit sphere in R^m, m >= 3: proportional to exp(kappa mean'z).

Its normaliser holds a modified Bessel function (Mardia & Jupp 2000, section 9.3.2), v = m/2 - 1,

    log C_m(kappa) = v log kappa - (m/2) log 2 pi - log I_v(kappa),       A_m(kappa) = I_{v+1}(kappa) / I_v(kappa),           (1)

A_m being the mean of mean'z. Ratios r_j = I_{j+1} / I_j come from the recurrence that is stable downwards, r_{j-1} =
1 / (2 j / kappa + r_j) (DLMF 10.29.1), and I_v from one of high order, where Debye's expansion (DLMF 10.41.3) has its error
below 1e-7: log I_v = log I_{v+n} - sum_j log r_{v+j}.

z = (w, sqrt(1 - w^2) times a direction of the sphere one dimension lower), w by rejection (Ulrich 1984; Wood 1994), then turned so
that the first axis becomes the mean (Davidson et al. 2018, arXiv:1804.00891, algorithm 1). w has a density in one dimension,
f(w) ~ exp(kappa w) (1 - w^2)^((m-3)/2), so its derivative is exact by implicit reparameterisation (Figurnov et al. 2018,
arXiv:1805.08498, eq. 5), with nothing to correct for what was rejected:

    dw/dkappa = - (dF/dkappa)(w) / f(w) = - (1/f(w)) integral_{-1}^{w} (t - A) f(t) dt                                    (2)
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.types import Array, Key

ORDERS = 24  # n: how far above v Debye's expansion is taken
WARMING = 24  # steps of the recurrence that only forget where it started
NODES, DEPTH = 64, 40.0  # of Gauss-Legendre quadrature; how many units of 1 / kappa away from w it reaches


def log_area(dims: int) -> float:
    """log of the area of the unit sphere in R^dims."""
    return math.log(2) + dims / 2 * math.log(math.pi) - math.lgamma(dims / 2)


def _debye(order: float, x: Array) -> Array:
    """log I_order(x) for a high order, with four terms."""
    z = x / order
    root = jnp.sqrt(1 + z * z)
    t = 1 / root
    eta = root + jnp.log(z) - jnp.log1p(root)
    u1 = t * (3 - 5 * t**2) / 24
    u2 = t**2 * (81 - 462 * t**2 + 385 * t**4) / 1152
    u3 = t**3 * (30375 - 369603 * t**2 + 765765 * t**4 - 425425 * t**6) / 414720
    series = u1 / order + u2 / order**2 + u3 / order**3
    return order * eta - 0.5 * (math.log(2 * math.pi * order) + jnp.log(root)) + jnp.log1p(series)


def _ratios(order: float, x: Array) -> tuple[Array, Array]:
    """r_order, and log I_order - log I_{order + ORDERS}."""
    top = order + ORDERS + WARMING
    r = x / (top + 0.5 + jnp.sqrt((top + 1.5) ** 2 + x * x))  # Amos 1974, eq. 11: r_top from below
    total = jnp.zeros_like(x)
    for j in range(ORDERS + WARMING, 0, -1):
        r = 1 / (2 * (order + j) / x + r)  # r_{order + j - 1}
        total = total - jnp.log(r) if j <= ORDERS else total
    return r, total


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def log_bessel(order: float, x: Array) -> Array:
    """log I_order(x) for x > 0; its derivative is order / x + I_{order+1} / I_order."""
    return _debye(order + ORDERS, x) + _ratios(order, x)[1]


@log_bessel.defjvp
def _log_bessel_derivative(order: float, primals: Any, tangents: Any) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    return log_bessel(order, x), (order / x + _ratios(order, x)[0]) * dx


def log_normaliser(kappa: Array, dims: int) -> Array:
    """log C_m(kappa) of eq. 1."""
    v = dims / 2 - 1
    return v * jnp.log(kappa) - dims / 2 * math.log(2 * math.pi) - log_bessel(v, kappa)


def mean_length(kappa: Array, dims: int) -> Array:
    """A_m(kappa) of eq. 1, the length of the mean of z."""
    return _ratios(dims / 2 - 1, kappa)[0]


def draw(key: Key, direction: Array, kappa: Array, draws: int) -> Array:
    """z [draws, batch, m] about `direction` [batch, m] of unit length, kappa [batch]."""
    dims = direction.shape[-1]
    key_w, key_v = jax.random.split(key)
    w = along(key_w, jnp.broadcast_to(kappa, (draws, *kappa.shape)), dims)[..., None]  # [draws, batch, 1]
    v = jax.random.normal(key_v, (*w.shape[:-1], dims - 1))
    v = v / jnp.linalg.norm(v, axis=-1, keepdims=True)
    z = jnp.concatenate([w, jnp.sqrt(jnp.maximum(1 - w * w, 1e-12)) * v], axis=-1)
    axis = jnp.zeros(dims).at[0].set(1.0) - direction  # a Householder reflection takes the first axis to the direction
    axis = axis / jnp.sqrt((axis**2).sum(axis=-1, keepdims=True) + 1e-12)
    return z - 2 * (z * axis).sum(axis=-1, keepdims=True) * axis


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def along(key: Key, kappa: Array, dims: int) -> Array:
    """w = mean'z, as many as kappa has entries; differentiable in kappa by eq. 2."""
    return _rejected(key, kappa, dims)


@along.defjvp
def _along_derivative(dims: int, primals: Any, tangents: Any) -> tuple[Array, Array]:
    (key, kappa), (_, dkappa) = primals, tangents
    w = along(key, kappa, dims)
    return w, _slope(w, kappa, dims) * dkappa


def _rejected(key: Key, kappa: Array, dims: int) -> Array:
    """Wood 1994, algorithm VM*: all entries are proposed again until the last is accepted."""
    m = dims - 1
    b = m / (2 * kappa + jnp.sqrt(4 * kappa**2 + m**2))
    x0 = (1 - b) / (1 + b)
    c = kappa * x0 + m * jnp.log1p(-(x0**2))

    def propose(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        i, w, done = carry
        key_beta, key_u = jax.random.split(jax.random.fold_in(key, i))
        y = jax.random.beta(key_beta, m / 2, m / 2, kappa.shape)
        new = (1 - (1 + b) * y) / (1 - (1 - b) * y)
        good = kappa * new + m * jnp.log1p(-x0 * new) - c >= jnp.log(jax.random.uniform(key_u, kappa.shape))
        return i + 1, jnp.where(done, w, new), done | good

    first = (jnp.int32(0), jnp.zeros_like(kappa), jnp.zeros(kappa.shape, bool))
    return jax.lax.while_loop(lambda carry: ~carry[2].all(), propose, first)[1]


def _slope(w: Array, kappa: Array, dims: int) -> Array:
    """dw/dkappa of eq. 2; all densities relative to that at w, so that nothing overflows. Above the mean the integral is taken
    from w to 1, where there is less of it: over all w it is zero."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    mean = mean_length(kappa, dims)
    above = w > mean
    reach = (DEPTH + 10 * math.sqrt(dims)) / kappa  # some deviations of f, however many dimensions there are
    low = jnp.where(above, w, jnp.maximum(-1.0, w - reach))
    half = (jnp.where(above, jnp.minimum(1.0, w + reach), w) - low) / 2
    t = low[..., None] + half[..., None] * jnp.asarray(1 + nodes, w.dtype)
    power = (dims - 3) / 2
    ratio = jnp.log(jnp.maximum(1 - t * t, 1e-12)) - jnp.log(jnp.maximum(1 - w * w, 1e-12))[..., None]
    f = jnp.exp(kappa[..., None] * (t - w[..., None]) + power * ratio)
    total = half * ((t - mean[..., None]) * f * jnp.asarray(weights, w.dtype)).sum(axis=-1)
    return jnp.where(above, total, -total)
