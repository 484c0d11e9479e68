"""The chorales, as JSON and as rolls, and what is done about a file that is not the published one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from research.data import music
from research.data.music import Music
from research.types import BadInput

SOURCE = Path(os.environ.get('LIKENESS_DATA_DIR') or '/nowhere') / music.NAME
real = pytest.mark.skipif(music.found(None) is None, reason='LIKENESS_DATA_DIR is not set or has no jsb_chorales')


def test_roll_lays_pieces_end_to_end() -> None:
    frames, lengths = music.roll([[[21, 108], []], [[60]]])
    assert lengths.tolist() == [2, 1]
    assert frames.shape == (3, 88)
    assert [np.flatnonzero(frame).tolist() for frame in frames] == [[0, 87], [], [39]]


@real
def test_frames_are_the_published_ones() -> None:
    data = Music().load()
    assert data.protocol['sizes'] == {'train': 13807, 'valid': 4602, 'test': 4725}
    assert data.protocol['pieces'] == {'train': 229, 'valid': 76, 'test': 77}
    assert data.lengths is not None
    assert {split: int(n.sum()) for split, n in data.lengths.items()} == data.protocol['sizes']
    assert (data.domain.kind, data.domain.unit, data.domain.dims, data.train.x.dtype) == (
        'binary',
        'time step',
        88,
        np.uint8,
    )
    ones, steps = data.train.x.sum(0) + 0.5, len(data.train) + 1
    p = ones / steps
    nats = -(data.test.x @ np.log(p) + (1 - data.test.x) @ np.log1p(-p))
    assert abs(nats.mean() - 11.0602) < 5e-4  # independent keys, smoothing 0.5


@real
def test_both_files_hold_the_same(tmp_path: Path) -> None:
    hashes = set()
    for name in (music.JSON, music.NPZ):
        if (SOURCE / name).is_file():
            (tmp_path / name / music.NAME).mkdir(parents=True)
            shutil.copy(SOURCE / name, tmp_path / name / music.NAME / name)
            hashes.add(Music().load(str(tmp_path / name)).sha256)
    assert len(hashes) == 1


@pytest.mark.parametrize('name', [music.JSON, music.NPZ])
def test_another_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / music.NAME).mkdir()
    (tmp_path / music.NAME / name).write_text(json.dumps({'train': []}))
    with pytest.raises(BadInput, match=f'{name} is damaged or another file: its sha256 is .*prepare_data jsb_chorales'):
        Music().load(str(tmp_path))


def test_missing_names_set_folder_and_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('LIKENESS_DATA_DIR', str(tmp_path))
    with pytest.raises(
        BadInput, match=f"'jsb_chorales' is not in {tmp_path}.*`python -m scripts.prepare_data jsb_chorales`"
    ):
        Music().load()
    with pytest.raises(BadInput, match="'nottingham' is unknown"):
        Music(name='nottingham').load()
