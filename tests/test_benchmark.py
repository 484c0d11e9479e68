"""The benchmark's arithmetic, and that our side of each contest runs. What it measures is for scripts.benchmark."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scripts.benchmarks import circuits, contest, dcgan, iwae, mixture, peak, sequences, sweep, vae
from scripts.benchmarks.contest import Contest, Measure


def clock(*seconds: float) -> Measure:
    ticks = iter(seconds)
    return lambda: next(ticks)


def test_ratios_are_medians_of_neighbours_after_one_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, 'PAUSE', 0.0)
    contenders = {'ours': clock(9.0, 1.0, 2.0, 1.0), 'theirs': clock(9.0, 3.0, 4.0, 2.0)}
    outcome = contest.hold(Contest(name='toy', unit='step', contenders=contenders, want={'theirs': 2.5}), 3)
    assert outcome.ratio('theirs') == 2.0  # of 3, 2 and 2
    assert outcome.median('ours') == 1.0
    shown = contest.table(outcome)
    assert 'wanted 2.5: NO' in shown
    assert len({len(line.split('  wanted')[0]) for line in shown.splitlines()[2:]}) == 1


@pytest.mark.parametrize(
    'ours',
    [
        lambda: vae.engine(vae.trainer(), np.ones((200, 784), np.float32), 100, 2),
        lambda: vae.engine(iwae.trainer(), np.ones((40, 784), np.float32), 20, 2),
        lambda: vae.engine(dcgan.trainer(width=2), dcgan.data(1), 32, 2),
        lambda: mixture.ours(np.random.default_rng(0).random((2000, 5), dtype=np.float32)),
    ],
    ids=['vae', 'iwae', 'dcgan', 'mixture'],
)
def test_our_side_of_each_contest_runs(ours: Callable[[], Measure]) -> None:
    assert ours()() > 0


def test_the_share_of_the_peak_is_reported() -> None:
    shown = peak.report(width=2, batch=4, side=16)
    assert 'GFLOP' in shown
    assert 'nan' not in shown


def test_a_sweep_and_its_solo_runs_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, 'EPOCHS', 1)
    plan = sweep.small()
    members = sweep.grid(plan, 4)
    assert len({(float(m.numbers['model.beta']), m.seed) for m in members}) == 4
    assert sweep.together(plan, members, 'map')() > 0
    assert sweep.solo(plan, members[:1])() > 0


@pytest.mark.parametrize('kind', ['categorical', 'gaussian'])
def test_contenders_of_baum_welch_end_at_one_likelihood(kind: str) -> None:
    held = sequences.baum_welch(kind, states=2, sequences=4, length=10)
    assert held.contenders['ours']() > 0
    assert not any('ends at' in note for note in held.notes)


def test_the_best_tree_is_timed_with_its_compilation() -> None:
    assert 'with compilation' in sequences.tree(rows=40, variables=6)


def test_contenders_of_the_circuit_end_at_one_likelihood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuits, 'BATCH', 20)
    x = (np.random.default_rng(0).random((60, 5)) < 0.4).astype(np.float32)
    monkeypatch.setattr(circuits, 'data', lambda: (x, 'noise'))
    held = circuits.contest()
    assert held.contenders['ours']() > 0
    assert not any('ends at' in note for note in held.notes)
