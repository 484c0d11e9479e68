"""Trees over variables: which tree, and sums over all states of one. Chow & Liu 1968, IEEE Trans. Inf. Theory 14; Pearl 1988.

A tree is (order [d], parent [d]): each variable comes after its parent, and the root, which comes first, is its own parent.
A model on it has tables T [d, K, K], T[i, a, b] = p(z_i = a | z_parent(i) = b), where the root's do not depend on b; what is
seen of variable i is its evidence e_i(a) = p(seen | z_i = a), of shape [d, K, batch]. Then

    u_i(a) = e_i(a) prod_{children c} m_c(a),    m_i(b) = sum_a T[i, a, b] u_i(a),    p(seen) = m_root        (1)
    p(z_i = a, z_parent = b | seen) = p(z_parent = b | seen) T[i, a, b] u_i(a) / m_i(b)                       (2)

in linear space with the maximum over states taken out of each product, so that one step is a matrix product and no
logarithm of more than [batch] numbers. The tree is data, found while a program runs: the passes are scans over the order.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.types import Array, Key

TINY = 1e-30  # what a probability may not go below before its logarithm is taken


class Tree(NamedTuple):
    order: Array  # [d] int32
    parent: Array  # [d] int32


def cross(a: Array, b: Array, c: Array, d: Array) -> Array:
    """a b - c d for whole numbers from 0 to 2**24, to the relative precision of float32: the products are never rounded.

    With x = 2**12 x_1 + x_0, all partial products fit in int32; their differences are carried upwards before they are added.
    """

    def halves(x: Array) -> tuple[Array, Array]:
        x = x.astype(jnp.int32)
        return x >> 12, x & 4095

    (a1, a0), (b1, b0), (c1, c0), (d1, d0) = halves(a), halves(b), halves(c), halves(d)
    low = a0 * b0 - c0 * d0
    middle = a1 * b0 + a0 * b1 - c1 * d0 - c0 * d1 + ((low + 2048) >> 12)
    high = a1 * b1 - c1 * d1 + ((middle + 2048) >> 12)
    low, middle = ((low + 2048) & 4095) - 2048, ((middle + 2048) & 4095) - 2048
    return high.astype(jnp.float32) * 2.0**24 + (middle * 4096.0 + low)


def pairs(n: Array, both: Array) -> Array:
    """Counts [2, 2, d, d] of (x_i = a, x_j = b) among `n` examples, from those [d, d] of both being 1.

    Where examples have weights, rounding may not take a count below 0."""
    ones = jnp.diagonal(both)
    first, second = ones[:, None] - both, ones[None] - both
    table = jnp.stack([jnp.stack([n - ones[:, None] - second, second]), jnp.stack([first, both])])
    return jnp.maximum(table, 0)


def mutual_information(n: Array, both: Array, alpha: Array | float) -> Array:
    """Nats [d, d] between binary variables, from the tables P(a, b) = (count + alpha) / (n + 4 alpha) of whole numbers.

    D = P(1, 1) P(0, 0) - P(1, 0) P(0, 1) is had without a rounded product, so that a small I is as exact as a large one:
    which of two edges is better is often a matter of the seventh digit.
    """
    counts, total = pairs(n, both), n + 4 * alpha
    excess = cross(counts[1, 1], counts[0, 0], counts[1, 0], counts[0, 1])
    slope = counts[1, 1] + counts[0, 0] - counts[1, 0] - counts[0, 1]
    return information((counts + alpha) / total, (excess + alpha * slope) / total**2)


def weighted_information(n: Array, both: Array, alpha: Array | float) -> Array:
    """The same from counts in which each example has a weight of its own: D to the precision of float32, 1e-7."""
    p = (pairs(n, both) + alpha) / (n + 4 * alpha)
    return information(p, p[1, 1] * p[0, 0] - p[1, 0] * p[0, 1])


def information(p: Array, d: Array) -> Array:
    """Nats [d, d] from the tables p [2, 2, d, d] and D = P(1, 1) P(0, 0) - P(1, 0) P(0, 1).

    P(a, b) = P(a) P(b) (1 + x) with x = +-D / P(a) P(b), and since the differences add up to 0,
    I = sum_ab P(a) P(b) [(1 + x) log(1 + x) - x]: no term is negative.
    """
    ones, nulls = (jnp.diagonal(p[a, a]) + jnp.diagonal(p[1, 0]) for a in (1, 0))

    def term(a: Array, b: Array, joint: Array, d: Array) -> Array:
        alone = a[:, None] * b[None]
        x = d / alone
        small = x**2 * (1 / 2 - x * (1 / 6 - x * (1 / 12 - x * (1 / 20 - x / 30))))
        return jnp.where(jnp.abs(x) < 0.05, alone * small, joint * jnp.log(joint / alone) - d)

    same = term(ones, ones, p[1, 1], d) + term(nulls, nulls, p[0, 0], d)
    other = term(ones, nulls, p[1, 0], -d) + term(nulls, ones, p[0, 1], -d)
    return same + other


def spanning_tree(weights: Array) -> Tree:
    """The spanning tree of greatest weight over symmetric `weights` [d, d], rooted at variable 0. Prim 1957.

    Of equal edges the one whose (smaller, larger) variable comes first is taken, so that the tree is the one that Kruskal's
    algorithm finds with a stable sort. O(d^2).
    """
    d = weights.shape[0]
    every = jnp.arange(d, dtype=jnp.int32)
    lower, last = jnp.asarray(weights, jnp.float32), jnp.iinfo(jnp.int32).max

    def code(i: Array, j: Array) -> Array:
        return jnp.minimum(i, j) * d + jnp.maximum(i, j)

    def grow(k: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        order, parent, best, joined = carry
        free = joined & (best > -jnp.inf)
        top = jnp.where(free, best, -jnp.inf).max()
        new = jnp.argmin(jnp.where(free & (best == top), code(parent, every), last)).astype(jnp.int32)
        row = lower[new]
        nearer = (row > best) | ((row == best) & (code(new, every) < code(parent, every)))
        outside = joined & (every != new)
        parent = jnp.where(outside & nearer, new, parent)
        best = jnp.where(outside & nearer, row, best)
        return order.at[k].set(new), parent, jnp.where(outside, best, -jnp.inf), outside

    start = (jnp.zeros(d, jnp.int32), jnp.zeros(d, jnp.int32), lower[0].at[0].set(-jnp.inf), every != 0)
    order, parent, _, _ = jax.lax.fori_loop(1, d, grow, start)
    return Tree(order, parent)


def upward(tree: Tree, tables: Array, evidence: Array) -> tuple[Array, Array]:
    """Eq. 1: u [d, K, batch], each up to a factor of its own per example, and log p(seen) [batch] nats."""
    root = tree.order[0]

    def up(carry: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
        u, scale = carry
        above = u[tree.parent[i]] * message(tables[i], u[i])  # [K, batch]
        top = jnp.maximum(above.max(axis=0), TINY)
        return (u.at[tree.parent[i]].set(above / top), scale + jnp.log(top)), None

    start = (evidence, jnp.zeros(evidence.shape[2]))
    (u, scale), _ = jax.lax.scan(up, start, tree.order[:0:-1])
    whole = message(tables[root], u[root])[0]
    return u, scale + jnp.log(jnp.maximum(whole, TINY))


def message(table: Array, u: Array) -> Array:
    """m(b) = sum_a T[a, b] u(a), [K, batch]."""
    return jnp.matmul(table.T, u, precision=jax.lax.Precision.HIGHEST)


def draw(tree: Tree, tables: Array, u: Array, key: Key) -> Array:
    """States [d, batch] drawn from p(z | seen), from the root down: p(z_i = a | b, seen) is in proportion to T[i, a, b] u_i(a)."""
    log_t, log_u = jnp.log(jnp.maximum(tables, TINY)), jnp.log(jnp.maximum(u, TINY))
    batch = u.shape[2]

    def down(z: Array, i: Array) -> tuple[Array, None]:
        logits = log_t[i][:, z[tree.parent[i]]] + log_u[i]  # [K, batch]
        return z.at[i].set(jax.random.categorical(jax.random.fold_in(key, i), logits, axis=0)), None

    return jax.lax.scan(down, jnp.zeros((u.shape[0], batch), jnp.int32), tree.order)[0]


def most_probable(tree: Tree, tables: Array, evidence: Array) -> tuple[Array, Array]:
    """The states [d, batch] of greatest p(z, seen) and its logarithm [batch]: eq. 1 with the maximum for the sum."""
    log_t = jnp.log(jnp.maximum(tables, TINY))
    u = jnp.log(jnp.maximum(evidence, TINY))

    def up(u: Array, i: Array) -> tuple[Array, None]:
        best = (log_t[i][:, :, None] + u[i][:, None]).max(axis=0)  # [K of the parent, batch]
        return u.at[tree.parent[i]].add(best), None

    u, _ = jax.lax.scan(up, u, tree.order[:0:-1])

    def down(z: Array, i: Array) -> tuple[Array, None]:
        return z.at[i].set((log_t[i][:, z[tree.parent[i]]] + u[i]).argmax(axis=0).astype(jnp.int32)), None

    z, _ = jax.lax.scan(down, jnp.zeros((u.shape[0], u.shape[2]), jnp.int32), tree.order)
    root = tree.order[0]
    return z, (log_t[root][:, :1] + u[root]).max(axis=0)


def expected(tree: Tree, tables: Array, u: Array, weight: Array | float = 1.0) -> tuple[Array, Array]:
    """Eq. 2, from the `u` of `upward`: p(z_i = a | seen) [d, K, batch], and the sum over the batch of
    p(z_i = a, z_parent = b | seen) [d, K, K], where the root's stands in every column, divided by K. Each example counts
    with its `weight` [batch]."""
    root, states = tree.order[0], u.shape[1]
    at_root = tables[root][:, :1] * u[root]
    at_root = at_root / jnp.maximum(at_root.sum(axis=0), TINY) * weight

    def down(q: Array, i: Array) -> tuple[Array, Array]:
        ratio = q[tree.parent[i]] / jnp.maximum(message(tables[i], q[i]), TINY)
        counts = tables[i] * jnp.matmul(q[i], ratio.T, precision=jax.lax.Precision.HIGHEST)
        here = q[i] * jnp.matmul(tables[i], ratio, precision=jax.lax.Precision.HIGHEST)
        return q.at[i].set(here), counts

    q, counts = jax.lax.scan(down, u.at[root].set(at_root), tree.order[1:])
    first = jnp.broadcast_to(at_root.sum(axis=1)[:, None] / states, (1, states, states))
    return q, jnp.zeros_like(tables).at[tree.order].set(jnp.concatenate([first, counts]))
