"""What a run folder says is taken as it stands; what is broken is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.report import records
from research.types import BadInput
from tests.report import runs


def test_the_last_line_of_a_metric_and_split_wins(tmp_path: Path) -> None:
    valid = runs.nll(99.0) | {'split': 'valid'}
    record = records.read(runs.make(tmp_path / 'a', 'vae', [runs.nll(50.0), valid, runs.nll(46.0)]))
    assert record.results['test_nll', 'test'].value == 46.0
    assert record.results['test_nll', 'valid'].value == 99.0


def test_training_seconds_add_up_and_a_repeated_epoch_counts_once(tmp_path: Path) -> None:
    folder = runs.make(tmp_path / 'a', 'vae', losses=[3.0, 2.0])
    with (folder / 'metrics.jsonl').open('a') as lines:
        lines.write('{"epoch": 2, "seconds": 4.0, "loss": 1.9}\n\n')
    with (folder / 'results.jsonl').open('a') as lines:
        lines.write('{"metric": "training_seconds", "value": 2.5, "split": "train"}')
    record = records.read(folder)
    assert record.seconds == 1.5 + 4.0
    (folder / 'metrics.jsonl').unlink()
    assert records.read(folder).seconds == 2.5
    assert [epoch['loss'] for epoch in record.epochs] == [3.0, 1.9]


def test_what_is_missing_is_none(tmp_path: Path) -> None:
    folder = runs.make(tmp_path / 'a', 'gan', losses=[], extra={'parameters': None, 'commit': None})
    record = records.read(folder)
    assert (record.seconds, record.parameters, record.network, dict(record.results)) == (None, None, None, {})


@pytest.mark.parametrize(
    ('file', 'content', 'told'),
    [
        ('card.json', '{"format": 1, "config": ', 'card.json is not valid JSON'),
        ('card.json', '[1]', 'card.json has format list'),
        ('card.json', '{"format": 9}', 'card.json has format 9; this version reads up to 2'),
        ('card.json', '{"format": 1, "config": 3}', 'card.json: config is 3; it must be of type str'),
        ('card.json', '{"format": 1, "config": "a", "data": {}, "domain": {}}', 'data.name is missing'),
        ('metrics.jsonl', '{"epoch": 1}\n{"epoch"\n{"epoch": 3}', 'metrics.jsonl line 2 is not valid JSON'),
        ('metrics.jsonl', '{"loss": 1}', 'metrics.jsonl line 1: epoch is missing'),
        ('metrics.jsonl', '[[[\n', 'metrics.jsonl line 1'),
        ('results.jsonl', '3', 'results.jsonl line 1 is not a JSON object'),
        ('results.jsonl', '{"metric": "test_nll", "value": "46"}', "value is '46'; it must be of type int or float"),
        ('results.jsonl', '{"metric": "test_nll", "value": true}', 'value is True'),
        ('results.jsonl', '{"metric": "test_nll", "value": NaN}', 'the value NaN'),
        ('results.jsonl', '{"metric": "test_nll", "value": 1, "kind": "sure"}', 'exact, bound, estimate'),
        ('results.jsonl', '{"metric": "test_nll", "value": 1, "unit": "bits"}', "'nats per example'"),
        ('results.jsonl', '{"metric": "a", "value": 1, "n": "many"}', 'an n that is not a number'),
    ],
)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path: Path, file: str, content: str, told: str) -> None:
    folder = runs.make(tmp_path / 'run', 'vae', [runs.nll(46.0)])
    (folder / file).write_text(content)
    with pytest.raises(BadInput) as refusal:
        records.read(folder)
    assert told in str(refusal.value)
    assert file in str(refusal.value)
    assert '\n' not in str(refusal.value)


def test_the_half_of_a_line_that_a_crash_leaves_is_passed_over(tmp_path: Path) -> None:
    folder = runs.make(tmp_path / 'run', 'vae', [runs.nll(46.0)])
    whole = (folder / 'results.jsonl').read_text()
    for cut in range(len(whole) - 1):
        (folder / 'results.jsonl').write_text(whole + whole[:cut])
        (folder / 'metrics.jsonl').write_text('{"epoch": 1}\n' + '{"epoch": 2}'[: min(cut, 11)])
        record = records.read(folder)
        assert (len(record.lines), len(record.epochs)) == (1, 1)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    folder = runs.make(tmp_path / 'run', 'vae')
    (folder / 'metrics.jsonl').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(BadInput, match=r'metrics\.jsonl cannot be read'):
        records.read(folder)


def test_what_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r'no card\.json'):
        records.read(tmp_path)
    with pytest.raises(BadInput, match='is not a folder'):
        records.read(tmp_path / 'nowhere')
