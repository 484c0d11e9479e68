"""The 20 binary sets: sizes as published, known by their hash, found by their name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from research.data import Binary, Images, named
from research.data.binary import BINARY, FOLDER
from research.types import BadInput, Domain

SIZES = {
    'nltcs': (16, 16181, 2157, 3236), 'msnbc': (17, 291326, 38843, 58265), 'kdd': (64, 180092, 19907, 34955),
    'plants': (69, 17412, 2321, 3482), 'baudio': (100, 15000, 2000, 3000), 'jester': (100, 9000, 1000, 4116),
    'bnetflix': (100, 15000, 2000, 3000), 'accidents': (111, 12758, 1700, 2551), 'tretail': (135, 22041, 2938, 4408),
    'pumsb_star': (163, 12262, 1635, 2452), 'dna': (180, 1600, 400, 1186), 'kosarek': (190, 33375, 4450, 6675),
    'msweb': (294, 29441, 3270, 5000), 'book': (500, 8700, 1159, 1739), 'tmovie': (500, 4524, 1002, 591),
    'cwebkb': (839, 2803, 558, 838), 'cr52': (889, 6532, 1028, 1540), 'c20ng': (910, 11293, 3764, 3764),
    'bbc': (1058, 1670, 225, 330), 'ad': (1556, 2461, 327, 491),
}  # fmt: skip


def test_there_are_twenty() -> None:
    assert set(BINARY) == set(SIZES)


@pytest.mark.parametrize('name', SIZES)
def test_sizes_are_the_published_ones(name: str, likeness_dir: str) -> None:
    if not (Path(likeness_dir) / FOLDER / f'{name}.npz').is_file():
        pytest.skip(f'{name} is not in the data folder')
    dims, *rows = SIZES[name]
    data = Binary(name=name).load()
    assert data.valid is not None
    assert [len(data.train), len(data.valid), len(data.test)] == rows
    assert data.domain == Domain(kind='binary', shape=(dims,))
    assert (data.train.x.dtype, data.test.x.dtype) == (np.uint8, np.float32)
    assert set(np.unique(data.train.x)) == {0, 1}
    assert data.protocol['source'] == f'{name}.npz'


def test_it_is_found_by_its_name() -> None:
    assert named('plants', Images()) == Binary(name='plants')
    with pytest.raises(BadInput, match="did you mean 'nltcs'"):
        named('nltc')


def test_what_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"'nltcs' is not in .*/debd: it may be had from github.com/UCLA-StarAI"):
        Binary().load(str(tmp_path))
    with pytest.raises(BadInput, match="'adult' is unknown: it may be accidents"):
        Binary(name='adult').load(str(tmp_path))
    (tmp_path / FOLDER).mkdir()
    np.savez(tmp_path / FOLDER / 'nltcs.npz', train=np.zeros((3, 16), np.uint8))
    with pytest.raises(BadInput, match=r'nltcs.npz is damaged or another file: its sha256 is .*not a8420b36315e'):
        Binary().load(str(tmp_path))
