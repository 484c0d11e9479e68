"""Two mixtures of Gaussians in the plane whose modes can be counted: the ring and the grid of VEEGAN and PacGAN.

Srivastava et al. 2017 (arXiv:1705.07761), Lin et al. 2018 (arXiv:1712.04086). Modes have equal weight and the same
standard deviation in both directions; the label of a point is its mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from research.data.raw import Raw, assemble, digest_splits
from research.data.source import Data, Split
from research.types import BadInput, ranged


class Modes(NamedTuple):
    """Means [modes, 2] float64, and the standard deviation in each direction."""

    means: np.ndarray
    sd: float


def ring() -> Modes:
    """Eight modes, evenly on the unit circle, sd 0.01."""
    angle = 2 * np.pi * np.arange(8) / 8
    return Modes(np.stack([np.cos(angle), np.sin(angle)], axis=1), 0.01)


def grid() -> Modes:
    """Twenty-five modes at {-4, -2, 0, 2, 4} squared, sd 0.05."""
    side = np.arange(-4.0, 5.0, 2.0)
    return Modes(np.stack(np.meshgrid(side, side, indexing='ij'), axis=-1).reshape(-1, 2), 0.05)


def modes(name: str) -> Modes:
    """The modes of the toy set `name`."""
    if name == 'ring':
        return ring()
    if name == 'grid':
        return grid()
    raise BadInput(f"Toy set {name!r} is unknown: it may be 'ring' or 'grid'.")


def draw(mixture: Modes, count: int, rng: np.random.Generator) -> Split:
    """`count` points [count, 2] float32 and their modes."""
    mode = rng.integers(len(mixture.means), size=count)
    x = mixture.means[mode] + mixture.sd * rng.standard_normal((count, 2))
    return Split(x=x.astype(np.float32), label=mode.astype(np.int32))


@dataclass(frozen=True, kw_only=True)
class Toy:
    """Points drawn once, from `seed`; the test points from a stream of their own."""

    name: Literal['ring', 'grid'] = 'ring'
    train: int = ranged(20000, at_least=1)
    test: int = ranged(5000, at_least=1)
    seed: int = ranged(0, at_least=0)

    def load(self, data_dir: str | None = None) -> Data:
        """Data with float32 points [n, 2]; no folder is looked at."""
        mixture = modes(self.name)
        for field, count in (('train', self.train), ('test', self.test)):
            if count < 1:
                raise BadInput(f'{field}={count} is out of range: at least one point is needed.')
        train = draw(mixture, self.train, np.random.default_rng([self.seed, 0]))
        test = draw(mixture, self.test, np.random.default_rng([self.seed, 1]))
        notes = {
            'source': f'{len(mixture.means)} Gaussians with sd {mixture.sd}, drawn with seed {self.seed}',
            'test': 'drawn from a stream of its own',
        }
        raw = Raw(train=train, test=test, levels=0, sha256=digest_splits(train, None, test), notes=notes)
        return assemble(raw, name=self.name, values='as_is', modality='points')
