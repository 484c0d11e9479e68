"""Sprites: one white shape on black, drawn from five factors that are known. After dSprites (Matthey et al. 2017).

A picture is decided by its shape (square, ellipse, heart), scale, rotation, and the place of its centre across (x) and down
(y); factor i takes `sizes[i]` values, evenly spaced. A shape is what lies inside a curve, in units of the radius r of the
circle about it, u to the right and v upwards, turned by the angle a:

    (u, v) = ((cos a, sin a), (-sin a, cos a)) (column - x, y - row) / r
    square    max(|u|, |v|) <= 1 / sqrt 2
    ellipse   u^2 + 4 v^2 <= 1
    heart     (U^2 + V^2 - 1)^3 <= U^2 V^3,   (U, V) = REACH (u, v)                                               (1)

and a pixel is 1 where its centre is inside, else 0: no grey edges, as in dSprites, so that a Bernoulli is a likelihood of the
pictures and its nats compare with those of models without a network.

Two things are other than in dSprites, for one reason: what a factor did must show, or no code can tell the factor, and each
metric of it has a ceiling below 1. dSprites turns its shapes through a whole turn in 40 steps, and a square looks the same
four times in it; here they go through a quarter (`turn`), which is all that a square has. And its 6 scales, 40 angles and
32 x 32 places are more than 32 x 32 pixels can tell apart: here 6, 8 and 16 x 16, with whole pixels between two places at
a side of 32, so that no two of the 36864 cells have the same picture. `sizes=(3, 6, 40, 32, 32)`, `turn=1`, `side=64` and
so many `examples` of its 737280 cells are dSprites in all but the outlines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from research.data.raw import TEST_SEED, Raw, assemble, digest_splits, hold_out
from research.data.source import Data, Split, Values
from research.types import BadInput, ranged

FACTORS = ('shape', 'scale', 'rotation', 'x', 'y')
SHAPES = ('square', 'ellipse', 'heart')
RADIUS = 33 / 128  # of the side: the largest circle
FIRST, LAST = (
    35 / 128,
    95 / 128,
)  # centres: no circle is cut off, and none lies evenly between pixels, which hides scales
SMALLEST = 0.5  # of the largest
REACH = 1.4246  # how far the heart's curve goes from its origin
BLOCK = 500  # pictures drawn at once
MOST = 2**31  # bytes of pictures


@dataclass(frozen=True, kw_only=True)
class Sprites:
    """Pictures [side, side, 1] of 0 and 1, with the factors of each: a random part of the grid of all their values.

    side       pixels
    sizes      values of each factor: shape, scale, rotation, x, y
    turn       the part of a whole turn that rotation goes through; 1 as in dSprites
    examples   so many cells of the grid are drawn; none: all of them
    values     how pictures are shown to a model: see `source.prepare`; they are binary as they are
    valid      so many of the last training examples are held out for validation
    test       so many of the examples are the test split
    seed       decides which cells are drawn, and which of them are tested on
    test_seed  what dequantisation of the test split is drawn from
    """

    name: Literal['sprites'] = 'sprites'
    side: int = ranged(32, at_least=16, at_most=256)
    sizes: tuple[int, ...] = ranged((3, 6, 8, 16, 16), at_least=1)
    turn: float = ranged(0.25, above=0, at_most=1)
    examples: int | None = ranged(None, at_least=2, optional=True)
    values: Values = 'as_is'
    valid: int = ranged(0, at_least=0)
    test: int = ranged(10000, at_least=1)
    seed: int = ranged(0, at_least=0)
    test_seed: int = ranged(TEST_SEED, at_least=0)

    def load(self, data_dir: str | None = None) -> Data:
        """Data with uint8 pictures [n, side, side, 1] and int32 factors [n, 5]; no folder is looked at."""
        factors = self._cells()
        x = draw(factors, self.side, self.sizes, self.turn)
        train, test = hold_out(Split(x=x, factors=factors), self.test)
        turned = f'a turn of {360 * self.turn:g} degrees'
        raw = Raw(
            train=train,
            test=test,
            levels=2,
            sha256=digest_splits(train, None, test),
            notes={
                'source': f'sprites of {self.side} pixels, {turned}, cells drawn with seed {self.seed}',
                'factors': dict(zip(FACTORS, self.sizes, strict=True)),
                'test': 'cells of the grid that are not trained on',
            },
            factors=dict(zip(FACTORS, self.sizes, strict=True)),
        )
        return assemble(
            raw, name=self.name, values=self.values, modality='image', valid=self.valid, test_seed=self.test_seed
        )

    def _cells(self) -> np.ndarray:
        """Factor values [n, 5] int32 of the cells that are drawn. Raises BadInput where there cannot be so many."""
        if len(self.sizes) != len(FACTORS) or not all(1 <= size < 2**10 for size in self.sizes):
            raise BadInput(
                f'sizes={self.sizes}: expected five numbers below 1024, of values of {", ".join(FACTORS[:-1])} and y.'
            )
        if self.sizes[0] > len(SHAPES):
            raise BadInput(f'sizes={self.sizes}: there are {len(SHAPES)} shapes, so the first is at most that.')
        cells = int(np.prod(self.sizes))
        count = cells if self.examples is None else self.examples
        if count > cells:
            raise BadInput(f'examples={count}: the grid of {self.sizes} has {cells} cells; expected at most that.')
        if count * self.side**2 > MOST:
            fit = MOST // self.side**2
            raise BadInput(f'{count} pictures of {self.side} pixels do not fit into 2 GiB: set examples={fit} or less.')
        if not 1 <= self.test < count:
            raise BadInput(f'test={self.test} is out of range: there are {count} examples, so 1 to {count - 1}.')
        drawn = np.random.default_rng(self.seed).permutation(cells)[:count]
        return np.stack(np.unravel_index(drawn, self.sizes), axis=1).astype(np.int32)


def draw(factors: np.ndarray, side: int, sizes: tuple[int, ...], turn: float) -> np.ndarray:
    """Pictures uint8 [n, side, side, 1] of factor values [n, 5]."""
    x = np.empty((len(factors), side, side, 1), np.uint8)
    form = np.ravel_multi_index(tuple(factors[:, :3].T), sizes[:3])  # shape, scale and rotation
    order = np.argsort(form, kind='stable')
    for rows in np.split(order, np.flatnonzero(np.diff(form[order])) + 1):
        for first in range(0, len(rows), BLOCK):
            part = rows[first : first + BLOCK]
            x[part, ..., 0] = level(factors[part], side, sizes, turn) <= 0
    return x


def level(factors: np.ndarray, side: int, sizes: tuple[int, ...], turn: float) -> np.ndarray:
    """Eq. 1 as left minus right, at the pixels' centres: [n, side, side], at most 0 inside. All of one form."""
    shape, scale, rotation = factors[0, :3]
    r = RADIUS * np.linspace(SMALLEST, 1, sizes[1])[scale] if sizes[1] > 1 else RADIUS
    angle = 2 * np.pi * turn * rotation / sizes[2]
    centres = (np.arange(side) + 0.5) / side
    across = (centres - place(factors[:, 3], sizes[3])[:, None])[:, None, :] / r  # [n, 1, side]
    up = (place(factors[:, 4], sizes[4])[:, None] - centres)[:, :, None] / r  # [n, side, 1]
    u, v = np.cos(angle) * across + np.sin(angle) * up, np.cos(angle) * up - np.sin(angle) * across
    if SHAPES[shape] == 'square':
        return np.maximum(np.abs(u), np.abs(v)) - np.sqrt(0.5)
    if SHAPES[shape] == 'ellipse':
        return u * u + 4 * v * v - 1
    u, v = REACH * u, REACH * v
    return (u * u + v * v - 1) ** 3 - u * u * v**3


def place(value: np.ndarray, size: int) -> np.ndarray:
    """Centres as parts of the side, [n], of values [n] of x or y: from FIRST to LAST, or the middle of the two."""
    return np.linspace(FIRST, LAST, size)[value] if size > 1 else np.full(len(value), (FIRST + LAST) / 2)
