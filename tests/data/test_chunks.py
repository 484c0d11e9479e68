"""A set in chunks is the set, wherever its examples come from."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from research.data.chunks import ALIGNMENT, Chunks, Files, in_memory, within
from research.data.recording import write
from research.data.records import Records
from research.types import BadInput

X = np.random.default_rng(0).integers(0, 256, (103, 4, 3), dtype=np.uint8)


def stored(folder: Path, x: np.ndarray = X, per_file: int = 29) -> Files:
    """`x` in files of `per_file` records."""
    write(folder, [x], x[:1], file_bytes=per_file * x[0].nbytes)
    train = Records(path=str(folder), values='as_is').load().train.x
    assert isinstance(train, Chunks)
    assert isinstance(train.rows, Files)
    return train.rows


@pytest.mark.parametrize('size', [1, 10, 52, 103, 500])
def test_chunks_are_the_set_in_order_and_none_is_smaller_than_asked(size: int) -> None:
    chunks = in_memory(X, size)
    read = [chunks.read(i) for i in range(chunks.count)]
    assert [len(part) for part in read] == [chunks.length(i) for i in range(chunks.count)]
    np.testing.assert_array_equal(np.concatenate(read), X)
    assert all(min(size, 103) <= len(part) < 2 * size for part in read)


def test_a_set_without_its_end() -> None:
    chunks = in_memory(X, 10).first(45)
    assert (len(chunks), chunks.count, chunks.length(3)) == (45, 4, 15)
    np.testing.assert_array_equal(chunks.read(3), X[30:45])


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
def test_files_hold_what_memory_does(tmp_path: Path, dtype: str) -> None:
    """Chunks that begin and end anywhere in files of 29 records."""
    x = X.astype(dtype)
    rows = stored(tmp_path / 'set', x)
    assert len(rows) == 103
    assert [count for _, count in rows.files] == [29, 29, 29, 16]
    chunks = Chunks(rows=rows, examples=103, size=20)
    for i in range(chunks.count):
        read = chunks.read(i)
        assert read.dtype == dtype
        np.testing.assert_array_equal(read, in_memory(x, 20).read(i))


@pytest.mark.parametrize('in_files', [True, False])
def test_a_chunk_is_nobody_elses_and_lies_where_jax_can_use_it(tmp_path: Path, in_files: bool) -> None:
    chunks = Chunks(rows=stored(tmp_path / 'set'), examples=103, size=20) if in_files else in_memory(X, 20)
    first, second = chunks.read(1), chunks.read(1)
    assert first.ctypes.data % ALIGNMENT == second.ctypes.data % ALIGNMENT == 0
    first[:] = 0
    np.testing.assert_array_equal(second, X[20:40])
    np.testing.assert_array_equal(chunks.read(1), X[20:40])


@pytest.mark.parametrize(('count', 'expected'), [(1, 1), (7, 7), (20, 20), (60, 20)])
def test_a_sample_is_spread_over_the_set_and_is_one_chunk_at_most(tmp_path: Path, count: int, expected: int) -> None:
    chunks = Chunks(rows=stored(tmp_path / 'set'), examples=103, size=20)
    assert chunks.sampled(count) == expected
    np.testing.assert_array_equal(chunks.sample(count), X[:: 103 // expected][:expected])


def test_rows_within_a_file_are_those_that_a_list_finds() -> None:
    for start, count in ((0, 5), (5, 7), (12, 1), (13, 30)):
        for rows in (range(43), range(3, 4), range(6, 20), range(1, 40, 7), range(4, 44, 13), range(0)):
            found = [row - start for row in rows if start <= row < start + count]
            assert list(within(rows, start, count)) == found


def test_chunks_fit_the_batches() -> None:
    assert in_memory(X, 20).for_batches(5).size == 20
    assert in_memory(X, 20, exact=False).for_batches(8).size == 16
    assert in_memory(X, 20, exact=False).for_batches(30).size == 30
    assert in_memory(X, 200).for_batches(30).size == 200  # all in one: what fills no batch waits for another order
    with pytest.raises(BadInput, match=r'data.chunk=20: .* batch of 8 .* such as 16 or 24, or none'):
        in_memory(X, 20).for_batches(8)
    with pytest.raises(BadInput, match=r'data.chunk=20: .* batch of 30 .* such as 30, or none'):
        in_memory(X, 20).for_batches(30)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    rows = stored(tmp_path / 'set')
    path = rows.files[1][0]
    content = bytearray(path.read_bytes())
    content[content.index(X[30].tobytes())] ^= 1
    path.write_bytes(content)
    chunks = Chunks(rows=rows, examples=103, size=20)
    np.testing.assert_array_equal(chunks.read(0), X[:20])
    with pytest.raises(BadInput, match=f'{path} is damaged .*hash mismatch.*: write the set again'):
        chunks.read(1)


@pytest.mark.parametrize('content', [b'', b'no record' * 9000, None])
def test_a_file_that_is_no_record_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / 'a.array_record'
    if content is not None:
        path.write_bytes(content)
    rows = Files(files=((path, 3),), shape=(2,), dtype=np.dtype('uint8'))
    with pytest.raises(BadInput, match=f'{path} is damaged'):
        rows.read(range(2))


def test_records_of_another_size_or_number(tmp_path: Path) -> None:
    path = stored(tmp_path / 'set', X[:5]).files[0][0]
    with pytest.raises(BadInput, match='a record is not of 13 bytes'):
        Files(files=((path, 5),), shape=(13,), dtype=np.dtype('uint8')).read(range(2))
    with pytest.raises(BadInput, match='5 records can be read, and its manifest says 6'):
        Files(files=((path, 6),), shape=(12,), dtype=np.dtype('uint8')).read(range(2))


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = stored(tmp_path / 'set')
    monkeypatch.setitem(sys.modules, 'array_record.python', None)
    with pytest.raises(BadInput, match='pip install array_record'):
        rows.read(range(2))
