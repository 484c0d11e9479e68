"""A set is written whole or not at all, read as it was written, and damage has one clear sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.data.chunks import CHUNK_BYTES, Chunks
from research.data.named import named
from research.data.recording import write
from research.data.records import MANIFEST, Records
from research.data.source import Data, digest, prepare
from research.types import BadInput

RNG = np.random.default_rng(0)
TRAIN = RNG.integers(0, 256, (50, 4, 4, 1), dtype=np.uint8)
TEST = RNG.integers(0, 256, (6, 4, 4, 1), dtype=np.uint8)
VALID = RNG.integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)


def blocks(x: np.ndarray = TRAIN, size: int = 7) -> Iterator[np.ndarray]:
    return (x[i : i + size] for i in range(0, len(x), size))


def chunks(data: Data) -> Chunks:
    assert isinstance(data.train.x, Chunks)
    return data.train.x


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / 'set', blocks(), TEST, VALID, file_bytes=20 * 16)
    return tmp_path / 'set'


def test_what_was_written_is_read(folder: Path) -> None:
    data = Records(path=str(folder), values='binarise', chunk=10).load()
    train = chunks(data)
    assert (len(data.train), train.count, train.size, train.exact) == (50, 5, 10, True)
    np.testing.assert_array_equal(np.concatenate([train.read(i) for i in range(5)]), TRAIN)
    np.testing.assert_array_equal(data.test.x, prepare(TEST, 'binarise', 256, np.random.default_rng(777)))
    assert data.valid is not None
    np.testing.assert_array_equal(data.valid.x, prepare(VALID, 'binarise', 256, np.random.default_rng([777, 1])))
    assert (data.domain.kind, data.domain.shape, data.domain.modality) == ('binary', (4, 4, 1), 'image')
    assert data.protocol['sizes'] == {'train': 50, 'valid': 5, 'test': 6}
    assert sorted(path.name for path in folder.parent.iterdir()) == ['set']


def test_without_a_chosen_size_a_chunk_has_so_many_bytes(folder: Path) -> None:
    train = chunks(Records(path=str(folder)).load())
    assert (train.size, train.exact) == (CHUNK_BYTES // 16, False)


def test_the_set_is_known_by_its_content(folder: Path, tmp_path: Path) -> None:
    """However it came and is divided; and not if one value differs, or lies in another split."""
    again, other, moved = (tmp_path / name for name in ('again', 'other', 'moved'))
    write(again, [TRAIN[:20], TRAIN[:0], TRAIN[20:]], TEST, VALID)
    changed = TRAIN.copy()
    changed[-1, -1, -1] ^= 1
    write(other, blocks(changed), TEST, VALID)
    write(moved, blocks(), VALID, TEST)
    first, *rest = [Records(path=str(path)).load().sha256 for path in (folder, again, other, moved)]
    assert [sha256 == first for sha256 in rest] == [True, False, False]


def test_the_last_training_examples_are_held_out(tmp_path: Path) -> None:
    write(tmp_path / 'set', blocks(), TEST)
    data = Records(path=str(tmp_path / 'set'), valid=12, values='as_is').load()
    assert data.valid is not None
    np.testing.assert_array_equal(data.valid.x, TRAIN[38:])
    assert (len(data.train), chunks(data).examples) == (38, 38)
    assert data.protocol['valid'] == 'the last 12 training examples'
    with pytest.raises(BadInput, match='valid=50 is out of range'):
        Records(path=str(tmp_path / 'set'), valid=50).load()


def test_a_set_with_a_validation_split_holds_out_no_more(folder: Path) -> None:
    with pytest.raises(BadInput, match='has a validation split'):
        Records(path=str(folder), valid=3).load()


def test_reals(tmp_path: Path) -> None:
    """Those in [0, 1] are grey levels, others are taken as they are, and others still are no numbers."""
    x = RNG.random((20, 3), dtype=np.float32)
    write(tmp_path / 'unit', [x[:15]], x[15:])
    write(tmp_path / 'real', [x[:15] * 2], x[15:])
    assert Records(path=str(tmp_path / 'unit'), values='scale').load().domain.kind == 'unit'
    data = Records(path=str(tmp_path / 'real'), values='as_is').load()
    assert (data.domain.kind, data.domain.modality) == ('real', 'points')
    with pytest.raises(BadInput, match="needs numbers in \\[0, 1\\], and the set has others: use values='as_is'"):
        Records(path=str(tmp_path / 'real'), values='scale').load()
    with pytest.raises(BadInput, match='integer grey levels'):
        Records(path=str(tmp_path / 'unit'), values='dequantise').load()
    x[3, 1] = np.nan
    with pytest.raises(BadInput, match='train has values that are NaN or infinite'):
        write(tmp_path / 'nan', [x], x[15:])


@pytest.mark.parametrize(
    ('train', 'test', 'message'),
    [
        (TRAIN, TEST.astype(np.int64), r'test is int64 \(6, 4, 4, 1\): expected uint8 or uint16 or float32'),
        (TRAIN.astype(np.uint16), TEST, r"train is uint16 .* expected uint8 \('any', 4, 4, 1\) as test is"),
        (TRAIN[:, :3], TEST, r'train is uint8 \(7, 3, 4, 1\)'),
        (TRAIN, TEST[:0], 'test is empty'),
        (TRAIN[:0], TEST, 'train has no examples'),
        (np.arange(3, dtype=np.uint8), np.arange(3, dtype=np.uint8), r'test is uint8 \(3,\)'),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, train: np.ndarray, test: np.ndarray, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        write(tmp_path / 'set', blocks(train), test)
    assert list(tmp_path.iterdir()) == []


def test_levels(tmp_path: Path) -> None:
    top = int(max(TRAIN.max(), TEST.max()))
    with pytest.raises(BadInput, match='expected at most 15, or give levels='):
        write(tmp_path / 'set', blocks(), TEST, levels=16)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / 'set', blocks(), TEST, levels=top + 1)
    assert Records(path=str(tmp_path / 'set')).load().levels == top + 1


def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield TRAIN
        raise OSError('the network went')

    with pytest.raises(OSError, match='the network went'):
        write(tmp_path / 'set', broken(), TEST)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_replaced(folder: Path) -> None:
    with pytest.raises(BadInput, match='exists: expected a folder that is yet to be made'):
        write(folder, blocks(), TEST)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"path='nowhere': there is no {MANIFEST} in nowhere or in {tmp_path}/nowhere"):
        Records(path='nowhere').load(str(tmp_path))


def test_a_name_is_looked_for_in_the_data_folder(folder: Path) -> None:
    assert len(Records(path='set').load(str(folder.parent)).train) == 50


def test_a_folder_of_records_is_told_from_one_of_images(folder: Path) -> None:
    like = Records(path='other', values='threshold', chunk=5)
    assert named(str(folder), like) == Records(path=str(folder), values='threshold', chunk=5)
    assert named(str(folder)) == Records(path=str(folder))


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    'change',
    [
        lambda m: m.pop('files'),
        lambda m: m.update(format=99),
        lambda m: m.update(dtype='int64'),
        lambda m: m.update(dtype='object'),
        lambda m: m.update(shape=[4, -4, 1]),
        lambda m: m.update(shape='444'),
        lambda m: m.update(count=51),
        lambda m: m.update(levels=None),
        lambda m: m['files'][0].update(name='../elsewhere'),
        lambda m: m['files'][0].update(count=None),
        lambda m: m['splits'].pop('test'),
        lambda m: m['splits']['test'].pop('sha256'),
        lambda m: m.update(splits=[1]),
        lambda m: m.update(sha256=''),
    ],
)
def test_a_damaged_manifest(folder: Path, change: Change) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match=str(folder / MANIFEST)):
        Records(path=str(folder)).load()


@pytest.mark.parametrize('content', ['', '[]', '{', '"text"', 'null', '\x00\xff'])
def test_no_manifest_at_all(folder: Path, content: str) -> None:
    (folder / MANIFEST).write_bytes(content.encode('latin-1'))
    with pytest.raises(BadInput, match=f'{folder / MANIFEST} is damaged'):
        Records(path=str(folder)).load()


@pytest.mark.parametrize('name', ['train-00001.array_record', 'test.npy', 'valid.npy'])
def test_a_file_that_is_cut_or_gone(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadInput, match=f'{path} is damaged .* bytes, and {MANIFEST} says'):
        Records(path=str(folder)).load()
    path.unlink()
    with pytest.raises(BadInput, match=f'{path} is damaged .it is missing'):
        Records(path=str(folder)).load()


def test_a_changed_test_split(folder: Path) -> None:
    path = folder / 'test.npy'
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadInput, match='sha256 is not the one that was written'):
        Records(path=str(folder)).load()
    other = bytes(content).replace(b'|u1', b'|i1')
    path.write_bytes(other)
    with pytest.raises(BadInput, match='says otherwise'):
        Records(path=str(folder)).load()
    path.write_bytes(b'x' * len(content))
    with pytest.raises(BadInput, match='damaged'):
        Records(path=str(folder)).load()


def test_the_hash_of_a_split_is_that_of_every_other_source(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest['splits']['test']['sha256'] == digest({'test': TEST})
