"""What is done about training that goes wrong: stop, take it back, or only say so."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from research.engine import events, fit
from research.engine.checkpoint import Checkpoints, Place
from research.engine.plan import Plan
from research.engine.watch import Limits, Watch
from research.types import BadInput
from tests.engine import bowl
from tests.engine.bowl import STEPS
from tests.engine.test_fit import identical, metrics, newest

FAST = Limits(every=10, grace=0, patience=2)


def steep(epochs: int = 11, every: int = 4) -> Plan:
    """So steep that w grows 2.3-fold each step, until a loss is infinite in epoch 9; with half the rate it shrinks."""
    return bowl.plan(epochs=epochs, every=every, learning_rate=2.0)


def slow(epochs: int = 9, every: int = 3) -> Plan:
    """The loss grows 1.4-fold each step: an explosion that is seen long before anything is infinite, at step 40."""
    return bowl.plan(epochs=epochs, every=every, learning_rate=1.55)


def noted(folder: Path) -> list[tuple[Any, ...]]:
    """(event, epoch it came back to or happened in)."""
    return [(e['event'], e['to']['epoch'] if 'to' in e else e['epoch']) for e in events.read(folder)]


def test_a_run_is_taken_back_and_goes_on_with_half_the_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit.fit(steep(), tmp_path, on_divergence='rollback')
    losses = [row['loss'] for row in metrics(tmp_path)]
    assert losses[7] > 1e30
    assert losses[10] < 1e-2 * losses[7]
    (event,) = events.read(tmp_path)
    assert (event['event'], event['epoch'], event['to'], event['rollbacks']) == (
        'rollback',
        8,
        {'epoch': 8, 'step': 0},
        0,
    )
    assert event['learning_rate_times'] == 0.5
    assert event['why'].startswith('NaN or infinity: loss at epoch 9')
    assert event['origin'].startswith('it began in the forward pass: ')
    assert 'back to epoch 8, step 0, with 0.5 times the learning rate' in capsys.readouterr().out
    assert [row['epoch'] for row in metrics(tmp_path)] == list(range(1, 12))
    assert newest(steep(), tmp_path)[1] == Place(11, 0)


def test_without_a_checkpoint_it_begins_again(tmp_path: Path) -> None:
    again = fit.fit(steep(every=0), tmp_path, on_divergence='rollback', quiet=True)
    assert noted(tmp_path) == [('rollback', 0)]
    identical(again, fit.fit(bowl.plan(epochs=11, learning_rate=1.0), None, quiet=True))
    identical(again, fit.fit(steep(), None, on_divergence='rollback', quiet=True))


def test_a_checkpoint_from_which_it_went_wrong_twice_is_passed_over(tmp_path: Path) -> None:
    plan = bowl.plan(breaks=3 * STEPS + 2, epochs=5, every=1)
    with pytest.raises(fit.Diverged, match=r'loss at epoch 4, step 2; .* after 3 rollbacks; the state before'):
        fit.fit(plan, tmp_path, on_divergence='rollback', quiet=True)
    assert noted(tmp_path) == [('rollback', 3), ('rollback', 2), ('rollback', 3), ('stopped', 3)]
    assert [row['epoch'] for row in metrics(tmp_path)] == [1, 2, 3]
    assert newest(plan, tmp_path)[1] == Place(3, 1)


class Killed(BaseException):
    pass


def interrupted(patch: pytest.MonkeyPatch, move: int, number: int | None) -> None:
    """At the `move`-th movement of the bar, send a signal, or die."""
    moves = []

    def moved(self: Any, *arguments: Any) -> None:
        moves.append(arguments)
        if len(moves) == move:
            if number is None:
                raise Killed
            os.kill(os.getpid(), number)

    patch.setattr(fit.Bar, 'move', moved)


@pytest.mark.parametrize(('plan', 'watched', 'moves'), [(steep(), False, (3, 9, 11)), (slow(), True, (4, 8, 12))])
@pytest.mark.parametrize('number', [None, signal.SIGTERM])
def test_a_rollback_comes_out_the_same_after_a_kill(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plan: Plan,
    watched: bool,
    moves: tuple[int, ...],
    number: int | None,
) -> None:
    """Of a loss that is not finite, or by the watch, which has to remember what it saw; before the alarm and after it."""

    def train(folder: Path, resume: bool) -> Any:
        watch = Watch(FAST) if watched else None
        return fit.fit(plan, folder, resume=resume, on_divergence='rollback', watch=watch, quiet=True)

    whole = train(tmp_path / 'whole', False)
    assert [event for event, _ in noted(tmp_path / 'whole')] == ['rollback']
    for move in moves:
        parts = tmp_path / str(move)
        with monkeypatch.context() as patch:
            interrupted(patch, move, number)
            with pytest.raises((Killed, fit.Interrupted)):
                train(parts, False)
        identical(train(parts, True), whole)
        assert metrics(parts) == metrics(tmp_path / 'whole')
        assert events.read(parts) == events.read(tmp_path / 'whole')
        assert kept(parts) == kept(tmp_path / 'whole')


def kept(folder: Path) -> list[int]:
    book = Checkpoints(folder)
    try:
        return book.steps()
    finally:
        book.close()


def test_a_run_stopped_by_the_watch_keeps_the_last_state_that_looked_well(tmp_path: Path) -> None:
    with pytest.raises(fit.Diverged, match=r'explosion: .*; the state before it began is kept in '):
        fit.fit(slow(), tmp_path, watch=Watch(FAST), quiet=True)
    (event,) = events.read(tmp_path)
    good, place = newest(slow(), tmp_path)
    assert place == Place(**event['good'])
    assert (event['epoch'], event['step']) > (place.epoch, place.step)
    total = place.epoch * STEPS + place.step
    assert total == 20
    assert kept(tmp_path)[-1] == total  # and what was saved since is gone
    assert int(good.state.mutable['constants']['taken']) == total
    with pytest.raises(fit.Diverged, match='explosion'):  # nothing has changed
        fit.fit(slow(), tmp_path, resume=True, watch=Watch(FAST), quiet=True)
    assert len(events.read(tmp_path)) == 2


def test_an_alarm_that_is_ignored_is_written_down_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = fit.fit(slow(), tmp_path, on_divergence='ignore', watch=Watch(FAST))
    identical(state, fit.fit(slow(), None, quiet=True))
    (event,) = events.read(tmp_path)
    assert event['event'] == 'alarm'
    assert event['why'].startswith('explosion: the loss is ')
    assert f'warning: {event["why"]}' in capsys.readouterr().out
    half = tmp_path / 'half'
    with monkeypatch.context() as patch:
        interrupted(patch, 11, None)  # after the alarm, and before another checkpoint
        with pytest.raises(Killed):
            fit.fit(slow(), half, on_divergence='ignore', watch=Watch(FAST), quiet=True)
    assert len(events.read(half)) == 1
    fit.fit(slow(), half, resume=True, on_divergence='ignore', watch=Watch(FAST), quiet=True)
    assert events.read(half) == [event]
    with pytest.raises(fit.Diverged):  # what is not finite stops all the same
        fit.fit(bowl.plan(breaks=2), None, on_divergence='ignore', watch=Watch(FAST), quiet=True)


def test_what_has_no_learning_rate_cannot_be_taken_back() -> None:
    with pytest.raises(
        BadInput, match='on_divergence=rollback: EMTrainer has no learning rate to halve; expected stop'
    ):
        fit.fit(bowl.em_plan(), None, on_divergence='rollback', quiet=True)
    with pytest.raises(BadInput, match='on_divergence=explode: expected one of stop, rollback, ignore'):
        fit.fit(bowl.plan(), None, on_divergence='explode', quiet=True)


def test_events_that_come_again_are_dropped(tmp_path: Path) -> None:
    for rollbacks, epoch in ((0, 1), (0, 4), (1, 2), (1, 3)):
        events.note(tmp_path, 'alarm', Place(epoch, 0), rollbacks, why='...')
    with (tmp_path / events.EVENTS).open('a') as file:
        file.write('{"event": "ala')
    events.forget(tmp_path, Place(2, 5), 1)
    assert [(e['rollbacks'], e['epoch']) for e in events.read(tmp_path)] == [(0, 1), (0, 4), (1, 2)]
    events.forget(tmp_path, Place(0, 0), 0)
    assert events.read(tmp_path) == []
    assert events.read(tmp_path / 'nowhere') == []
