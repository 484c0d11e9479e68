"""Training that is interrupted, resumed, or goes wrong."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from research.engine import fit
from research.engine.checkpoint import Checkpoints, Place
from research.engine.loop import signals
from research.engine.plan import template
from tests.engine import bowl
from tests.engine.bowl import STEPS

TIMES = ('seconds', 'examples_per_second')


def identical(a: Any, b: Any) -> None:
    jax.tree.map(lambda u, v: np.testing.assert_array_equal(np.asarray(u), np.asarray(v)), a, b)


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The epochs of RUN/metrics.jsonl, without how long they took."""
    rows = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def newest(plan: fit.Plan, folder: Path) -> tuple[Any, Place]:
    book = Checkpoints(folder)
    try:
        progress, place, lost, _ = book.restore(template(plan))
    finally:
        book.close()
    assert not lost
    return progress, place


def kill_at_move(monkeypatch: pytest.MonkeyPatch, move: int, number: int) -> None:
    """Send this process signal `number` when the bar is moved for the `move`-th time: in the middle of training."""
    moves = []

    def moved(self: Any, steps: int, *rest: Any) -> None:
        moves.append(steps)
        if len(moves) == move:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(fit.Bar, 'move', moved)


@pytest.mark.parametrize('breaks', [1, 2, STEPS, STEPS + 3])
def test_nan_names_the_step_and_keeps_the_state_before_it(tmp_path: Path, breaks: int) -> None:
    epoch, step = divmod(breaks - 1, STEPS)
    plan = bowl.plan(breaks)
    with pytest.raises(fit.Diverged, match=rf'loss at epoch {epoch + 1}, step {step + 1}; .* before that step is kept'):
        fit.fit(plan, tmp_path, quiet=True)
    progress, place = newest(plan, tmp_path)
    assert place == Place(epoch, step)
    assert int(progress.state.mutable['constants']['taken']) == breaks - 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(progress.state))
    assert [row['epoch'] for row in metrics(tmp_path)] == list(range(1, epoch + 1))


def test_the_kept_state_is_that_of_a_run_without_the_fault(tmp_path: Path) -> None:
    with pytest.raises(fit.Diverged):
        fit.fit(bowl.plan(breaks=STEPS + 1), tmp_path, quiet=True)
    good = fit.fit(bowl.plan(epochs=1), None, quiet=True)
    identical(newest(bowl.plan(), tmp_path)[0].state, good)


def test_a_parameter_that_overflows_is_named(tmp_path: Path) -> None:
    with pytest.raises(fit.Diverged, match=r'step 1; after it the first tensor that is not finite is params/w;'):
        fit.fit(bowl.plan(learning_rate=3e38), tmp_path, quiet=True)
    assert newest(bowl.plan(), tmp_path)[1] == Place(0, 0)


def test_a_solution_that_is_infinite_is_named(tmp_path: Path) -> None:
    with pytest.raises(fit.Diverged, match=r'params/mean at the end of epoch 2, step 6; the state before it is kept'):
        fit.fit(bowl.em_plan(), tmp_path, quiet=True)
    progress, place = newest(bowl.em_plan(), tmp_path)
    assert place == Place(1, STEPS)
    np.testing.assert_allclose(progress.state.params['mean'], bowl.data().mean(axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
@pytest.mark.parametrize('move', [1, 4])
def test_a_signal_saves_and_resuming_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int, move: int
) -> None:
    plan = bowl.plan()
    whole = fit.fit(plan, tmp_path / 'whole', quiet=True)
    with monkeypatch.context() as patch:
        kill_at_move(patch, move, number)
        with pytest.raises(fit.Interrupted, match=r'stopped after epoch \d, step \d; saved') as stop:
            fit.fit(plan, tmp_path / 'parts', quiet=True)
    assert stop.value.code == code
    assert newest(plan, tmp_path / 'parts')[1] != Place(4, 0)
    again = fit.fit(plan, tmp_path / 'parts', resume=True, quiet=True)
    identical(whole, again)
    assert metrics(tmp_path / 'parts') == metrics(tmp_path / 'whole')


def test_the_handlers_of_before_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with signals() as received:
        os.kill(os.getpid(), signal.SIGTERM)
        assert received() == signal.SIGTERM
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_control_c_acts_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), signals() as received:
        os.kill(os.getpid(), signal.SIGINT)
        assert received() == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)


def test_resume_where_nothing_was_saved_starts_at_the_beginning(tmp_path: Path) -> None:
    plan = bowl.plan(epochs=2)
    identical(fit.fit(plan, tmp_path, resume=True, quiet=True), fit.fit(plan, None, quiet=True))
    assert [row['epoch'] for row in metrics(tmp_path)] == [1, 2]


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    plan = bowl.plan(epochs=2)
    state = fit.fit(plan, tmp_path, quiet=True)
    lines = (tmp_path / 'metrics.jsonl').read_text()
    identical(fit.fit(plan, tmp_path, resume=True, quiet=True), state)
    assert (tmp_path / 'metrics.jsonl').read_text() == lines


def half_a_line(path: Path) -> None:
    with path.open('a') as file:
        file.write('{"epoch": 3, "st')


def an_epoch_too_many(path: Path) -> None:
    with path.open('a') as file:
        file.write('{"epoch": 3, "step": 18, "loss": 0.0}\n')


def garbage(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b'\xff\xfe\n[]\n{}\n')


@pytest.mark.parametrize('harm', [half_a_line, an_epoch_too_many, garbage])
def test_no_epoch_stands_twice_after_a_crash(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    fit.fit(bowl.plan(), tmp_path / 'whole', quiet=True)
    fit.fit(bowl.plan(epochs=2), tmp_path / 'parts', quiet=True)
    harm(tmp_path / 'parts' / 'metrics.jsonl')
    fit.fit(bowl.plan(), tmp_path / 'parts', resume=True, quiet=True)
    assert metrics(tmp_path / 'parts') == metrics(tmp_path / 'whole')


def test_resuming_passes_over_a_damaged_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = bowl.plan(epochs=4, every=1)
    whole = fit.fit(plan, tmp_path / 'whole', quiet=True)
    fit.fit(bowl.plan(epochs=3, every=1), tmp_path / 'parts', quiet=True)
    last = tmp_path / 'parts' / 'checkpoints' / str(3 * STEPS)
    for path in last.rglob('*'):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    identical(fit.fit(plan, tmp_path / 'parts', resume=True, quiet=True), whole)
    assert f'checkpoint {3 * STEPS} cannot be read' in (said := capsys.readouterr().out)
    assert 'continuing from epoch 2, step 0' in said
    assert metrics(tmp_path / 'parts') == metrics(tmp_path / 'whole')


def test_checkpoints_come_as_often_as_asked(tmp_path: Path) -> None:
    fit.fit(bowl.plan(epochs=5, every=2), tmp_path, quiet=True)
    kept = sorted(int(path.name) for path in (tmp_path / 'checkpoints').iterdir() if path.is_dir())
    assert kept == [2 * STEPS, 4 * STEPS, 5 * STEPS]


def test_without_a_terminal_each_epoch_is_a_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    fit.fit(bowl.plan(epochs=3), None)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith('first step done')
    assert [line.split('  ')[0] for line in lines] == ['epoch 1/3', 'epoch 2/3', 'epoch 3/3']
    assert all('loss' in line and line.endswith('examples/s') for line in lines)
