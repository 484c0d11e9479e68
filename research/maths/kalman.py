"""Kalman's filter and the smoother of Rauch, Tung and Striebel, with roots of covariances in place of covariances.

    z_1 ~ N(m, V),   z_t = A z_{t-1} + N(0, I),   x_t = C z_t + N(0, R),   R diagonal                               (1)

The noise of the state is the identity: any other is a change of the state's basis. With P = L L^T the covariance of z_t
given x_1..t-1 (Kalman 1960, J. Basic Eng. 82), F = C L, the inverse noise W of what is seen (0 elsewhere), e = x - C mean,

    I + F^T W F = G G^T,   u = G^-T G^-1 F^T W e,   mean <- mean + L u,   P <- S S^T,   S = L G^-T                  (2)
    -2 log p(x_t | x_1..t-1) = |u|^2 + |W^1/2 (e - F u)|^2 + 2 log |G| + sum over what is seen of log 2 pi R        (3)
    next: mean <- A mean,   [A S, I]^T = (orthogonal) L^T,   so that L L^T = A P A^T + I                            (4)

and backwards, with J = P A^T (L' L'^T)^-1 for the next step's L' (Rauch, Tung & Striebel 1965, AIAA J. 3(8)),

    mean_t|T = mean + J (mean'_|T - A mean),   P_t|T = (I - J A) P (I - J A)^T + J J^T + J P'_|T J^T                (5)
    cov(z_t, z_t+1 | x) = J P'_|T                                                                                   (6)

(2) and (4) find roots from roots, by QR, so that a covariance has the digits of its root, however many states there are and
however little noise; (3) adds squares only; (5) is a sum of squares and symmetric.

Arrays are time-major: x [time, batch, D], 0 where nothing is seen, seen [time, masks, D], exists [time, masks], where `masks`
is the batch, or 1 if all examples lack the same entries: then one covariance serves all. Where `exists` is false there is no
step at all: sequences shorter than `time` are filled up before or behind, and nothing moves there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from research.maths.gaussian import product
from research.maths.likelihoods import LOG_2PI
from research.types import Array, Key

Result = TypeVar('Result')


class System(NamedTuple):
    """Eq. 1. `root` is lower triangular, V = root root^T."""

    mean: Array  # [K]
    root: Array  # [K, K]
    move: Array  # A [K, K]
    loadings: Array  # C [D, K]
    noise: Array  # the diagonal of R, [D]


class Filtered(NamedTuple):
    """Of each step: what x_1..t say of z_t, and of the next step's state."""

    mean: Array  # [time, batch, K]
    root: Array  # S [time, masks, K, K]
    next_mean: Array  # [time, batch, K]
    next_root: Array  # L' [time, masks, K, K], lower triangular


class Smoothed(NamedTuple):
    """Of each step: what all of x say of z_t, and of it together with the next step's state."""

    mean: Array  # [time, batch, K]
    covariance: Array  # [time, masks, K, K]
    next_mean: Array  # [time, batch, K]: of the next step that exists
    cross: Array  # cov(z_t, z_t+1) [time, masks, K, K]


def turned(matrices: Array) -> Array:
    return jnp.swapaxes(matrices, -1, -2)


def act(matrices: Array, vectors: Array) -> Array:
    """Each matrix [masks, i, j] on its vector [batch, j]: [batch, i]; one matrix for all is one product."""
    if len(matrices) == 1:
        return product(vectors, matrices[0].T)
    return product(matrices, vectors[..., None])[..., 0]


def quadratic(a: Array, matrices: Array) -> Array:
    """a M a^T, any leading axes alike."""
    return product(product(a, matrices), turned(a))


def divided(lower: Array, matrices: Array) -> Array:
    """L^-1 B for lower triangular L, any leading axes alike."""
    return jax.lax.linalg.triangular_solve(lower, matrices, left_side=True, lower=True)


def factored(a: Array, b: Array) -> tuple[Array, Array]:
    """O and L of L L^T = a a^T + b b^T, L lower triangular but for the signs of its columns, by QR of [a, b]^T, which never sees
    the squares; O are the rows of the orthogonal factor that belong to a: a = L O^T."""
    rotation, upper = jnp.linalg.qr(turned(jnp.concatenate([a, b], axis=-1)))
    return rotation[..., : a.shape[-1], :], turned(upper)


def log_size(lower: Array) -> Array:
    """log |det L|."""
    return jnp.log(jnp.abs(jnp.diagonal(lower, axis1=-2, axis2=-1))).sum(axis=-1)


def forward(system: System, x: Array, seen: Array, exists: Array) -> tuple[Filtered, Array]:
    """The filter, and log p(x_t | x_1..t-1) [time, batch] in nats: 0 where nothing is seen; log p(x) is their sum."""
    eye = jnp.eye(system.mean.size)
    log_noise = jnp.log(system.noise) + LOG_2PI

    def step(before: tuple[Array, Array], now: tuple[Array, Array, Array]) -> Any:
        """What is known of z_t before x_t, and x_t; what is known of z_{t+1}, and of z_t with its gain."""
        (mean, root), (x, seen, here) = before, now
        sharp = seen * jax.lax.rsqrt(system.noise)  # W^1/2 [masks, D]
        shown = product(system.loadings, root)  # F [masks, D, K]
        rotation, inner = factored(turned(shown * sharp[..., None]), jnp.broadcast_to(eye, root.shape))  # G
        inverse = divided(inner, jnp.broadcast_to(eye, inner.shape))
        error = x - product(mean, system.loadings.T)
        u = act(turned(inverse), act(turned(rotation), sharp * error))  # eq. 2
        rest = error - act(shown, u)
        volume = 2 * log_size(inner) + (seen * log_noise).sum(axis=1)
        gain = -0.5 * ((u * u).sum(axis=1) + jnp.square(sharp * rest).sum(axis=1) + volume)  # eq. 3
        known, spread = mean + act(root, u), product(root, turned(inverse))
        _, moved = factored(product(system.move, spread), jnp.broadcast_to(eye, spread.shape))  # eq. 4
        after = jnp.where(here[:, None], product(known, system.move.T), mean)
        after_root = jnp.where(here[:, None, None], moved, root)
        return (after, after_root), (Filtered(known, spread, after, after_root), gain)

    (batch, states), masks = (x.shape[1], system.mean.size), exists.shape[1]
    start = jnp.broadcast_to(system.mean, (batch, states)), jnp.broadcast_to(system.root, (masks, states, states))
    found: tuple[Filtered, Array] = jax.lax.scan(step, start, (x, seen, exists))[1]
    return found


def backward(system: System, filtered: Filtered, exists: Array) -> Smoothed:
    """The smoother, eqs. 5 and 6. Behind the end stands the state that the filter predicts, which adds nothing."""

    def step(after: tuple[Array, Array], now: tuple[Filtered, Array]) -> tuple[tuple[Array, Array], Smoothed]:
        (next_mean, next_covariance), (known, here) = after, now
        moved = product(system.move, known.root)  # A S
        gain = divided(known.next_root, product(moved, turned(known.root)))
        gain = turned(
            jax.lax.linalg.triangular_solve(known.next_root, gain, left_side=True, lower=True, transpose_a=True)
        )
        mean = known.mean + act(gain, next_mean - known.next_mean)
        rest, cross = known.root - product(gain, moved), product(gain, next_covariance)
        covariance = product(rest, turned(rest)) + product(gain, turned(gain)) + product(cross, turned(gain))
        kept = jnp.where(here[:, None], mean, next_mean), jnp.where(here[:, None, None], covariance, next_covariance)
        return kept, Smoothed(mean, covariance, next_mean, cross)

    roots = filtered.next_root[-1:].sum(axis=0)  # of the last step; no step at all is no error
    start = filtered.next_mean[-1:].sum(axis=0), product(roots, turned(roots))
    found: Smoothed = jax.lax.scan(step, start, (filtered, exists), reverse=True)[1]
    return found


def walk(system: System, exists: Array, n: int, key: Key) -> Array:
    """n paths of states [time, n, K] from eq. 1, standing still where nothing `exists` [time, n or 1]."""
    states = system.mean.size

    def step(z: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        i, here = now
        noise = jax.random.normal(jax.random.fold_in(key, i), z.shape)
        return jnp.where(here[:, None], product(z, system.move.T) + noise, z), z

    first = system.mean + product(jax.random.normal(jax.random.fold_in(key, len(exists)), (n, states)), system.root.T)
    return jax.lax.scan(step, first, (jnp.arange(len(exists)), exists))[1]


def shared(work: Callable[[Array, Array], Result], seen: Array, exists: Array) -> Result:
    """work(seen, exists) with one mask in place of the batch's [time, batch, ...] where all examples lack the same entries."""
    if seen.shape[1] == 1:
        return work(seen, exists)
    alike = (seen == seen[:, :1]).all() & (exists == exists[:, :1]).all()
    found: Result = jax.lax.cond(alike, lambda: work(seen[:, :1], exists[:, :1]), lambda: work(seen, exists))
    return found
