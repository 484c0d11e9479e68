"""The cache gives back what was made, and never half of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.data import cache
from research.data.source import digest

X = np.arange(24, dtype=np.uint8).reshape(4, 6)


class Maker:
    """Counts how often it is asked, and fails on demand."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.calls = 0
        self.error = error

    def __call__(self, allocate: cache.Allocate) -> dict[str, Any]:
        self.calls += 1
        allocate('train', X.shape, X.dtype)[:] = X
        if self.error:
            raise self.error
        return {'source': 'a test'}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    return tmp_path / 'likeness' / 'data' / 'decoded'


def test_made_once_and_mapped_after(home: Path) -> None:
    make = Maker()
    for _ in range(3):
        arrays, notes, sha256 = cache.remember('a-1', make)
        assert (arrays['train'] == X).all()
        assert isinstance(arrays['train'], np.memmap)
        assert not arrays['train'].flags.writeable
        assert (notes, sha256) == ({'source': 'a test'}, digest({'train': X}))
    assert make.calls == 1
    cache.remember('a-2', make)
    assert make.calls == 2
    assert sorted(p.name for p in home.iterdir()) == ['a-1', 'a-2']


@pytest.mark.parametrize(
    'damage',
    ['truncated', 'other array', 'written to', 'no array', 'no manifest', 'cut manifest', 'old format', 'list'],
)
def test_damaged_folder_is_made_again(home: Path, damage: str) -> None:
    make = Maker()
    cache.remember('a', make)
    array, manifest = home / 'a' / 'train.npy', home / 'a' / 'manifest.json'
    if damage == 'truncated':
        array.write_bytes(array.read_bytes()[:-5])
    if damage == 'other array':
        np.save(array, X.T)
    if damage == 'written to':
        array.write_bytes(array.read_bytes()[:-1] + b'\xff')
    if damage == 'no array':
        array.unlink()
    if damage == 'no manifest':
        manifest.unlink()
    if damage == 'cut manifest':
        manifest.write_text(manifest.read_text()[:40])
    if damage == 'old format':
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {'format': 0}))
    if damage == 'list':
        manifest.write_text('[]')
    os.utime(array.parent)
    arrays, _, _ = cache.remember('a', make)
    assert make.calls == 2
    assert (arrays['train'] == X).all()
    assert (cache.remember('a', make)[0]['train'] == X).all()
    assert make.calls == 2
    assert [p.name for p in home.iterdir()] == ['a']


@pytest.mark.parametrize('error', [ValueError('bad image'), KeyboardInterrupt()])
def test_nothing_is_left_of_what_failed(home: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        cache.remember('a', Maker(error))
    assert list(home.iterdir()) == []
    assert (cache.remember('a', Maker())[0]['train'] == X).all()


def test_half_written_folder_is_ignored_and_swept_when_old(home: Path) -> None:
    young, old = home / '.making-young', home / '.making-old'
    for folder in (young, old):
        folder.mkdir(parents=True)
        np.save(folder / 'train.npy', X)
    os.utime(old, (0, 0))
    make = Maker()
    cache.remember('a', make)
    assert make.calls == 1
    assert sorted(p.name for p in home.iterdir()) == ['.making-young', 'a']


def test_the_quicker_process_wins(home: Path) -> None:
    def make(allocate: cache.Allocate) -> dict[str, Any]:
        cache.remember('a', Maker())  # meanwhile, another process
        return Maker()(allocate)

    assert (cache.remember('a', make)[0]['train'] == X).all()
    assert [p.name for p in home.iterdir()] == ['a']


def test_without_a_place_to_write_it_works_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'file').write_text('in the way')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    arrays, notes, sha256 = cache.remember('a', Maker())
    assert (arrays['train'] == X).all()
    assert (notes, sha256) == ({'source': 'a test'}, digest({'train': X}))
    assert 'not cached' in capsys.readouterr().err


def test_array_names_lead_nowhere(home: Path) -> None:
    cache.remember('a', Maker())
    manifest = home / 'a' / 'manifest.json'
    np.save(home / 'outside.npy', X)
    entries = json.loads(manifest.read_text())
    entries['arrays'] = {'../outside': entries['arrays']['train'] | cache.described(home / 'outside.npy')}
    manifest.write_text(json.dumps(entries))
    assert cache.recall(home / 'a') is None
