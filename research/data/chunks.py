"""Training examples that do not fit into memory, read a chunk at a time.

A set is cut into runs of `size` neighbouring examples. What does not fill a chunk of its own is joined to the last
one, which has `size` .. 2 `size` - 1 examples: a chunk smaller than a batch would never be trained on. An epoch takes
the chunks in an order of its own and shuffles within each (`research.engine.feed`), so two examples that lie far
apart are never in one batch: a set that is sorted by anything has to be written in random order.

Examples lie in array_record files, read with that package's reader and not with Grain. Grain's shuffle is over single
examples, reads them one by one (13 to 20 ms a batch of 128 where a chunk of the same takes 0.1 ms), and its worker
processes take 10 to 20 s to start. Here the order is a function of (seed, epoch), any chunk can be read at once, and
one thread in this process keeps ahead of the training: there is no state to save. Whole chunks are read at 1.1 GB/s
(examples of 64 KB) and 0.8 GB/s (784 bytes) per second of one core, files in the page cache.

Reading opens a file, takes what it needs and closes it (0.4 ms): the reader's own read-ahead would hold 16 MB a file.
Arrays start at a multiple of 64 bytes, because JAX on a CPU then uses them as they are: 64 MB are on the device in
0.4 ms instead of 39, and in memory once instead of twice. So who has put a chunk on a device must not write to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from research.types import BadInput

ALIGNMENT = 64  # bytes; what XLA asks of a buffer
CHUNK_BYTES = 2**25  # where nobody chose a size: an epoch of 4 GB has 128 chunks
PIECE = 2**20  # bytes taken from a file at once and then copied; with 4 MiB the allocators keep 60 MB more


class Rows(Protocol):
    """Where examples come from: so many, of one shape and type, at random access."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __len__(self) -> int: ...
    def read(self, rows: range, /) -> np.ndarray: ...  # [len(rows), *shape], new and aligned; the range ascends


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunks:
    """The first `examples` of `rows` in chunks of `size`; `exact`: somebody chose the size, so nobody may round it."""

    rows: Rows
    examples: int
    size: int
    exact: bool = True

    def __len__(self) -> int:
        return self.examples

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.rows.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.rows.dtype

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return max(1, self.examples // self.size)

    def length(self, i: int) -> int:
        """Examples in chunk `i`."""
        return self.size if i < self.count - 1 else self.examples - (self.count - 1) * self.size

    def read(self, i: int) -> np.ndarray:
        """Chunk `i`, [length(i), *shape], in memory that nobody else holds. Raises BadInput for a damaged file."""
        return self.rows.read(range(i * self.size, i * self.size + self.length(i)))

    def sampled(self, count: int) -> int:
        """How many examples `sample` gives: `count`, or what one chunk may have if that is less."""
        return min(count, self.size, self.examples)

    def sample(self, count: int) -> np.ndarray:
        """Examples from all over the set, evenly spaced, [sampled(count), *shape]."""
        n = self.sampled(count)
        stride = self.examples // n
        return self.rows.read(range(0, n * stride, stride))

    def for_batches(self, batch_size: int) -> Chunks:
        """The set in chunks that batches divide. Raises BadInput where somebody chose another size."""
        if self.size >= self.examples or self.size % batch_size == 0:
            return self
        below = self.size // batch_size * batch_size
        if not self.exact:
            return replace(self, size=max(batch_size, below))
        near = f'{below} or {below + batch_size}' if below else f'{batch_size}'
        raise BadInput(
            f'data.chunk={self.size}: what does not fill a batch of {batch_size} would go unused in each chunk; '
            f'expected a multiple, such as {near}, or none.'
        )

    def first(self, count: int) -> Chunks:
        """The set without what follows its first `count` examples."""
        return replace(self, examples=count)


def in_memory(x: np.ndarray, size: int, exact: bool = True) -> Chunks:
    """An array cut as files would be: what streaming is compared with."""
    return Chunks(rows=Memory(x=x), examples=len(x), size=size, exact=exact)


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """An array, not filled, that begins at a multiple of ALIGNMENT bytes."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    """Rows of an array."""

    x: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.x.dtype

    def __len__(self) -> int:
        return len(self.x)

    def read(self, rows: range) -> np.ndarray:
        out = aligned((len(rows), *self.shape), self.dtype)
        out[:] = self.x[rows.start : rows.stop : rows.step]
        return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Files:
    """Rows of array_record files, one after the other; each record is the bytes of one example, little-endian."""

    files: tuple[tuple[Path, int], ...]  # each with its number of records
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return sum(count for _, count in self.files)

    @property
    def bytes(self) -> int:
        """Of one example."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def read(self, rows: range) -> np.ndarray:
        out = aligned((len(rows), *self.shape), self.dtype)
        flat, done, start = out.reshape(-1).view(np.uint8), 0, 0
        for path, count in self.files:
            here = within(rows, start, count)
            if here:
                fill(flat[done * self.bytes : (done + len(here)) * self.bytes], path, count, here, self.bytes)
            done, start = done + len(here), start + count
        return out


def within(rows: range, start: int, count: int) -> range:
    """Those of `rows` that lie in start .. start + count - 1, counted from there."""
    first = max(0, -(-(start - rows.start) // rows.step))
    last = max(first, -(-(min(start + count, rows.stop) - rows.start) // rows.step))
    return range(rows.start + first * rows.step - start, rows.start + last * rows.step - start, rows.step)


def fill(out: np.ndarray, path: Path, count: int, rows: range, size: int) -> None:
    """Records of one file, of `size` bytes each, into the bytes `out`. Raises BadInput for a damaged file."""
    try:
        reader = module().ArrayRecordReader(str(path), options='readahead_buffer_size:0')
        try:
            if not reader.ok() or reader.num_records() != count:
                raise damaged(path, f'{reader.num_records()} records can be read, and its manifest says {count}')
            for first, records in pieces(reader, rows, size):
                joined = b''.join(records)
                if len(joined) != size * len(records):
                    raise damaged(path, f'a record is not of {size} bytes')
                out[first * size : first * size + len(joined)] = np.frombuffer(joined, np.uint8)
        finally:
            reader.close()
    except (RuntimeError, IndexError, OSError, ValueError) as error:
        raise damaged(path, (str(error).splitlines() or [''])[0][:200]) from error


def pieces(reader: Any, rows: range, size: int) -> Iterator[tuple[int, list[bytes]]]:
    """Records, some at a time, each time with the number of those before them."""
    step = max(1, PIECE // size)
    for first in range(0, len(rows), step):
        part = rows[first : first + step]
        yield first, reader.read(part.start, part[-1] + 1) if part.step == 1 else reader.read(list(part))


def damaged(path: Path, reason: str) -> BadInput:
    """The error for a file that is not the one that was written."""
    return BadInput(f'{path} is damaged ({reason}): write the set again.')


def module() -> Any:
    """array_record's reader and writer, imported when needed. Raises BadInput where the package is missing."""
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise BadInput('Data in array_record files need the package array_record: pip install array_record.') from error
    return array_record_module
