"""Run folders of every format there has been are read, compute what they did, and are trained further."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from research.engine import card
from tests.golden import make

GOLDEN = Path(make.__file__).parent
FOLDERS = sorted(path.parent for path in GOLDEN.glob('format_*/*/card.json'))
runs = pytest.mark.parametrize('kept', FOLDERS, ids=lambda path: f'{path.parent.name}-{path.name}')


def test_there_are_runs_of_every_format() -> None:
    assert {int(path.parent.name.removeprefix('format_')) for path in FOLDERS} == set(range(1, card.FORMAT + 1))
    assert {path.name for path in FOLDERS if path.parent.name == f'format_{card.FORMAT}'} == make.RUNS.keys()
    assert sum(path.stat().st_size for path in GOLDEN.rglob('*') if path.is_file()) < 300_000


@runs
def test_an_old_run_is_read_and_trained_further(kept: Path, tmp_path: Path) -> None:
    """To 1e-5 of what was computed then, by whatever version of JAX: sums may run in another order, random numbers are the same."""
    folder = tmp_path / 'run'
    shutil.copytree(kept, folder)
    with np.load(kept / 'expected.npz') as expected:
        then = dict(expected)
    now = {**make.says(folder), **make.next_epoch(folder)}
    assert now.keys() == then.keys()
    for name, value in then.items():
        np.testing.assert_allclose(now[name], value, rtol=1e-5, atol=1e-5 * np.abs(value).max(), err_msg=name)
