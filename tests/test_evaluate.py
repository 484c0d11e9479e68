"""What is recorded of a number: its provenance, the nats behind it, and nothing that a crash could halve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.evaluate import Result, Scored, record
from research.report import cells, records
from research.types import BadInput
from tests.report import runs
from tests.runs import lines

VALUES = {'trainer.model.likelihood': 'Gaussian', 'trainer.model.beta': 4.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder as training leaves it."""
    more: dict[str, Any] = {'run': {}, 'train_shape': [[1400, 8, 8, 1], 'uint8'], 'levels': 17, 'values': VALUES}
    return runs.make(tmp_path / 'run', 'vae_digits', extra=more)


def scored(k: int = 50) -> Scored:
    rng = np.random.default_rng(k)
    nats, units = rng.normal(90, 5, 397), np.ones(397, np.int64)
    settings, value = {'samples': k, 'standard_error': 0.25}, float(nats.mean())
    nll = Result('test_nll', value, 'nats per example', 'bound', 397, 'test', settings)
    bits = Result('bits_per_dim', value / 64 / np.log(2), 'bits per dimension', 'bound', 397, 'test', settings)
    return Scored([nll, bits, Result('pixel_mmd', 0.1, '', 'estimate', 397, 'test', {})], nats, units)


def test_every_line_tells_where_its_number_comes_from(folder: Path) -> None:
    record(folder, scored())
    told = lines(folder / 'results.jsonl')
    assert [line['metric'] for line in told] == ['test_nll', 'bits_per_dim', 'pixel_mmd']
    for line in told:
        assert (line['config'], line['model'], line['seed'], line['values']) == ('vae_digits', 'VAE', 7, VALUES)
        assert line['data']['name'] == 'digits' and line['data']['sha256'] == 'f' * 64
        assert line['data']['protocol'] == {'binarise': 'dynamic'}
        assert line['measure'] == 'density'
        assert line['trained'] == {
            'commit': 'abc123',
            'device': 'cpu x2',
            'versions': {'python': '3.11.7', 'jax': '0.10.2'},
        }
        assert {'python', 'jax', 'numpy'} <= line['evaluated']['versions'].keys() and 'cores' in line['evaluated'][
            'device'
        ]
        assert line['time'].endswith('+00:00')
    assert told[0]['settings'] == {'samples': 50, 'standard_error': 0.25} and told[0]['n'] == 397


def test_the_nats_of_each_example_are_kept_and_add_up(folder: Path) -> None:
    first, second = scored(50), scored(5)
    record(folder, first)
    record(folder, second)
    assert sorted(path.name for path in (folder / 'nats').iterdir()) == ['test-bound-5.npz', 'test-bound-50.npz']
    found = records.read(folder)
    assert found.lines[0].origin['nats'] == 'nats/test-bound-50.npz' and found.lines[2].origin['nats'] is None
    for result, whole in ((found.lines[0], first), (found.lines[3], second)):
        kept = cells.nats(found, result)
        assert kept is not None and whole.nats is not None
        np.testing.assert_array_equal(kept[0], whole.nats)
        assert kept[0].sum() / kept[1].sum() == pytest.approx(result.value)
    in_bits = cells.nats(found, found.lines[1])
    assert in_bits is not None and in_bits[0].mean() == pytest.approx(found.lines[1].value)


def test_nats_of_another_evaluation_are_refused(folder: Path) -> None:
    record(folder, scored())
    found = records.read(folder)
    np.savez(folder / 'nats' / 'test-bound-50.npz', nats=np.ones(397), units=np.ones(397))
    with pytest.raises(BadInput, match='does not add up to test_nll'):
        cells.nats(found, found.lines[0])
    (folder / 'nats' / 'test-bound-50.npz').write_bytes(b'PK\x03\x04')
    with pytest.raises(BadInput, match='cannot be read'):
        cells.nats(found, found.lines[0])
    (folder / 'nats' / 'test-bound-50.npz').unlink()
    assert cells.nats(found, found.lines[0]) is None


def test_what_a_crash_left_is_taken_away_and_no_whole_line_is(folder: Path) -> None:
    record(folder, scored())
    path = folder / 'results.jsonl'
    whole = path.read_text()
    path.write_text(whole + whole[:70])
    record(folder, Scored([Result('training_seconds', 1.0, 'seconds', 'exact', 1, 'train', {})]))
    assert [line['metric'] for line in lines(path)] == ['test_nll', 'bits_per_dim', 'pixel_mmd', 'training_seconds']
    path.write_text(json.dumps(lines(path)[0]))  # whole, but for the end of the line
    record(folder, scored(5))
    assert len(lines(path)) == 4
