"""An epoch of chunks: its order, what is in memory meanwhile, and that where the chunks come from changes no bit."""

from __future__ import annotations

import threading
import time
import weakref
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from research.data.chunks import Chunks, Memory, in_memory
from research.data.recording import write
from research.data.records import Records
from research.engine import epoch as epochs
from research.engine import feed, fit
from research.engine import loop as loops
from research.engine.plan import Plan
from research.models.mixture import GaussianMixture
from research.trainers.em import EMTrainer
from tests.engine import bowl
from tests.engine.streaming import Loop, thinned

X = np.random.default_rng(0).normal(size=(106, 3)).astype(np.float32)
BATCH = 4
STEPS = 26  # 106 // 4: chunks of 20 give 5 each, the last one, of 26, gives 6


def epoch(x: Any, number: int = 0, step: int = 0, seed: int = 3, in_order: bool = False) -> list[feed.Segment]:
    return list(feed.segments(x, BATCH, seed, number, step, in_order, jax.device_put))


def same(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture
def files(tmp_path: Path) -> Chunks:
    write(tmp_path / 'set', [X], X[:1], file_bytes=33 * 12)
    x = Records(path=str(tmp_path / 'set'), chunk=20, values='as_is').load().train.x
    assert isinstance(x, Chunks)
    return x


def test_an_array_is_one_segment() -> None:
    (segment,) = feed.segments(X, BATCH, 0, 0, 7, False, jax.device_put)
    assert segment.x is X
    assert (segment.part, segment.first, segment.steps) == (None, 0, STEPS)


def test_every_chunk_comes_once_and_the_steps_follow_each_other() -> None:
    chunks = in_memory(X, 20)
    parts = feed.parts(chunks, BATCH, 0, 0, False)
    assert sorted(part.chunk for part in parts) == list(range(5))
    assert [part.position for part in parts] == list(range(5))
    assert [part.first for part in parts] == np.cumsum([0, *(part.steps for part in parts)])[:-1].tolist()
    assert sum(part.steps for part in parts) == STEPS == feed.examples(chunks) // BATCH
    for segment in epoch(chunks):
        assert segment.part is not None
        np.testing.assert_array_equal(segment.x, chunks.read(segment.part.chunk))


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def taken(seed: int, number: int) -> list[int]:
        return [part.chunk for part in feed.parts(in_memory(X, 5), BATCH, seed, number, False)]

    assert taken(3, 2) == taken(3, 2)
    assert len({tuple(taken(seed, number)) for seed in range(3) for number in range(3)}) == 9
    assert [part.chunk for part in feed.parts(in_memory(X, 5), BATCH, 3, 2, True)] == list(range(21))


def rows_of(trainer: Any, number: int, position: int, examples: int) -> np.ndarray:
    return np.asarray(feed.course(trainer, 0, number, position, 0, examples, BATCH).rows)


def test_rows_are_a_new_permutation_in_each_chunk_and_epoch() -> None:
    trainer = bowl.plan().trainer
    rows = [np.ravel(rows_of(trainer, n, position, 20)) for n in (0, 1) for position in (0, 1, 2)]
    assert all(sorted(r.tolist()) == list(range(20)) for r in rows)
    assert len({tuple(r.tolist()) for r in rows}) == 6


def test_a_step_has_the_keys_it_would_have_in_a_whole_array() -> None:
    """Keys of transformation and trainer are those of the step of the epoch, wherever the chunk lies."""
    trainer = bowl.plan().trainer
    whole = epochs.course(trainer, 5, 2, 40, 4)
    part = feed.course(trainer, 5, 2, 1, 6, 16, 4)
    same(jax.random.key_data(part.data), jax.random.key_data(whole.data[6:10]))
    same(jax.random.key_data(part.step), jax.random.key_data(whole.step[6:10]))


def test_what_fills_no_batch_is_seen_in_another_epoch() -> None:
    trainer, chunks, seen = bowl.plan().trainer, in_memory(X, 20), set()
    for number in range(4):
        for part in feed.parts(chunks, BATCH, 0, number, False):
            rows = rows_of(trainer, number, part.position, part.examples)
            seen |= {20 * part.chunk + row for row in np.ravel(rows).tolist()}
    assert seen == set(range(106))


@dataclass(frozen=True, eq=False)
class Watched:
    """Rows that note what is read, and fail on demand."""

    inner: Memory
    read_from: list[int]
    fails_at: int = -1
    shape: tuple[int, ...] = (3,)
    dtype: np.dtype[Any] = np.dtype('float32')

    def __len__(self) -> int:
        return len(self.inner)

    def read(self, rows: range) -> np.ndarray:
        self.read_from.append(rows.start)
        if rows.start == self.fails_at:
            raise RuntimeError('the disk is gone')
        return self.inner.read(rows)


def watched(fails_at: int = -1) -> tuple[Chunks, list[int]]:
    read_from: list[int] = []
    rows = Watched(Memory(x=X), read_from, fails_at)
    return Chunks(rows=rows, examples=len(X), size=20), read_from


@pytest.mark.parametrize('step', [0, 4, 5, 13, 25, 26])
def test_a_resumed_epoch_reads_nothing_before_its_step(step: int) -> None:
    chunks, read_from = watched()
    parts = feed.parts(chunks, BATCH, 3, 0, False)
    left = [part for part in parts if part.first + part.steps > step]
    assert [segment.part for segment in epoch(chunks, step=step)] == left
    assert read_from == [20 * part.chunk for part in left]
    assert not left or left[0].first <= step


def test_the_next_chunk_is_read_ahead_and_no_more() -> None:
    chunks, read_from = watched()
    with closing(feed.segments(chunks, BATCH, 3, 0, 0, True, jax.device_put)) as segments:
        assert read_from == []
        for taken in range(1, 6):
            next(segments)
            patience = time.monotonic() + 20
            while len(read_from) < min(taken + 1, 5) and time.monotonic() < patience:
                time.sleep(0.001)
            assert len(read_from) == min(taken + 1, 5)


def test_at_most_three_chunks_are_in_memory() -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def put(x: np.ndarray) -> np.ndarray:
        nonlocal most
        alive.append(weakref.ref(x))
        most = max(most, sum(ref() is not None for ref in alive))
        return x

    for segment in feed.segments(in_memory(X, 5), BATCH, 3, 0, 0, False, put):
        assert segment.x is not None
    assert len(alive) == 21
    assert most <= 3


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith('chunks')]


def test_an_error_while_reading_comes_when_its_chunk_is_due_and_as_itself() -> None:
    chunks, _ = watched(fails_at=40)
    segments = feed.segments(chunks, BATCH, 3, 0, 0, True, jax.device_put)
    assert [next(segments).first, next(segments).first] == [0, 5]
    with pytest.raises(RuntimeError, match='the disk is gone'):
        next(segments)
    assert readers() == []


def test_no_thread_is_left_behind() -> None:
    chunks, _ = watched()
    with closing(feed.segments(chunks, BATCH, 3, 0, 0, False, jax.device_put)) as segments:
        next(segments)
        assert len(readers()) == 1
    assert readers() == []
    epoch(chunks)
    assert readers() == []


def trained(loop: Loop, epochs: int) -> Any:
    progress = loop.start()
    for number in range(epochs):
        progress = loop.epoch(progress, number)
    return progress


def loop(x: Any) -> Loop:
    return Loop(bowl.plan().trainer, bowl.noisy, x, BATCH, seed=5)


def test_streaming_is_bitwise_what_memory_is(files: Chunks) -> None:
    same(trained(loop(files), 2), trained(loop(in_memory(X, 20)), 2))


def test_one_chunk_holds_what_an_array_does() -> None:
    """Not the same order, but the same keys: with nothing shuffled, bitwise the same."""
    trainer = EMTrainer(model=GaussianMixture(components=2))
    whole, one = (Loop(trainer, lambda x, key: x, x, 53) for x in (X, in_memory(X, 106)))
    same(trained(whole, 2), trained(one, 2))


@pytest.mark.parametrize('step', [3, 5, 12])
def test_a_resumed_epoch_ends_in_the_same_bits(files: Chunks, step: int) -> None:
    """Stopped inside a chunk or between two, and continued by another loop, in other pieces."""
    first = loop(files)
    whole = first.train(first.start(), 1)
    stopped = first.train(first.start(), 1, stop=step)
    same(loop(files).train(stopped, 1, step, piece=2), whole)


def test_em_over_chunks_is_em_over_the_array(files: Chunks) -> None:
    """104 examples, so that batches of 4 leave none out; the sums are added in the same order."""
    trainer = EMTrainer(model=GaussianMixture(components=3, variance_floor=1e-2))
    init = Loop(trainer, lambda x, key: x, X[:104], BATCH)
    start = init.start()
    streamed = Loop(trainer, lambda x, key: x, files.first(104), BATCH)
    a, b = start, start
    for number in range(3):
        a, b = init.epoch(a, number), streamed.epoch(b, number)
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, rtol=1e-5, atol=1e-6), a.state, b.state)
    np.testing.assert_allclose(a.totals['loss'], b.totals['loss'], rtol=1e-5)


def test_a_sample_of_chunks_is_that_of_the_array() -> None:
    for count in (1, 7, 20):
        np.testing.assert_array_equal(feed.sample(in_memory(X, 20), count), feed.sample(X, count))
    for x in (in_memory(X, 20), X):
        shapes = feed.sample_shapes(x, 50)
        assert (shapes.shape, shapes.dtype) == (feed.sample(x, 50).shape, np.float32)
    assert feed.sample_shapes(in_memory(X, 20), 50).shape == (20, 3)


def test_the_large_sets_transformation_keeps_a_number_in_256() -> None:
    assert thinned(np.zeros((2, 512), np.uint8), None).shape == (2, 2)


def chunked_plan(x: Any) -> Plan:
    return bowl.plan(epochs=3, every=1)._replace(x=x, batch_size=4)


def test_a_fit_on_files_is_bitwise_that_in_memory_and_resumes(
    files: Chunks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's own loop: chunks from files, the same chunks of an array, and a run that was stopped within a chunk."""
    memory = in_memory(np.concatenate([files.read(i) for i in range(files.count)]), files.size)
    whole = fit.fit(chunked_plan(memory.for_batches(4)), tmp_path / 'memory', quiet=True)
    same(fit.fit(chunked_plan(files.for_batches(4)), None, quiet=True), whole)
    asked = iter([0, 0, 15, *[0] * 100])
    with monkeypatch.context() as patch:
        patch.setattr(loops, 'signals', lambda: nullcontext(lambda: next(asked)))
        with pytest.raises(fit.Interrupted):
            fit.fit(chunked_plan(files.for_batches(4)), tmp_path / 'files', quiet=True)
    same(fit.fit(chunked_plan(files.for_batches(4)), tmp_path / 'files', resume=True, quiet=True), whole)
