"""The algebra of hidden Markov chains. Baum, Petrie, Soules & Weiss 1970; Rabiner 1989, Proc. IEEE 77; Viterbi 1967.

A state z_t in 1 .. K moves by a_ij = p(z_{t+1} = j | z_t = i), starts from pi, and shows x_t with log-probability e_t(j):

    forward     alpha_t(j) = p(z_t = j | x_1..t),   proportional to e^{e_t(j)} sum_i alpha_{t-1}(i) a_ij            (1)
    gain        log p(x_t | x_1..t-1), the logarithm of what (1) is divided by                                      (2)
    backward    beta_t(i), proportional to p(x_{t+1..T} | z_t = i) = sum_j a_ij e^{e_{t+1}(j)} beta_{t+1}(j)          (3)
    posterior   p(z_t = i | x) = alpha_t(i) beta_t(i) / sum_k alpha_t(k) beta_t(k)                                   (4)
    transitions p(z_t = i, z_{t+1} = j | x), proportional to alpha_t(i) a_ij e^{e_{t+1}(j)} beta_{t+1}(j)             (5)

Arrays are time-major, so that a scan reads them in order: log_emission [time, batch, K], exists [time, batch]. Where `exists` is
false there is no step at all: sequences shorter than `time` are filled up before or behind, and nothing moves there.
Every step takes out the largest exponent before it leaves logarithms, so float32 holds any length and any emission; a
probability that is smaller than 1e-37 of its neighbours counts as 1e-37, hence no logarithm is ever of zero.

`forward` and `backward` are scans, time steps of batch K^2 operations. `forward_parallel` and `backward_parallel` are the same
by prefix products of K x K matrices (Blelloch 1990; Sarkka & Garcia-Fernandez 2021, arXiv:1905.13002): log(time) rounds of
time batch K^3 operations, which only a device with work to spare wins by.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.types import Array, Key

TINY = 1e-37
Element = tuple[Array, Array]  # a matrix diag(e^scale) M: scale [..., K], M [..., K, K], each row's largest 1


class Chain(NamedTuple):
    """What is known of a chain before anything is seen: log pi [K] and log a [K, K], both finite."""

    initial: Array
    transition: Array


def product(a: Array, b: Array) -> Array:
    """A matrix product in full float32, whatever the device's default."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def scaled(log_weights: Array) -> tuple[Array, Array]:
    """e^w divided by its largest along the last axis, and the logarithm of that, [..., 1]."""
    most = jax.lax.stop_gradient(log_weights.max(axis=-1, keepdims=True))
    return jnp.exp(log_weights - most), most


def log(p: Array) -> Array:
    return jnp.log(jnp.maximum(p, TINY))


def observe(log_predicted: Array, log_emission: Array) -> tuple[Array, Array]:
    """Eqs. 1 and 2 for one step: alpha [..., K] from what was predicted, and the gain [...] in nats."""
    weights, most = scaled(log_predicted + log_emission)
    total = weights.sum(axis=-1, keepdims=True)
    return weights / total, (most + jnp.log(total))[..., 0]


def forward(chain: Chain, log_emission: Array, exists: Array) -> tuple[Array, Array]:
    """alpha [time, batch, K] and gains [time, batch] in nats: 0 where nothing exists, and log p(x) is their sum."""
    moves = jnp.exp(chain.transition)

    def step(predicted: Array, now: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        log_e, here = now
        alpha, gain = observe(predicted, log_e)
        after = log(product(alpha, moves))
        return jnp.where(here[:, None], after, predicted), (alpha, jnp.where(here, gain, 0))

    start = jnp.broadcast_to(chain.initial, log_emission.shape[1:])
    return jax.lax.scan(step, start, (log_emission, exists))[1]


def backward(chain: Chain, log_emission: Array, exists: Array) -> tuple[Array, Array]:
    """beta [time, batch, K], and e^{e_t} beta_t over its largest, which eqs. 3 and 5 take one step earlier."""
    back = jnp.exp(chain.transition).T

    def step(beta: Array, now: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        log_e, here = now
        weights, _ = scaled(log_e + log(beta))
        return jnp.where(here[:, None], product(weights, back), beta), (beta, weights)

    return jax.lax.scan(step, jnp.ones(log_emission.shape[1:]), (log_emission, exists), reverse=True)[1]


def combine(a: Element, b: Element) -> Element:
    """The product of two matrices in scaled form."""
    weights, most = scaled(log(a[1]) + b[0][..., None, :])  # [..., K, K]
    rows = product(weights, b[1])
    size = jnp.maximum(rows.max(axis=-1), TINY)
    return a[0] + most[..., 0] + jnp.log(size), rows / size[..., None]


def elements(chain: Chain, log_emission: Array, exists: Array) -> Element:
    """a_ij e^{e_t(j)} for each step; without a at the first that exists, and the identity where nothing does."""
    first = (exists & (jnp.cumsum(exists, axis=0) == 1))[..., None, None]
    identity = jnp.where(jnp.eye(chain.initial.size, dtype=bool), 0.0, -jnp.inf)
    moved = jnp.where(first, identity, chain.transition) + log_emission[..., None, :]
    weights, most = scaled(jnp.where(exists[..., None, None], moved, identity))
    return most[..., 0], weights


def forward_parallel(chain: Chain, log_emission: Array, exists: Array) -> tuple[Array, Array]:
    """`forward` by prefix products."""
    scale, matrix = jax.lax.associative_scan(combine, elements(chain, log_emission, exists))
    rows, _ = scaled(chain.initial + scale)
    alpha = product(rows[..., None, :], matrix)[..., 0, :]
    alpha = alpha / alpha.sum(axis=-1, keepdims=True)
    moved = log(product(alpha[:-1], jnp.exp(chain.transition)))
    started = (jnp.cumsum(exists, axis=0) > 0)[:-1, :, None]
    start = jnp.broadcast_to(chain.initial, (1, *log_emission.shape[1:]))
    predicted = jnp.concatenate([start, jnp.where(started, moved, chain.initial)])
    alpha, gains = observe(predicted, log_emission)
    return alpha, jnp.where(exists, gains, 0)


def backward_parallel(chain: Chain, log_emission: Array, exists: Array) -> tuple[Array, Array]:
    """`backward` by suffix products."""
    every = elements(chain, log_emission, exists)
    scale, matrix = jax.lax.associative_scan(lambda a, b: combine(b, a), every, reverse=True)
    after, _ = scaled(scale + jnp.log(matrix.sum(axis=-1)))  # E_t E_{t+1} ... 1
    beta = jnp.concatenate([after[1:], jnp.ones((1, *after.shape[1:]))])
    weights, _ = scaled(log_emission + log(beta))
    ahead = product(weights[1:], jnp.exp(chain.transition).T)  # the same up to a factor: of one scale with the weights
    return beta.at[:-1].set(jnp.where(exists[1:, :, None], ahead, beta[:-1])), weights


def expected(chain: Chain, alpha: Array, backwards: tuple[Array, Array], exists: Array) -> tuple[Array, Array]:
    """Eq. 4: posteriors [time, batch, K], 0 where nothing exists; eq. 5: expected transitions [K, K] over all pairs."""
    beta, weights = backwards
    share = alpha / (alpha * beta).sum(axis=-1, keepdims=True)  # at least a_ij / K: never divided by zero
    posterior = jnp.where(exists[..., None], share * beta, 0)
    pairs = jnp.where((exists[:-1] & exists[1:])[..., None], share[:-1], 0)
    k = alpha.shape[-1]
    moves = product(pairs.reshape(-1, k).T, weights[1:].reshape(-1, k)) * jnp.exp(chain.transition)
    return posterior, moves


def firsts(exists: Array) -> Array:
    """Where each sequence begins, [time, batch] bool."""
    return exists & (jnp.cumsum(exists, axis=0) == 1)


def lasts(exists: Array) -> Array:
    """Where each sequence ends, [time, batch] bool."""
    return firsts(exists[::-1])[::-1]


def backtrack(chosen: Array, start: Array, exists: Array) -> Array:
    """Follow `chosen` [time, batch, K], the state before each, from `start` [batch] back: [time, batch], -1 where none is."""

    def step(state: Array, now: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        before, here, last = now
        took = jnp.take_along_axis(before, state[:, None], axis=1)[:, 0]
        state = jnp.where(here & ~last, took, state)
        return state, jnp.where(here, state, -1)

    return jax.lax.scan(step, start, (chosen, exists, lasts(exists)), reverse=True)[1]


def most_probable(chain: Chain, log_emission: Array, exists: Array) -> tuple[Array, Array]:
    """Viterbi: the states [time, batch] of the most probable path (-1 where nothing is), and log p(x, path) [batch] nats."""

    def step(carry: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        predicted, best = carry
        log_e, here = now
        reached = predicted + log_e
        ways = reached[:, :, None] + chain.transition  # [batch, from, to]
        after = jnp.where(here[:, None], ways.max(axis=1), predicted)
        return (after, jnp.where(here[:, None], reached, best)), ways.argmax(axis=1)

    start = jnp.broadcast_to(chain.initial, log_emission.shape[1:])
    (_, best), chosen = jax.lax.scan(step, (start, jnp.zeros_like(start)), (log_emission, exists))
    return backtrack(chosen, best.argmax(axis=1), exists), best.max(axis=1)


def draw(chain: Chain, alpha: Array, exists: Array, key: Key) -> Array:
    """States [time, batch] from their posterior given all of x: z_T from alpha_T, then z_t from alpha_t(i) a_{i, z_{t+1}}."""

    def step(after: Array, now: tuple[Array, Array, Array, Array]) -> tuple[Array, Array]:
        i, here, last, now_alpha = now
        moved = jnp.where(last[:, None], 0.0, chain.transition.T[after])  # [batch, K]
        state = jax.random.categorical(jax.random.fold_in(key, i), log(now_alpha) + moved)
        return jnp.where(here, state, after), jnp.where(here, state, -1)

    start = jnp.zeros(alpha.shape[1], jnp.int32)
    every = (jnp.arange(alpha.shape[0]), exists, lasts(exists), alpha)
    return jax.lax.scan(step, start, every, reverse=True)[1]


def walk(chain: Chain, key: Key, n: int, steps: int) -> Array:
    """n paths of states [n, steps], from the beginning on."""
    key_first, key_moves = jax.random.split(key)

    def step(state: Array, i: Array) -> tuple[Array, Array]:
        return jax.random.categorical(jax.random.fold_in(key_moves, i), chain.transition[state]), state

    first = jax.random.categorical(key_first, chain.initial, shape=(n,))
    return jax.lax.scan(step, first, jnp.arange(steps))[1].T
