"""The table of the binary sets, on a set of a few rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments import binary20 as experiment
from experiments.binary20 import Score
from research.data.binary import BINARY
from research.types import BadInput
from scripts import configs
from tests.command import caller

SCORES = {
    'one': {'HCLT': Score(6.0, 'exact', False), 'MADE': Score(5.9, 'exact', True), 'VAE': Score(6.1, 'bound', True)},
    'two': {'HCLT': Score(12.5, 'exact', False), 'MADE': Score(13.0, 'exact', True)},
    'three': {'HCLT': Score(20.0, 'exact', False), 'MADE': Score(20.25, 'exact', True)},
}


def test_bounds_and_the_lowest_of_a_line_are_marked() -> None:
    assert experiment.table(SCORES).splitlines() == [
        '         HCLT   MADE (net)   VAE (net)',
        'one     6.000        5.900*   <= 6.100',
        'two    12.500*      13.000           -',
        'three  20.000*      20.250           -',
    ]


def test_the_verdict_follows_from_the_scores() -> None:
    said = experiment.verdict(SCORES)
    assert 'A network has the lowest score on 1 of 3 sets, a model without one on 2' in said
    assert 'a model without one leads by 0.250 nats' in said
    assert 'Only one side' in experiment.verdict({'one': {'HCLT': Score(6.0, 'exact', False)}})


def test_what_is_asked_for_is_checked_before_anything_is_trained(tmp_path: Path) -> None:
    real = tmp_path / 'real.npz'
    np.savez(real, train=np.random.default_rng(0).normal(size=(20, 3)))
    with pytest.raises(BadInput, match='it holds real data; expected zeros and ones'):
        experiment.chosen([str(real)])
    with pytest.raises(BadInput, match='--models GAN: expected some of independent, Chow-Liu'):
        experiment.models(['MADE', 'GAN'])
    assert set(experiment.SMALL) <= set(BINARY)
    assert set(experiment.COLUMNS.values()) <= set(configs.names())


def test_a_small_set_through_two_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained, scored and printed; what is done is not done again; batches shrink to an eighth of the training split."""
    rng = np.random.default_rng(0)
    x = (rng.random((100, 1)) < 0.5) ^ (rng.random((100, 4)) < 0.1)
    path, out, call = tmp_path / 'tiny.npz', tmp_path / 'runs', caller(capsys, monkeypatch)
    np.savez(path, train=x[:80].astype(np.uint8), test=x[80:].astype(np.uint8))
    assert experiment.build('hclt_nltcs', str(path)).batch_size == 10
    assert experiment.build('chow_liu_nltcs', str(path)).batch_size is None
    asked = ('--sets', path, '--models', 'independent,Chow-Liu', '--out', out)
    done = call(experiment, *asked)
    assert done.code == 0
    assert 'tiny' in (out / 'table.txt').read_text()
    line = (out / 'table.txt').read_text().splitlines()[2].split()
    assert float(line[2].rstrip('*')) < float(line[1]) - 0.5
    before = (out / 'tiny' / 'chow_liu_nltcs' / 'results.jsonl').stat().st_mtime_ns
    assert call(experiment, *asked, '--resume').code == 0
    assert (out / 'tiny' / 'chow_liu_nltcs' / 'results.jsonl').stat().st_mtime_ns == before
