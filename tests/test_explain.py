"""The commands that `scripts.explain` prints make the same run again."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import pytest

from research.data import named
from research.engine import override
from research.report import records
from research.report.records import Result
from research.run import Run
from scripts import configs, explain
from tests.report import runs


def flags_of(command: str, flag: str) -> list[str]:
    words = shlex.split(command)
    return [words[i + 1] for i, word in enumerate(words) if word == flag]


@pytest.mark.parametrize(
    ('config', 'data', 'assignments'),
    [
        ('vae_digits', None, ['trainer.model.beta=4', 'seed=3', 'trainer.model.encoder.hidden=8,8']),
        ('vae_digits', 'mnist', ['data.valid=100', 'trainer.optimiser.clip=1']),
        ('ngram_python', None, ['data.length=16', 'trainer.model.order=3']),
        ('mixture_digits', None, []),
    ],
)
def test_the_command_makes_the_same_run(config: str, data: str | None, assignments: list[str], tmp_path: Path) -> None:
    run = configs.build(config)
    run = dataclasses.replace(run, data=named(data, run.data)) if data else run
    run = override.apply(run, assignments)
    values = json.loads(json.dumps(override.flatten(run)))
    folder = runs.make(tmp_path / 'run', config, extra={'values': values, 'commit': 'abc+'})
    result = Result(metric='test_nll', value=1.0, unit='nats per example', kind='bound', settings={'samples': 50})
    checkout, warning, train, evaluate = explain.commands(records.read(folder), result)
    assert (checkout, warning[0]) == ('git checkout abc', '#')
    again: Run = configs.build(config)
    for name in flags_of(train, '--data'):
        again = dataclasses.replace(again, data=named(name, again.data))
    assert override.apply(again, flags_of(train, '--set')) == run
    assert len(flags_of(train, '--set')) <= len(assignments)
    assert flags_of(train, '--out') == [str(tmp_path / 'run_again')]
    assert evaluate == f'python -m scripts.evaluate {tmp_path / "run_again"} --samples 50'


@pytest.mark.parametrize(
    ('config', 'said'), [('', 'no config makes this run'), ('gone', 'no config makes'), ('vae_digits', 'has changed')]
)
def test_where_no_config_makes_the_run_it_is_said(config: str, said: str, tmp_path: Path) -> None:
    folder = runs.make(tmp_path / 'run', config)
    result = Result(metric='training_seconds', value=1.0, split='train')
    last = explain.commands(records.read(folder), result)[-1]
    assert last.startswith('# ') and said in last and 'card.json' in last
