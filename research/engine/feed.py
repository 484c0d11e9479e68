"""What an epoch is made of: one array that is on the device already, or chunks that come one after the other.

The chunks of an epoch are taken in a random order, and the rows of each in another; both are functions of (seed,
epoch), so an epoch of chunks can be resumed at any step, without reading the chunks before it. It is no permutation
of the whole set: examples of one batch come from one chunk. A trainer that has to see every example (EM) takes the
data's own order.

While one chunk is trained on, a thread reads the next and puts it on the device. At most three are in memory: the one
that is trained on, the next, and for the moment between two of them the one after that, whose reading has begun.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.data.chunks import Chunks
from research.engine.epoch import Course, order, stream
from research.types import Array, Batch, Trainer


class Part(NamedTuple):
    """One chunk's place in an epoch."""

    chunk: int  # which one of the data
    position: int  # which one of the epoch
    first: int  # the step of the epoch that is its step 0
    steps: int
    examples: int


class Segment(NamedTuple):
    """Some steps of an epoch with the data they need, on the device."""

    x: Batch
    part: Part | None  # None: `x` is all the data
    first: int  # step of the epoch
    steps: int


def examples(x: Batch | Chunks) -> int:
    """How many there are."""
    return len(x) if isinstance(x, Chunks) else int(jax.tree.leaves(x)[0].shape[0])


def steps(x: Batch | Chunks, batch_size: int) -> int:
    """Steps of an epoch; a chunk's examples that fill no batch wait for another epoch's order."""
    if isinstance(x, Chunks):
        return sum(x.length(chunk) // batch_size for chunk in range(x.count))
    return examples(x) // batch_size


def sampled(x: Batch | Chunks, count: int) -> int:
    """How many examples `sample` gives."""
    return x.sampled(count) if isinstance(x, Chunks) else min(count, examples(x))


def sample(x: Batch | Chunks, count: int) -> Batch:
    """Examples evenly spaced over the set, which may be sorted, on the host; of chunks at most one's worth."""
    if isinstance(x, Chunks):
        return x.sample(count)
    n = sampled(x, count)
    return jax.tree.map(lambda a: np.asarray(a[:: examples(x) // n][:n]), x)


def sample_shapes(x: Batch | Chunks, count: int) -> Batch:
    """Shapes and types of `sample`, without reading."""
    n = sampled(x, count)
    if isinstance(x, Chunks):
        return jax.ShapeDtypeStruct((n, *x.shape), x.dtype)
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((n, *a.shape[1:]), a.dtype), x)


def place(x: Batch | Chunks, put: Callable[[Any], Any]) -> Any:
    """Arrays on the device; chunks stay where they are until their turn comes."""
    return x if isinstance(x, Chunks) else put(x)


def parts(chunks: Chunks, batch_size: int, seed: int, epoch: int, in_order: bool) -> list[Part]:
    """The chunks of an epoch, in its order: a function of (seed, epoch) alone."""
    taken = np.arange(chunks.count)
    if not in_order:
        # 0 is the order of the chunks, 1 + position that of a chunk's rows
        taken = np.asarray(jax.random.permutation(jax.random.fold_in(stream(seed, 'order', epoch), 0), chunks.count))
    found, first = [], 0
    for position, chunk in enumerate(taken.tolist()):
        steps = chunks.length(chunk) // batch_size
        found.append(Part(chunk, position, first, steps, chunks.length(chunk)))
        first += steps
    return found


def course(
    trainer: Trainer,
    seed: int | Array,
    epoch: int | Array,
    position: int | Array,
    first: int | Array,
    examples: int,
    batch_size: int,
) -> Course:
    """The course of one chunk, whose step i is step `first` + i of the epoch; its rows count within the chunk."""
    key_rows = jax.random.fold_in(stream(seed, 'order', epoch), 1 + position)
    rows = None if trainer.whole_epochs else order(key_rows, examples, batch_size)
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    steps = first + jnp.arange(examples // batch_size)
    return Course(rows, fold(stream(seed, 'data', epoch), steps), fold(stream(seed, 'step', epoch), steps))


def segments(
    x: Batch | Chunks,
    batch_size: int,
    seed: int,
    epoch: int,
    step: int,
    in_order: bool,
    put: Callable[[np.ndarray], Any],
) -> Generator[Segment]:
    """What is left of an epoch from `step` on. The first segment may begin before `step`, none ends before it.

    `put` places a chunk on the device, in the reading thread; arrays are there already. Close the iterator
    (`contextlib.closing`) when leaving early: that ends the thread. What reading raises is raised here.
    """
    if not isinstance(x, Chunks):
        yield Segment(x, None, 0, examples(x) // batch_size)
        return
    left = [part for part in parts(x, batch_size, seed, epoch, in_order) if part.first + part.steps > step]

    def load(part: Part) -> Segment:
        on_device = jax.block_until_ready(put(x.read(part.chunk)))
        return Segment(on_device, part, part.first, part.steps)

    yield from ahead(load, left)


def ahead(load: Callable[[Part], Segment], left: list[Part]) -> Generator[Segment]:
    """`load` of each part, the next one begun in a thread before one is given out."""
    if not left:
        return
    with ThreadPoolExecutor(1, thread_name_prefix='chunks') as pool:
        coming = pool.submit(load, left[0])
        for following in left[1:]:
            segment = coming.result()
            coming = pool.submit(load, following)
            yield segment
        segment = coming.result()
        del coming
        yield segment
