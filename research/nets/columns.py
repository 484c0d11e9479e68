"""Convolution as matrix products, for CPU: the three faces of the trilinear form of conv.py.

    down       shifted strided slices, gathered to columns, times the kernel: one product
    up         one product whose columns are added where they overlap, or, where the image has the more channels, one
               product for each output phase (stride squared of them, each with its share of the taps): whichever moves
               less memory. Then depth to space
    correlate  the columns of `down`, transposed, times the map: one product

A batch is cut so that the columns of a piece stay in cache (two cores, GFLOP/s of down, up, correlate, batch 64, 3x3
kernels, whole batch against pieces: 32x32x64 51 58 38 against 105 93 96; 16x16x128 84 80 61 against 143 129 128).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jax import lax

from research.types import Array

Pair = tuple[int, int]
Lowering = Literal['auto', 'matmul', 'xla']
PIECE = 5_000_000  # bytes; between 2 and 5 MB were best with 1 MiB of L2 cache for each core and 32 MiB shared


class Geometry(NamedTuple):
    """The integers of T, rows then columns. The padding above follows: (map - 1) stride + kernel - image - low."""

    kernel: Pair
    stride: Pair
    low: Pair  # zeros before the image; negative crops
    image: Pair
    map: Pair
    lowering: Lowering

    @property
    def pads(self) -> tuple[Pair, ...]:
        rows = zip(self.low, self.map, self.stride, self.kernel, self.image, strict=True)
        return tuple((low, (m - 1) * s + k - image - low) for low, m, s, k, image in rows)


def _columns(g: Geometry, image: Array) -> Array:
    """What each position of the map sees: [b, *g.image, c] -> [b, *g.map, kh * kw * c]."""
    padded = lax.pad(image, jnp.zeros((), image.dtype), [(0, 0, 0), *((lo, hi, 0) for lo, hi in g.pads), (0, 0, 0)])
    (h, w), (s, t) = g.map, g.stride
    batch, _, _, c = image.shape
    taps = itertools.product(range(g.kernel[0]), range(g.kernel[1]))
    return jnp.concatenate(
        [
            lax.slice(padded, (0, i, j, 0), (batch, i + (h - 1) * s + 1, j + (w - 1) * t + 1, c), (1, s, t, 1))
            for i, j in taps
        ],
        axis=-1,
    )


def _pieces(g: Geometry, x: Array, channels: int) -> Callable[[Array], Array]:
    """Cuts a batch so that the columns of a piece stay near PIECE bytes: [b, ...] -> [pieces, b / pieces, ...]."""
    example = math.prod(g.map) * math.prod(g.kernel) * channels * x.dtype.itemsize
    batch = x.shape[0]
    size = max(n for n in range(1, batch + 1) if batch % n == 0 and (n == 1 or n * example <= PIECE))
    return lambda x: x.reshape(batch // size, size, *x.shape[1:])


def _map_pieces(function: Callable[[Array], Array], pieces: Array) -> Array:
    if pieces.shape[0] == 1:
        return function(pieces[0])
    y = lax.map(function, pieces)
    return y.reshape(-1, *y.shape[2:])


def down(g: Geometry, image: Array, kernel: Array) -> Array:
    weights = kernel.reshape(-1, kernel.shape[3])
    return _map_pieces(lambda image: _columns(g, image) @ weights, _pieces(g, image, image.shape[3])(image))


def correlate(g: Geometry, image: Array, map_: Array) -> Array:
    def product(image: Array, map_: Array) -> Array:
        return jnp.tensordot(_columns(g, image), map_, axes=((0, 1, 2), (0, 1, 2)))  # [kh * kw * c, f]

    cut = _pieces(g, image, image.shape[3])
    images, maps = cut(image), cut(map_)
    total = product(images[0], maps[0])
    if images.shape[0] > 1:
        total = lax.scan(lambda total, piece: (total + product(*piece), None), total, (images[1:], maps[1:]))[0]
    return total.reshape(*g.kernel, image.shape[3], map_.shape[3])


def up(g: Geometry, map_: Array, kernel: Array) -> Array:
    pieces = _pieces(g, map_, min(kernel.shape[2:]))(map_)
    return _map_pieces(lambda map_: _up_piece(g, map_, kernel), pieces)


def _up_piece(g: Geometry, map_: Array, kernel: Array) -> Array:
    """Pixel p of the padded image, p = s m + a, is touched by tap i = a + s u at map position m - u."""
    (s, t), (kh, kw), channels = g.stride, g.kernel, kernel.shape[2]
    reach = ((kh - 1) // s, (kw - 1) // t)
    phase = _scattered(g, map_, kernel, reach) if channels <= map_.shape[3] else _gathered(g, map_, kernel, reach)
    grid = jnp.stack([jnp.stack([phase(a, b) for b in range(t)], axis=3) for a in range(s)], axis=2)
    rows, cols = s * (g.map[0] + reach[0]), t * (g.map[1] + reach[1])
    full = grid.reshape(map_.shape[0], rows, cols, channels)  # depth to space, with the padding still there
    crop = [(-low, low + n - have, 0) for low, n, have in zip(g.low, g.image, (rows, cols), strict=True)]
    return lax.pad(full, jnp.zeros((), full.dtype), [(0, 0, 0), *crop, (0, 0, 0)])


def _phase_taps(g: Geometry, a: int, b: int) -> list[Pair]:
    return list(itertools.product(range(a, g.kernel[0], g.stride[0]), range(b, g.kernel[1], g.stride[1])))


def _shift(g: Geometry, x: Array, tap: Pair, reach: Pair) -> Array:
    """x moved by u = tap // stride within a grid of g.map + reach positions."""
    moves = [(k // s, r - k // s, 0) for k, s, r in zip(tap, g.stride, reach, strict=True)]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *moves, (0, 0, 0)])


def _scattered(g: Geometry, map_: Array, kernel: Array, reach: Pair) -> Callable[[int, int], Array]:
    """One product for all taps; a phase adds its taps' slices where they fall. Moves kh kw c per position."""
    c, f = kernel.shape[2:]
    spread = map_ @ kernel.reshape(-1, f).T  # [b, *g.map, kh * kw * c]
    zero = jnp.zeros((map_.shape[0], g.map[0] + reach[0], g.map[1] + reach[1], c), map_.dtype)

    def phase(a: int, b: int) -> Array:
        starts = [((i * g.kernel[1] + j) * c, (i, j)) for i, j in _phase_taps(g, a, b)]
        return sum((_shift(g, spread[..., at : at + c], tap, reach) for at, tap in starts), start=zero)

    return phase


def _gathered(g: Geometry, map_: Array, kernel: Array, reach: Pair) -> Callable[[int, int], Array]:
    """One product for each phase over the map positions that touch it. Moves kh kw f per position."""
    c = kernel.shape[2]

    def phase(a: int, b: int) -> Array:
        taps = _phase_taps(g, a, b)
        if not taps:  # a stride larger than the kernel leaves pixels that nothing touches
            return jnp.zeros((map_.shape[0], g.map[0] + reach[0], g.map[1] + reach[1], c), map_.dtype)
        columns = jnp.concatenate([_shift(g, map_, tap, reach) for tap in taps], axis=-1)
        weights = jnp.concatenate([kernel[i, j].T for i, j in taps], axis=0)  # [taps * f, c]
        return columns @ weights

    return phase
