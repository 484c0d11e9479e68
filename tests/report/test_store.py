"""Questions to all runs at once: what is a row, what may be asked, and what is said to a question that cannot be."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from research.report import store
from research.types import BadInput
from scripts import results
from tests.command import Command, caller
from tests.report import runs

pytest.importorskip('duckdb')


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return caller(capsys, monkeypatch)


def line(metric: str, value: float, seed: int, beta: float = 1.0, **more: Any) -> dict[str, Any]:
    """A line as `research.evaluate.record` writes it, as far as the store looks at it."""
    return {
        'metric': metric, 'value': value, 'unit': 'nats per example', 'kind': 'bound', 'n': 397, 'split': 'test',
        'settings': {'samples': 20, 'standard_error': 0.5}, 'config': 'vae_digits', 'model': 'VAE', 'seed': seed,
        'data': {'name': 'digits', 'sha256': 'f' * 64, 'values': 'binarise', 'protocol': {'sizes': {'test': 397}}},
        'values': {'trainer.model.beta': beta, 'trainer.model.encoder.hidden': [8], 'batch_size': None},
        'trained': {'commit': 'abc', 'device': 'cpu', 'versions': {'jax': '0.10.2'}}, 'time': f'2026-01-0{seed + 1}T00:00:00+00:00',
    } | more  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Three seeds at two betas, one in a folder whose name DuckDB would take for a pattern, and a GAN without a score."""
    for seed in range(3):
        for beta in (1.0, 4.0):
            name = f'b{beta:g}_s{seed}' if seed else f'[{beta:g}]'
            runs.make(tmp_path / 'sweep' / name, 'vae_digits', [line('test_nll', 90 + beta + seed / 10, seed, beta)])
    runs.make(tmp_path / 'gan', 'gan', [runs.figure('pixel_mmd', 0.1)])
    return tmp_path


def answer(home: Path, **asked: str) -> list[tuple[Any, ...]]:
    connection = store.table([home])
    store.query(connection, **asked)
    return list(connection.execute('FROM answer').fetchall())


def test_every_line_of_every_run_is_a_row(home: Path) -> None:
    assert answer(home, select='count(*), count(config), count(values)') == [(7, 6, 6)]
    ((run, value),) = answer(home, select='run, value', where="seed = 0 and values['trainer.model.beta'] = 4")
    assert (Path(run), value) == (home / 'sweep' / '[4]', 94.0)
    columns = 'config, data, preprocessing, "commit", device, jax, samples, error, n'
    assert answer(home, select=f'distinct {columns}', where='seed is not null') == [
        ('vae_digits', 'digits', 'binarise', 'abc', 'cpu', '0.10.2', 20, 0.5, 397)
    ]


def test_config_values_are_numbers_and_not_texts(home: Path) -> None:
    """As texts, '4.0' > '10' would hold, and 0.25 be compared with 0.5 in one decimal."""
    assert answer(home, where="values['trainer.model.beta'] > 10", select='count(*)') == [(0,)]
    means = answer(
        home, select="values['trainer.model.beta'] AS beta, round(avg(value), 3)", where='beta > 0', group='1'
    )
    assert sorted(means) == [(1.0, 91.1), (4.0, 94.1)]


def test_a_line_that_was_cut_short_is_no_row_and_spoils_none(tmp_path: Path) -> None:
    whole = json.dumps(line('test_nll', 90.0, 0))
    folder = runs.make(tmp_path / 'a', 'vae')
    infinite = whole.replace('90.0', 'Infinity')
    (folder / 'results.jsonl').write_text('\n'.join([whole, whole[:100], infinite, whole[:50]]))
    assert answer(tmp_path, select='value') == [(90.0,), (float('inf'),)]


def test_the_last_of_its_kind_in_its_run_is_the_latest(tmp_path: Path) -> None:
    fifty = line('test_nll', 90.0, 0, settings={'samples': 50})
    lines = [line('test_nll', 92.0, 0), fifty, line('test_nll', 91.0, 0)]
    runs.make(tmp_path / 'a', 'vae', lines)
    assert answer(tmp_path, select='value', where='latest', order='value') == [(90.0,), (91.0,)]
    assert answer(tmp_path, select='value') == [(92.0,), (90.0,), (91.0,)]


@pytest.mark.parametrize(
    ('asked', 'said'),
    [
        ({'where': 'foo = 3'}, '--where foo = 3: Referenced column "foo" not found.*the columns are run, config'),
        ({'where': '(value'}, '--where .value: syntax error'),
        ({'where': 'metric = 3'}, "Could not convert string '.*' to INT32"),
        ({'where': "values['beta'] = 3"}, 'Could not find key "beta".*--select "values" shows'),
        ({'where': "metric = 'nothing'"}, "no result matches --where metric = 'nothing'"),
        ({'select': 'nosuch(value)'}, 'nosuch does not exist'),
        ({'order': 'zz'}, '--order zz: Referenced column "zz"'),
    ],
)
def test_a_question_that_cannot_be_answered_is_told_in_one_sentence(
    home: Path, asked: dict[str, str], said: str
) -> None:
    with pytest.raises(BadInput, match=said) as error:
        store.query(store.table([home]), **asked)
    assert '\n' not in str(error.value)


def test_where_there_is_nothing_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match='nowhere is not a folder'):
        store.table([tmp_path / 'nowhere'])
    with pytest.raises(BadInput, match=r'no results there; python -m scripts\.evaluate RUN'):
        store.table([tmp_path])
    (tmp_path / 'results.jsonl').write_text('{"metr')
    with pytest.raises(BadInput, match=r'1 results\.jsonl, and not one result'):
        store.table([tmp_path])


def test_it_prints_a_table_and_writes_files(home: Path, command: Command) -> None:
    done = command(results, home, home / 'sweep', '--where', "metric = 'test_nll'", '--order', 'value desc')
    assert (done.code, done.err) == (0, '')
    assert [row.split('│')[3].strip() for row in done.out.splitlines() if 'test_nll' in row][:2] == ['94.2', '94.1']
    files = ('--csv', home / 'a.csv', '--parquet', home / 'a.parquet')
    done = command(results, home, *files)
    assert done.out == f'7 rows in {home / "a.csv"} and {home / "a.parquet"}\n'
    with (home / 'a.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert {row['config'] for row in rows} == {'vae_digits', ''} and len(rows) == 7
    connection = store.table([home])
    read = "SELECT values['trainer.model.beta'] FROM read_parquet(?) WHERE seed = 2 ORDER BY 1"
    assert connection.execute(read, [str(home / 'a.parquet')]).fetchall() == [(1.0,), (4.0,)]
    done = command(results, home, '--csv', home / 'no' / 'a.csv')
    assert done.code == 2 and 'a.csv cannot be written: Cannot open file' in done.err
    assert command(results, home, '--where', 'foo').code == 2
