"""Train one run: from a plan and a folder to a trained state, through interruptions, other devices and divergence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from research.engine import events, feed
from research.engine import mesh as meshes
from research.engine import numbers as settings
from research.engine import origin as origins
from research.engine import plan as plans
from research.engine import program as programs
from research.engine.checkpoint import Checkpoints, Place, first_process
from research.engine.epoch import Progress
from research.engine.logbook import Bar, Logbook
from research.engine.loop import Alarm, Diverged, Interrupted, Loop, Piece
from research.engine.plan import Plan
from research.engine.program import Program, Setting
from research.engine.watch import Watch
from research.types import BadInput

__all__ = ['Diverged', 'Interrupted', 'Plan', 'fit']
ROLLBACKS = 3  # so many times a run that went wrong is taken back, with half the learning rate each time
ON_DIVERGENCE = ('stop', 'rollback', 'ignore')


def fit(
    plan: Plan,
    folder: Path | None,
    *,
    resume: bool = False,
    on_divergence: str = 'stop',
    watch: Watch | None = None,
    program: Program | None = None,
    name: str = 'train',
    quiet: bool = False,
) -> Any:
    """Train to the end of `plan.epochs` and return the trainer's state.

    With a folder: metrics.jsonl and checkpoints/ are written there; with `resume`, from its last readable checkpoint on.
    `on_divergence`, where a number is not finite or the `watch` sounds an alarm: 'stop'; 'rollback': from the last good
    checkpoint on with half the learning rate, noted in events.jsonl; or 'ignore': alarms are noted there, and only what is
    not finite stops. `program`: one that was compiled for another plan of the same structure. Raises Interrupted after
    saving, Diverged after keeping the last good state.
    """
    check(plan, on_divergence)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    one = OneRun(plan, folder, name, quiet, program, watch)
    if watch is not None:
        watch.tell = one.warn if on_divergence == 'ignore' else None
        watch.keep = on_divergence == 'stop'
    try:
        progress, place = one.begin(resume)
        while True:
            try:
                return one.train(progress, place)
            except Alarm as alarm:
                if on_divergence != 'rollback' or one.rollbacks >= ROLLBACKS:
                    one.keep_bad(alarm)
                    raise Diverged(one.told(alarm), alarm.place) from None
                progress, place = one.roll_back(alarm)
    finally:
        one.close()


def check(plan: Plan, on_divergence: str) -> None:
    """Raises BadInput where a run cannot be gone on with in this way."""
    if on_divergence not in ON_DIVERGENCE:
        raise BadInput(f'on_divergence={on_divergence}: expected one of {", ".join(ON_DIVERGENCE)}')
    if on_divergence == 'rollback' and not settings.rates(settings.numbers(plan.trainer)):
        trainer = type(plan.trainer).__name__
        raise BadInput(f'on_divergence=rollback: {trainer} has no learning rate to halve; expected stop or ignore')


class OneRun:
    """A single run's folder, program and bar; what a `Loop` reports to."""

    def __init__(
        self,
        plan: Plan,
        folder: Path | None,
        name: str,
        quiet: bool,
        program: Program | None = None,
        watch: Watch | None = None,
    ):
        self.plan, self.folder, self.quiet, self.watch = plan, folder, quiet, watch
        self.mesh = meshes.build(plan.mesh)
        self.numbers = plans.numbers(plan)
        self.program = program or Program(plan, self.mesh)
        self.x = feed.place(plan.x, self.program.place)
        self.bar = Bar(name, plan.epochs * plan.steps, quiet or not first_process())
        self.book: Checkpoints | None = None
        self.logbook: Logbook | None = None
        self.rollbacks = 0
        self.tried: int | None = None  # the step that the last rollback went back to

    @property
    def setting(self) -> Setting:
        return programs.one(self.plan, settings.scale(self.numbers, 0.5**self.rollbacks))

    def begin(self, resume: bool) -> tuple[Progress, Place]:
        """Where training starts: the last readable checkpoint, or the state before the first step."""
        if resume and self.folder is not None:
            book = self.open()
            if book.latest() is not None:
                progress, place, lost, notes = book.restore(plans.template(self.plan))
                for sentence in lost:
                    print(f'{sentence}; continuing from epoch {place.epoch}, step {place.step}', flush=True)
                book.forget(self.total(place))
                self.rollbacks, self.tried = int(notes.get('rollbacks', 0)), notes.get('tried')
                self.recall(notes)
                self.drop_events(place)
                return progress, place
            book.forget(0)  # what a kill during the first save left
            self.drop_events(Place(0, 0))
        return self.start(), Place(0, 0)

    def recall(self, notes: dict[str, Any]) -> None:
        if self.watch is not None:
            self.watch.recall(notes.get('watch'))

    def drop_events(self, place: Place) -> None:
        if self.folder is not None and first_process():
            events.forget(self.folder, place, self.rollbacks)

    def start(self) -> Progress:
        progress = self.program.init(programs.one(self.plan, self.numbers), plans.sample(self.plan))
        placed: Progress = meshes.place_state(progress, self.mesh)
        return placed

    def train(self, progress: Progress, place: Place) -> Any:
        if self.folder is not None and first_process():
            if self.logbook is not None:
                self.logbook.close()
            self.logbook = Logbook(self.folder, place.epoch)
        self.bar.start(self.total(place))
        return Loop(self.plan, self.program, self.setting, self.x, self, self.watch).run(progress, place).state

    def total(self, place: Place) -> int:
        return place.epoch * self.plan.steps + place.step

    # what a Loop reports

    def moved(self, piece: Piece, progress: Progress) -> None:
        loss = progress.totals.get('loss')
        mean = None if loss is None else float(loss) / piece.last
        if piece.first_call and not self.quiet and not self.bar.terminal and first_process():
            print(f'first step done, compiled and run in {piece.seconds:.1f} s', flush=True)
        rate = piece.steps * self.plan.batch_size / piece.seconds
        self.bar.move(piece.steps, f'{piece.epoch + 1}/{self.plan.epochs}', mean, rate)

    def ended(self, progress: Progress, extra: Any, epoch: int, steps: int, seconds: float) -> dict[str, float]:
        """One line for the epoch: the mean of each metric over all its steps."""
        plan = self.plan
        means = {k: float(v) / plan.steps for k, v in progress.totals.items()} | {k: float(v) for k, v in extra.items()}
        rate = steps * plan.batch_size / seconds
        self.bar.epoch(f'{epoch + 1}/{plan.epochs}', means.get('loss'), rate)
        if self.logbook:
            where = {'epoch': epoch + 1, 'step': (epoch + 1) * plan.steps}
            pace = {'seconds': round(seconds, 4), 'examples_per_second': round(rate, 1)}
            self.logbook.write(where | pace | means)
        return means

    def save(self, progress: Progress, place: Place, means: dict[str, float] | None = None) -> None:
        """What an epoch has come to, or without `means` what was reached when the run was interrupted."""
        if self.folder is None:
            return
        value = (means or {}).get(self.plan.keep_best or '')
        notes: dict[str, Any] = {'rollbacks': self.rollbacks, 'tried': self.tried}
        if self.watch is not None:
            notes['watch'] = self.watch.remembered()
        self.open().save(self.total(place), progress, place, value, notes, passing=means is None)

    def judge(self, before: Progress, after: Progress, ok: Any, piece: Piece, loop: Loop) -> None:
        """Raises Alarm where a metric or the state is not finite after a piece."""
        if int(after.bad_step) < 0 and bool(ok):
            return
        raise loop.blame(before, piece)

    def judge_end(self, before: Progress, after: Progress, ok: Any, epoch: int) -> None:
        if not bool(ok):
            raise Alarm(
                f'NaN or infinity: {programs.culprit(after.state)} at the end of epoch {epoch + 1}, step {self.plan.steps}',
                before,
                Place(epoch, self.plan.steps),
                'it',
                origins.of_end(self.plan, self.setting.numbers, before.state),
            )

    # when it goes wrong

    def warn(self, alarm: Alarm) -> None:
        self.note('alarm', alarm)
        if not self.quiet and first_process():
            print(f'warning: {alarm}', flush=True)

    def keep_bad(self, alarm: Alarm) -> None:
        """The last good state, for who wants to look at it or to go on from there."""
        if alarm.before is not None and self.folder is not None:
            self.open().forget(self.total(alarm.place))
            self.save(alarm.before, alarm.place)
        self.note('stopped', alarm)

    def told(self, alarm: Alarm) -> str:
        tries = f' after {self.rollbacks} rollbacks' if self.rollbacks else ''
        is_kept = alarm.before is not None and self.folder is not None
        kept = f'; the state before {alarm.since} is kept in {self.folder}' if is_kept else ''
        return f'{alarm}{tries}{kept}' + (f'; {alarm.origin}' if alarm.origin else '')

    def roll_back(self, alarm: Alarm) -> tuple[Progress, Place]:
        """The last good checkpoint, or the beginning; from here on with half the learning rate."""
        last = alarm.place if self.watch is None else self.watch.trusted(alarm.place)
        progress, place, notes = self.good(self.total(last))
        half = {'learning_rate_times': 0.5 ** (self.rollbacks + 1), 'to': place._asdict()}
        self.note('rollback', alarm, **half)
        self.rollbacks, self.tried = self.rollbacks + 1, self.total(place)
        self.recall(notes)
        if self.folder is not None:
            self.open().forget(self.tried)
        if not self.quiet and first_process():
            rate = f'{0.5**self.rollbacks:g} times the learning rate'
            began = f'; {alarm.origin}' if alarm.origin else ''
            print(f'{alarm}{began}; back to epoch {place.epoch}, step {place.step}, with {rate}', flush=True)
        return progress, place

    def good(self, before: int) -> tuple[Progress, Place, dict[str, Any]]:
        """The newest checkpoint up to this step, or the beginning.

        One that was saved because the run was interrupted does not count: an uninterrupted run has none there. And one
        from which it went wrong twice is passed over, for it is not good.
        """
        steps = [step for step in self.open().due() if step <= before] if self.folder is not None else []
        if steps and steps[-1] == self.tried:
            steps.pop()
        try:
            if steps:
                progress, place, _, notes = self.open().restore(plans.template(self.plan), steps[-1])
                return progress, place, notes
        except BadInput as error:
            print(error, flush=True)
        return self.start(), Place(0, 0), {}

    def note(self, event: str, alarm: Alarm, **more: Any) -> None:
        if self.folder is not None and first_process():
            more = {'good': alarm.place._asdict()} | more
            events.note(self.folder, event, alarm.at, self.rollbacks, why=str(alarm), origin=alarm.origin, **more)

    def open(self) -> Checkpoints:
        assert self.folder is not None
        if self.book is None:
            self.book = Checkpoints(self.folder, self.plan.keep_last)
        return self.book

    def settle(self) -> None:
        if self.book is not None:
            self.book.finish()

    def close(self) -> None:
        self.bar.close()
        if self.logbook:
            self.logbook.close()
        if self.book is not None:
            self.book.close()
