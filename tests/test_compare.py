"""Run folders against each other: what is one cell, what may share a table, and what is said where it may not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.evaluate import Result, Scored, record
from scripts import compare, explain
from tests.command import Command, caller
from tests.report import runs

SCALE = {'kind': 'unit', 'shape': [8, 8, 1], 'modality': 'image', 'unit': 'example'}


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return caller(capsys, monkeypatch)


def fitted(
    folder: Path, mean: float, seed: int, beta: float = 1.0, *, config: str = 'vae_digits', kind: str = 'bound',
    k: int | None = 20, n: int = 100, split: str = 'test', unit: str = 'nats per example',
    values: Mapping[str, Any] | None = None, **more: Any,
) -> Path:  # fmt: skip
    """A run that was trained and evaluated, as far as its folder tells."""
    told = {'trainer.model.beta': beta, 'seed': seed, 'checkpoint_every': seed} | dict(values or {})
    extra = {'run': {}, 'train_shape': [[1], 'uint8'], 'levels': 17, 'seed': seed, 'values': told}
    runs.make(folder, config, extra=extra, **more)
    rng = np.random.default_rng([seed, int(10 * mean)])
    nats = mean + np.random.default_rng(0).normal(0, 5, n) + 0.1 * seed + rng.normal(0, 0.3, n)
    settings = {'standard_error': seed} | ({'samples': k} if k else {})
    nll = Result(f'{split}_nll', float(nats.mean()), unit, kind, n, split, settings)
    record(folder, Scored([nll], nats, np.ones(n)))
    return folder


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Three cells of three seeds: two betas of one config, and a mixture with an exact score."""
    folders = [fitted(tmp_path / f'b{b:g}s{seed}', 90 + b, seed, b) for b in (1.0, 4.0) for seed in range(3)]
    more = [fitted(tmp_path / f'm{seed}', 91.0, seed, config='mixture', kind='exact', k=None) for seed in range(3)]
    return folders + more


def test_runs_that_differ_in_their_seed_alone_are_a_cell(three: list[Path], command: Command) -> None:
    done = command(compare, *three, three[0])
    assert (done.code, done.err) == (0, '')
    head, facts, columns, *rows = done.out.splitlines()
    assert head == 'digits: test_nll in nats per example (less is better)'
    assert 'samples 20; measure density; split test; n 100; data sha256 ffffffffffff' in facts
    cells = [row.split() for row in rows[:3]]
    assert {' '.join(row[2:-5]).removesuffix(' <=') for row in cells} == {
        'mixture 3', 'vae_digits beta=1.0 3', 'vae_digits beta=4.0 3',
    }  # fmt: skip
    assert [row[0] for row in cells] == ['1', '1', '3']
    assert [row.split()[-3:] for row in rows if ' - ' in row[:6]] == [['seeds', 'and', 'examples']] * 3
    assert columns.startswith('rank')


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'k': 50}, 'samples (20 in {a}, 50 in {b})'),
        ({'protocol': {'binarise': 'threshold'}}, 'binarise (dynamic in {a}, threshold in {b})'),
        ({'sha256': '0' * 64}, 'data sha256 (ffff'),
        ({'data': 'mnist'}, 'data name (digits in {a}, mnist in {b})'),
        ({'kind': 'estimate'}, 'estimator (exact or bound in {a}, estimate in {b})'),
        ({'n': 50}, 'n (100 in {a}, 50 in {b})'),
        (
            {'domain': runs.DIGITS | {'unit': 'time step'}, 'unit': 'nats per time step'},
            'unit (nats per example in {a}, nats per time step in {b})',
        ),
        ({'domain': runs.DIGITS | {'cell': 1 / 17}}, 'measure (density in {a}, density per grey level in {b})'),
        (
            {'values': {'trainer.model.likelihood': 'Bernoulli'}},
            'measure (density in {a}, Bernoulli cross-entropy of grey',
        ),
    ],
)
def test_figures_of_two_protocols_are_refused_and_shown_apart(
    tmp_path: Path, command: Command, changes: dict[str, Any], said: str
) -> None:
    a, b = fitted(tmp_path / 'a', 90.0, 0), fitted(tmp_path / 'b', 91.0, 0, 4.0, **changes)
    refused = command(compare, a, b)
    assert (refused.code, refused.out) == (2, '')
    assert said.format(a=a, b=b) in refused.err and '--force shows them apart' in refused.err
    assert refused.err.count('\n') == 1
    apart = command(compare, a, b, '--force')
    assert apart.code == 0
    assert apart.out.count('rank  ') == 2 and 'pair' not in apart.out


def test_two_splits_are_refused(tmp_path: Path, command: Command) -> None:
    a, b = fitted(tmp_path / 'a', 90.0, 0), fitted(tmp_path / 'b', 91.0, 0, 4.0, split='valid')
    assert f'{b} has no test_nll, but valid_nll' in command(compare, a, b).err
    assert command(compare, b, '--metric', 'valid_nll').code == 0


def test_an_exact_figure_and_a_bound_may_meet_with_any_one_number_of_samples(tmp_path: Path, command: Command) -> None:
    exact = fitted(tmp_path / 'm', 95.0, 0, config='mixture', kind='exact', k=None)
    some, more = fitted(tmp_path / 'a', 90.0, 0), fitted(tmp_path / 'b', 91.0, 0, 4.0, k=50)
    done = command(compare, exact, some)
    assert done.code == 0 and 'A better ' in done.out and '<= 9' in done.out
    assert command(compare, exact, some, more).code == 2
    apart = command(compare, exact, some, more, '--force').out
    assert [apart.count(word) for word in ('mixture', 'vae_digits', 'A - B')] == [1, 2, 1]


def test_what_cannot_be_compared_is_told_in_one_sentence(tmp_path: Path, command: Command) -> None:
    a = fitted(tmp_path / 'a', 90.0, 0)
    twin = fitted(tmp_path / 'twin', 90.0, 0)
    gan = runs.make(tmp_path / 'gan', 'gan', [runs.figure('pixel_mmd', 0.1)])
    bare = runs.make(tmp_path / 'bare', 'vae')
    for arguments, said in [
        ((), 'no run folder given'),
        ((a, tmp_path / 'none'), 'is not a folder'),
        ((a, gan), f'{gan} has no test_nll, but pixel_mmd'),
        ((a, bare), f'{bare} has no test_nll, but no results at all'),
        ((a, twin), 'are the same configuration with the same seed, 0; give one of them'),
        ((a, '--metric', 'fid'), 'has no fid, but test_nll'),
    ]:
        done = command(compare, *arguments)
        assert (done.code, done.out) == (2, '')
        assert said in done.err and done.err.count('\n') == 1


def test_a_number_of_a_run_that_was_trained_on_is_refused(tmp_path: Path, command: Command) -> None:
    a = fitted(tmp_path / 'a', 90.0, 0, values={'epochs': 10})
    card = (a / 'card.json').read_text()
    (a / 'card.json').write_text(card.replace('"epochs": 10', '"epochs": 20'))
    assert 'was scored when epochs was 10, and now it is 20' in command(compare, a).err


def test_without_nats_seeds_are_permuted_and_it_is_said(three: list[Path], command: Command) -> None:
    for path in three[0].glob('nats/*'):
        path.unlink()
    done = command(compare, *three)
    assert done.out.count('permutation of seeds\n') == 2
    assert 'vae_digits beta=1.0: without the nats of each example' in done.out
    assert command(compare, *three, '--pairs', '1').out.count('... and 2 more pairs') == 1


def test_a_number_is_explained(three: list[Path], command: Command) -> None:
    value = float(next(line for line in command(explain, three[3], 'test_nll').out.splitlines()).split()[2])
    for wanted in (f'{value:.2f}', f'{value:.4f}'):
        done = command(explain, three[3], wanted)
        assert done.code == 0
        assert "a bound: the model's true figure is at least as good" in done.out
        assert f'nats/test-bound-20.npz: 100 values, {100 * value:,.2f}'[:-1] in done.out
        assert all(
            name in done.out for name in ('f' * 64, 'trainer.model.beta', 'abc123', 'binarise', 'standard_error')
        )
        assert max(map(len, done.out.splitlines()[:-4])) <= 120
    for wanted, said in [
        ('95', 'has no result'),
        ('bpd', 'it has test_nll 9'),
        (f'{value + 0.01:.2f}', 'has no result'),
    ]:
        done = command(explain, three[3], wanted)
        assert (done.code, done.out) == (2, '') and said in done.err
    record(three[3], Scored([Result('test_nll', value + 1, 'nats per example', 'bound', 100, 'test', {'samples': 50})]))
    assert '(20 samples), test_nll 9' in command(explain, three[3], 'test_nll').err
    assert 'expected a run folder and a number' in command(explain, three[3]).err
