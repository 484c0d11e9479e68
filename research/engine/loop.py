"""The only training loop of the project: pieces of an epoch, one after the other. It knows no model, no loss, no data set.

What it comes to is told to a `Keeper`: a single run's (`fit.OneRun`) or that of the members of a sweep (`members.Many`).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from research.engine import feed, hosts
from research.engine import origin as origins
from research.engine import program as programs
from research.engine.checkpoint import Place
from research.engine.epoch import Progress, take
from research.engine.feed import Segment
from research.engine.plan import Plan
from research.engine.program import Program, Setting
from research.types import Batch

PIECE_SECONDS = 1.0  # an epoch that takes longer is compiled once and run in pieces of about this length
PREEMPTED = (
    75  # exit status after SIGTERM and a save: 'temporary failure' of sysexits.h; 143 is what the unprepared die with
)


class Interrupted(Exception):
    """Ctrl-C or SIGTERM: the run was saved. `code` is the exit status."""

    def __init__(self, signal_number: int, place: Place | None = None):
        super().__init__(f'stopped after epoch {place.epoch}, step {place.step}; saved' if place else 'stopped; saved')
        self.code = PREEMPTED if signal_number == signal.SIGTERM else 128 + signal_number


class Diverged(Exception):
    """Training went wrong and was stopped; the message says how, where, and what was kept."""

    def __init__(self, what: str, place: Place):
        super().__init__(what)
        self.place = place


class Alarm(Exception):
    """Training goes wrong: what, and where it began in a step.

    `place` is the last that was still good, with the state there (`before`; None: not at hand); `at` is where this was noticed.
    """

    def __init__(
        self,
        what: str,
        before: Progress | None,
        place: Place,
        since: str = 'that step',
        origin: str = '',
        at: Place | None = None,
    ):
        super().__init__(what)
        self.before, self.place, self.since, self.origin, self.at = before, place, since, origin, at or place


class Piece(NamedTuple):
    """Steps `first` .. `last` - 1 of an epoch, and how long they took."""

    epoch: int
    first: int
    last: int
    seconds: float
    first_call: bool
    segment: Segment

    @property
    def steps(self) -> int:
        return self.last - self.first


class Keeper(Protocol):
    """Who is told. `judge` and `judge_end` raise Alarm where training has to stop."""

    def moved(self, piece: Piece, progress: Progress) -> None: ...
    def judge(self, before: Progress, after: Progress, ok: Any, piece: Piece, loop: Loop) -> None: ...
    def judge_end(self, before: Progress, after: Progress, ok: Any, epoch: int) -> None: ...
    def ended(self, progress: Progress, extra: Any, epoch: int, steps: int, seconds: float) -> dict[str, float]: ...
    def save(self, progress: Progress, place: Place, means: dict[str, float] | None = None) -> None: ...
    def settle(self) -> None: ...  # wait for what is being saved


@contextmanager
def signals() -> Iterator[Callable[[], int]]:
    """Within, Ctrl-C and SIGTERM are noted instead of acted on; a second Ctrl-C acts at once."""
    received = [0]

    def note(number: int, frame: Any) -> None:
        if received[0] and number == signal.SIGINT:
            raise KeyboardInterrupt
        received[0] = number

    try:
        old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: nobody sends it signals
        old = {}
    try:
        yield lambda: received[0]
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class Loop:
    """One plan's epochs, from anywhere in them."""

    def __init__(self, plan: Plan, program: Program, setting: Setting, x: Batch, keeper: Keeper, watch: Any = None):
        self.plan, self.program, self.setting, self.x, self.keeper, self.watch = (
            plan,
            program,
            setting,
            x,
            keeper,
            watch,
        )
        self.piece, self.first_call = 1, True

    def run(self, progress: Progress, place: Place, received: Callable[[], int] | None = None) -> Progress:
        """All epochs from `place` on; the progress after the last. In a thread, `received` is the main thread's."""
        plan = self.plan
        with signals() if received is None else nullcontext(received) as received:
            whole = place.step == 0 and place.epoch > 0
            over = plan.epochs if whole and self.program.finished(progress) else place.epoch
            for epoch in range(over, plan.epochs):
                begun = time.perf_counter()
                first = place.step if epoch == place.epoch else 0
                progress = self.train(progress, epoch, first, received)
                after, extra, ok = self.program.end_epoch(self.setting, progress)
                self.keeper.judge_end(progress, after, ok, epoch)
                seconds = time.perf_counter() - begun
                means = self.keeper.ended(progress, extra, epoch, plan.steps - first, seconds)
                progress = after
                last = epoch + 1 == plan.epochs or self.program.finished(progress)
                if last or (plan.checkpoint_every and (epoch + 1) % plan.checkpoint_every == 0):
                    self.keeper.save(progress, Place(epoch + 1, 0), means)
                if last:
                    break
            self.keeper.settle()  # likewise: a signal in the last piece or the last save leaves a finished run
        return progress

    def train(self, progress: Progress, epoch: int, step: int, received: Callable[[], int]) -> Progress:
        """Steps `step` .. end of one epoch: segment by segment of the data, each in pieces."""
        plan = self.plan
        with closing(
            feed.segments(
                self.x, plan.batch_size, plan.seed, epoch, step, plan.trainer.whole_epochs, self.program.place
            )
        ) as segments:
            for segment in segments:
                progress = self.cross(progress, epoch, step, segment, received)
                step = segment.first + segment.steps
        return progress

    def cross(
        self, progress: Progress, epoch: int, step: int, segment: Segment, received: Callable[[], int]
    ) -> Progress:
        """Steps `step` .. end of one segment, in pieces. Steps count within the epoch, the program's within the segment."""
        end, course = segment.first + segment.steps, self.course(epoch, segment)
        while step < end:
            told, self.piece = hosts.agree(received(), self.piece)
            if told:
                self.keeper.save(progress, Place(epoch, step))
                self.keeper.settle()  # here, where a second signal does not end the process before it is written
                raise Interrupted(told, Place(epoch, step))
            last, begun, before = min(step + self.piece, self.look(epoch, step), end), time.perf_counter(), progress
            progress, ok = self.advance(before, segment, course, step, last)
            jax.block_until_ready(ok)
            piece = Piece(epoch, step, last, time.perf_counter() - begun, self.first_call, segment)
            self.keeper.judge(before, progress, ok, piece, self)
            if self.watch is not None:
                self.watch.look(self, before, progress, piece)
            self.pace(piece)
            self.keeper.moved(piece, progress)
            step = last
        return progress

    def look(self, epoch: int, step: int) -> int:
        """The next step of the epoch that the watch looks at: given beforehand, so that it sees the same in every run."""
        if self.watch is None:
            return self.plan.steps
        return step + self.watch.every - (epoch * self.plan.steps + step) % self.watch.every

    def course(self, epoch: int, segment: Segment) -> Any:
        part = segment.part
        if part is None:
            return self.program.course(self.setting, epoch, None, self.plan.examples)
        return self.program.course(self.setting, epoch, (part.position, part.first), part.examples)

    def advance(self, progress: Progress, segment: Segment, course: Any, step: int, last: int) -> tuple[Progress, Any]:
        """Steps `step` .. `last` - 1 of the epoch, which lie in this segment."""
        return self.program.advance(
            self.setting, progress, segment.x, course, step - segment.first, last - segment.first
        )

    def pace(self, piece: Piece) -> None:
        """How many steps the next piece has: about a second's worth."""
        if not self.first_call:
            wanted = int(PIECE_SECONDS * piece.steps / max(piece.seconds, 1e-6))
            self.piece = max(1, min(8 * self.piece, wanted))
        elif piece.steps == 1:
            self.piece = 8
        self.first_call = False

    def blame(self, before: Progress, piece: Piece) -> Alarm:
        """Take the steps of a bad piece again one by one, and say where and in which tensor it went wrong."""
        good, epoch = before, piece.epoch
        course = self.course(epoch, piece.segment)
        for step in range(piece.first, piece.last):
            after, ok = self.advance(before, piece.segment, course, step, step + 1)
            bad = [name for name, total in after.totals.items() if not bool(jnp.isfinite(total).all())]
            if bad or not bool(ok):
                loss = f'{", ".join(bad)} at ' if bad else ''
                return Alarm(
                    f'NaN or infinity: {loss}epoch {epoch + 1}, step {step + 1}; after it the first tensor that is not '
                    f'finite is {programs.culprit(after.state)}',
                    before,
                    Place(epoch, step),
                    origin=self.origin(before, piece.segment, course, epoch, step),
                )
            before = after
        return Alarm(  # taken one by one the steps were fine: a device that does not repeat itself
            f'NaN or infinity between step {piece.first + 1} and step {piece.last} of epoch {epoch + 1}; they did not come '
            'again when the steps were repeated one by one',
            good,
            Place(epoch, piece.first),
        )

    def origin(self, before: Progress, segment: Segment, course: Any, epoch: int, step: int) -> str:
        """Where in this step a number that is not finite began."""

        def raw() -> Batch:
            return take(segment.x, course[0].rows, self.plan.batch_size, jnp.int32(step - segment.first))

        return origins.of_step(self.plan, self.setting.numbers, before.state, raw, epoch, step)
