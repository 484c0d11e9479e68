"""Clusters by k-means: k-means++ for a start, then Lloyd's iterations. Starts for EM, and the bins of NDB. No network anywhere.

Arthur & Vassilvitskii 2007: the next centre is an example drawn with probability in proportion to its squared distance from
the nearest centre so far. Of several draws the one that leaves the least sum of distances is kept, as scikit-learn does.
Lloyd 1982: each example belongs to the nearest centre, and each centre moves to the mean of its examples.

On 45000 MNIST images and 100 clusters an iteration takes 0.2 s on two CPU cores, because members are added up by index: as a
product with their indicators the sum alone took as long as all distances.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from research.maths.gaussian import product
from research.types import Array, Key


def distances(x: Array, centres: Array) -> Array:
    """Squared distances [n, centres] of x [n, dims], both about one origin that is near them; none is negative."""
    squares = (x * x).sum(axis=1)[:, None] - 2 * product(x, centres.T) + (centres * centres).sum(axis=1)
    return jnp.maximum(squares, 0.0)


def nearest(x: Array, centres: Array) -> Array:
    """Index of the nearest centre [n], the first of equals; x and centres about one origin that is near them."""
    return ((centres * centres).sum(axis=1) - 2 * product(x, centres.T)).argmin(axis=1)


def plus_plus(key: Key, x: Array, count: int) -> Array:
    """[count] indices of examples of x [n, dims]. Where all examples are centres already, any may be drawn again."""
    x = x - x.mean(axis=0)
    trials = 2 + int(math.log(count))
    key_first, key_next = jax.random.split(key)
    first = jax.random.randint(key_first, (), 0, x.shape[0])

    def draw(nearest: Array, i: Array) -> tuple[Array, Array]:
        logits = jnp.where(nearest.max() > 0, jnp.log(nearest), 0.0)
        tried = jax.random.categorical(jax.random.fold_in(key_next, i), logits, shape=(trials,))
        left = jnp.minimum(nearest[:, None], distances(x, x[tried]))  # [n, trials]
        best = left.sum(axis=0).argmin()
        return left[:, best], tried[best]

    start = distances(x, x[first][None])[:, 0]
    return jnp.append(first, jax.lax.scan(draw, start, jnp.arange(count - 1))[1])


def moved(x: Array, centres: Array) -> Array:
    """Centres [count, dims] after one iteration. A centre that no example is nearest to stays where it is."""
    members, count = nearest(x, centres), centres.shape[0]
    counts = jax.ops.segment_sum(jnp.ones(x.shape[0]), members, count)[:, None]
    means = jax.ops.segment_sum(x, members, count) / jnp.maximum(counts, 1)
    return jnp.where(counts > 0, means, centres)


def lloyd(x: Array, centres: Array, iterations: int, tolerance: float = 0.0) -> tuple[Array, Array]:
    """Centres [count, dims] after at most so many iterations, and the nearest of them to each example [n].

    They end early once the centres' mean squared move is no more than `tolerance` times the variance of x, summed over its
    variables; at 0 only when nothing moves any more. From 1e-5 on, MNIST's sum of distances falls by less than 0.1 %.
    """
    origin = x.mean(axis=0)
    x = x - origin
    enough = tolerance * (x * x).sum(axis=1).mean()

    def on(state: tuple[Array, Array, Array]) -> Array:
        _, i, move = state
        return (i < iterations) & (move > enough)

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        centres, i, _ = state
        new = moved(x, centres)
        return new, i + 1, jnp.square(new - centres).sum(axis=1).mean()

    centres = jax.lax.while_loop(on, step, (centres - origin, jnp.int32(0), jnp.float32(jnp.inf)))[0]
    return origin + centres, nearest(x, centres)


def cluster(key: Key, x: Array, count: int, iterations: int = 100, tolerance: float = 1e-5) -> tuple[Array, Array]:
    """k-means from a k-means++ start: centres [count, dims] and the nearest of them to each example of x [n, dims]."""
    return lloyd(x, x[plus_plus(key, x, count)], iterations, tolerance)
