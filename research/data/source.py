"""The one thing every loader returns, and how raw arrays become what a model sees.

A loader reads a set once and keeps the training arrays raw and small: 60000 digits are 47 MB of bytes, 188 MB as
floats. What the model sees is declared by `values` and made twice: for training anew for each batch inside the compiled
epoch (`research.maths.preprocess.prepare`), for validation and test once, here, from a recorded seed, so that two runs
that quote one test figure scored the same bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from research.data.chunks import Chunks
from research.types import BadInput, Domain

Values = Literal['as_is', 'scale', 'binarise', 'threshold', 'dequantise', 'integer']


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """x [n, *shape] and, where the set has them, label [n] int32 and the values of its factors [n, factors] int32."""

    x: np.ndarray
    label: np.ndarray | None = None
    factors: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, kw_only=True, eq=False)
class Streamed:
    """Training examples that are never in memory all at once."""

    x: Chunks
    label: None = None
    factors: None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, kw_only=True)
class Alphabet:
    """Symbols and their ids: id i is the character symbols[i]; -1 is 'nothing there'."""

    symbols: str

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> np.ndarray:
        """Ids [len(text)] int16. Raises BadInput naming the first character that is not in the alphabet."""
        symbols, points = code_points(self.symbols), code_points(text)
        ids = np.minimum(np.searchsorted(symbols, points), len(symbols) - 1)
        strange = np.flatnonzero(symbols[ids] != points)
        if strange.size:
            raise BadInput(
                f'Character {text[strange[0]]!r} at position {strange[0]} is not among the {len(self)} known.'
            )
        return ids.astype(np.int16)

    def decode(self, ids: np.ndarray) -> str:
        """The text of ids of any shape, read in order; negative ids give nothing. Raises BadInput for one too large."""
        flat = np.asarray(ids).ravel()
        if flat.size and flat.max() >= len(self):
            raise BadInput(f'Symbol id {flat.max()} is outside the alphabet: ids run from 0 to {len(self) - 1}.')
        return ''.join(self.symbols[i] for i in flat if i >= 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """A set, ready to be trained on: `train` raw (an array, or chunks), `valid` and `test` as the model sees them.

    domain    what the model sees, after `values`
    sha256    of the raw content (every split, labels, dtypes and shapes), whatever is then done with it
    levels    grey levels of the raw arrays
    protocol  all that must be recorded beside a figure, as JSON values
    text      symbols and ids, for text
    lengths   for sets of sequences laid end to end: steps of each sequence, by split
    factors   for sets that were made from known factors: how many values each has, by its name
    """

    name: str
    train: Split | Streamed
    valid: Split | None
    test: Split
    domain: Domain
    sha256: str
    values: Values = 'as_is'
    levels: int = 256
    protocol: dict[str, Any] = field(default_factory=dict)
    text: Alphabet | None = None
    lengths: dict[str, np.ndarray] | None = None
    factors: dict[str, int] | None = None


def code_points(text: str) -> np.ndarray:
    """Unicode code points [len(text)] uint32."""
    return np.frombuffer(text.encode('utf-32-le', 'surrogatepass'), np.dtype('<u4'))


def digest(arrays: Mapping[str, np.ndarray | None]) -> str:
    """sha256 over (name, dtype, shape, bytes) of each array, by name; an absent one leaves no trace."""
    total = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        if array is not None:
            total.update(f'{name} {array.dtype.newbyteorder("<").str} {array.shape}\n'.encode())
            little = array.astype(array.dtype.newbyteorder('<'), copy=False)
            total.update(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def prepare(x: np.ndarray, values: Values, levels: int, rng: np.random.Generator) -> np.ndarray:
    """Raw grey levels `x` in 0 .. levels - 1 as the model's input: NumPy twin of `research.maths.preprocess.prepare`.

    scale       x / (levels - 1), in [0, 1]
    binarise    Bernoulli(x / (levels - 1)), 0.0 or 1.0 (Burda et al. 2016, arXiv:1509.00519)
    threshold   1.0 above half of the range, (levels - 1) / 2: for bytes x > 127, for 0-or-1 data x itself
    dequantise  (x + U[0, 1)) / levels, in [0, 1] (Uria et al. 2013, arXiv:1306.0186)
    integer     int32
    as_is       unchanged: int32 for signed integers (tokens, where -1 is 'nothing'), else float32

    Raw reals in [0, 1] count as levels = 2, for which the first three keep their meaning.
    """
    if values == 'integer' or (values == 'as_is' and x.dtype.kind == 'i'):
        return x.astype(np.int32)
    real = x.astype(np.float32)
    if values == 'as_is':
        return real
    if values == 'threshold':
        return (real > (levels - 1) / 2).astype(np.float32)
    if values == 'dequantise':
        return (real + rng.random(x.shape, dtype=np.float32)) / np.float32(levels)
    real /= np.float32(levels - 1)
    if values == 'scale':
        return real
    if values == 'binarise':
        return (rng.random(x.shape, dtype=np.float32) < real).astype(np.float32)
    raise BadInput(f'values={values!r} is unknown: it may be {", ".join(get_args(Values))}.')
