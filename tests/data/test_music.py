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
from research.engine import score
from research.report import protocol, records
from research.types import BadInput, Domain
from tests.report import runs

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


def test_what_is_given_is_not_counted() -> None:
    x = np.full((3, 4, 2), -1, np.int8)
    x[0], x[1, :1] = 1, 0  # four steps, one, none
    for context, expected in ((0, [4, 1, 0]), (1, [3, 0, 0]), (2, [2, 0, 0])):
        domain = Domain(kind='binary', shape=(4, 2), unit='time step', context=context)
        assert score.units(x, domain).tolist() == expected
        assert music.scored(np.array([4, 1, 0]), context) == sum(expected)


@real
def test_the_protocol_says_how_many_steps_are_scored() -> None:
    """4725 test steps, or 4648 without the first of each of 77 pieces."""
    for source, expected in ((Music(), 4725), (Music(pieces=True), 4725), (Music(pieces=True, context=1), 4648)):
        data = source.load()
        assert data.protocol['scored']['test'] == expected
        assert score.units(data.test.x, data.domain).sum() == expected
    assert data.domain.context == 1


@real
def test_steps_that_are_given_need_pieces_that_go_on() -> None:
    with pytest.raises(BadInput, match=r'data.context=1: only a piece has first steps; .*data.pieces=true'):
        Music(context=1).load()
    with pytest.raises(BadInput, match=r'data.context=200: a split has nothing to score; expected at most \d+'):
        Music(pieces=True, context=200).load()


def test_figures_of_all_steps_and_of_those_after_the_first_never_meet(tmp_path: Path) -> None:
    """Frames and whole pieces do: each step is scored once, however the music is cut."""
    every, after = {'scored': {'test': 4725}}, {'scored': {'test': 4648}}
    cut = {'frames': every, 'pieces': every | {'example': 'piece'}, 'given': after | {'example': 'piece'}}
    domain = {'kind': 'binary', 'shape': [160, 88], 'modality': 'music', 'unit': 'time step'}
    found = []
    for name, parts in cut.items():
        lines = [runs.nll(8.5, unit='time step', n=parts['scored']['test'])]
        folder = runs.make(tmp_path / name, name, lines, data='jsb_chorales', domain=domain, protocol=parts)
        found.append(records.read(folder))
    frames, pieces, given = protocol.identities(found)
    assert frames == pieces
    assert frames != given
