"""Where clusters might be: k-means++ and a few of Lloyd's iterations, as starts for EM. No network anywhere.

Arthur & Vassilvitskii 2007: the next centre is an example drawn with probability in proportion to its squared distance from
the nearest centre so far. Of several draws the one that leaves the least sum of distances is kept, as scikit-learn does.
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


def lloyd(x: Array, centres: Array, iterations: int) -> tuple[Array, Array]:
    """Centres [count, dims] after so many iterations, and the nearest of them to each example [n].

    A centre that no example is nearest to stays where it is.
    """
    origin = x.mean(axis=0)
    x, centres = x - origin, centres - origin

    def move(centres: Array, _: None) -> tuple[Array, None]:
        members = jax.nn.one_hot(distances(x, centres).argmin(axis=1), centres.shape[0])  # [n, count]
        counts = members.sum(axis=0)[:, None]
        means = product(members.T, x) / jnp.maximum(counts, 1)
        return jnp.where(counts > 0, means, centres), None

    centres = jax.lax.scan(move, centres, None, length=iterations)[0]
    return origin + centres, distances(x, centres).argmin(axis=1)
