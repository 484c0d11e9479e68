"""The folders and logs of the members of one call of a sweep, and the desk where their threads leave what they may not do."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from research.engine import mesh as meshes
from research.engine.checkpoint import Checkpoints, Place, Unreadable, first_process
from research.engine.epoch import Progress
from research.engine.logbook import Bar, Logbook, rows
from research.engine.loop import Loop, Piece
from research.engine.numbers import Numbers
from research.engine.plan import Plan
from research.engine.program import Setting

if TYPE_CHECKING:
    from research.engine.members import Group

PACE = ('seconds', 'examples_per_second')  # what a clock says, in the log
Ask = Callable[[Callable[[], Any]], Any]  # do this, and give me what it gives


class Member(NamedTuple):
    """One run of a sweep: its own numbers, seed and folder."""

    numbers: Numbers
    seed: int
    folder: Path | None = None


class Outcome(NamedTuple):
    """What became of a member: its trained state, the last epoch's metrics, and the (epoch, step) of its first NaN."""

    state: Any
    metrics: dict[str, float]
    failed: tuple[int, int] | None


class Desk:
    """Where threads leave what only the main thread may do: Orbax hangs when two threads save at a time."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._closed = False

    def ask(self, function: Callable[[], Any]) -> Any:
        """`function()`, done by who serves; called from a thread."""
        answer: Future[Any] = Future()
        self._asked.put((answer, function))
        while True:  # who serves may be gone: a second Ctrl-C
            try:
                return answer.result(timeout=0.2)
            except TimeoutError:
                if answer.done():
                    return answer.result()
                if self._closed:
                    raise KeyboardInterrupt from None

    def close(self) -> None:
        """Nobody serves any more."""
        self._closed = True

    def serve(self, until: list[Future[Any]]) -> None:
        """Answer until all these are done."""
        while not all(future.done() for future in until):
            try:
                answer, function = self._asked.get(timeout=0.02)
            except queue.Empty:
                continue
            try:
                answer.set_result(function())
            except BaseException as error:  # the thread that asked is the one to hear of it
                answer.set_exception(error)


def at_once(function: Callable[[], Any]) -> Any:
    return function()


class Many:
    """The folders and logs of the members of one call; what their `Loop` reports to.

    What is done to checkpoints goes through `ask`, to the main thread where this is another.
    """

    def __init__(self, plan: Plan, members: list[Member], bar: Bar, ask: Ask):
        self.plan, self.members, self.bar, self.ask = plan, members, bar, ask
        self.books: list[Checkpoints | None] = [None] * len(members)
        self.logbooks: list[Logbook | None] = [None] * len(members)
        self.failed: dict[int, tuple[int, int]] = {}
        self.metrics: list[dict[str, float]] = [{} for _ in members]

    def begin(self, group: Group, setting: Setting, resume: bool) -> tuple[Progress, Place]:
        progress, place = meshes.place_state(group.program.init(setting, group.sample), group.mesh, True), Place(0, 0)
        if resume:
            progress, place = self.ask(partial(self.restore, progress))
        for i, member in enumerate(self.members):
            if member.folder is not None and first_process():
                self.logbooks[i] = Logbook(member.folder, place.epoch, tensorboard=False)
        return progress, place

    def common(self) -> int | None:
        """The newest step that every member has a checkpoint of."""
        steps: set[int] | None = None
        for i, member in enumerate(self.members):
            if member.folder is None or not (member.folder / 'checkpoints').is_dir():
                return None
            own = set(self.open(i).steps())
            steps = own if steps is None else steps & own
        return max(steps) if steps else None

    def restore(self, like: Progress) -> tuple[Progress, Place]:
        """The state at the newest step of which every member has a checkpoint that can be read; `like` where there is none."""
        template = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), like)
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        template = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=here), template)
        found: list[Any] = []
        step = self.common()
        while step is not None and not found:
            found = self.read(template, step)
            if not found:  # one is damaged: all go back to what is left
                step = self.common()
        if step is None:
            for i, member in enumerate(self.members):
                if member.folder is not None and (member.folder / 'checkpoints').is_dir():
                    self.open(i).forget(-1)
            return like, Place(0, 0)
        states, place = [state for state, _, _, _ in found], found[0][1]
        for i, (_, _, _, notes) in enumerate(found):
            self.failed |= {i: tuple(notes['failed'])} if notes.get('failed') else {}
            self.metrics[i] = logged(self.members[i].folder, place.epoch)
            self.open(i).forget(step)
        count = jax.tree.leaves(like)[0].shape[0]
        states += [states[0]] * (count - len(states))
        stacked = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *states)
        return jax.tree.map(lambda a, b: jax.device_put(a, b.sharding), stacked, like), place

    def read(self, template: Any, step: int) -> list[Any]:
        """Every member's checkpoint of this step; none where a damaged one is in the way, which is then deleted."""
        found = []
        for i in range(len(self.members)):
            try:
                found.append(self.open(i).restore(template, exactly=step))
            except Unreadable as error:
                print(f'{error}; all members of its call go on from the step before', flush=True)
                self.open(i).delete(step)
                return []
        return found

    # what the loop reports

    def moved(self, piece: Piece, progress: Progress) -> None:
        rate = piece.steps * self.plan.batch_size * len(self.members) / piece.seconds
        self.bar.move(piece.steps * len(self.members), f'{piece.epoch + 1}/{self.plan.epochs}', None, rate)

    def judge(self, before: Progress, after: Progress, ok: Any, piece: Piece, loop: Loop) -> None:
        """Nobody is stopped: who failed is written down with the step of its first NaN."""
        fine, bad = meshes.local(ok), meshes.local(after.bad_step)
        for i in range(len(self.members)):
            if i not in self.failed and not (bool(fine[i]) and bad[i] < 0):
                step = piece.segment.first + int(bad[i]) + 1 if bad[i] >= 0 else piece.last
                self.failed[i] = (piece.epoch, step)

    def judge_end(self, before: Progress, after: Progress, ok: Any, epoch: int) -> None:
        fine = meshes.local(ok)
        for i in range(len(self.members)):
            if i not in self.failed and not bool(fine[i]):
                self.failed[i] = (epoch, self.plan.steps)

    def ended(self, progress: Progress, extra: Any, epoch: int, steps: int, seconds: float) -> dict[str, float]:
        totals = {k: meshes.local(v) / self.plan.steps for k, v in progress.totals.items()}
        totals |= {k: meshes.local(v) for k, v in extra.items()}
        where = {'epoch': epoch + 1, 'step': (epoch + 1) * self.plan.steps}
        share = seconds / len(self.members)
        pace = {'seconds': round(share, 4), 'examples_per_second': round(steps * self.plan.batch_size / share, 1)}
        for i, logbook in enumerate(self.logbooks):
            self.metrics[i] = {k: float(v[i]) for k, v in totals.items()}
            if logbook is not None:
                logbook.write(where | pace | self.metrics[i])
        return {}

    def save(self, progress: Progress, place: Place, means: dict[str, float] | None = None) -> None:
        if all(member.folder is None for member in self.members):
            return
        self.ask(partial(self.write, jax.tree.map(meshes.local, progress), place))

    def write(self, host: Progress, place: Place) -> None:
        """A checkpoint in each member's folder."""
        total = place.epoch * self.plan.steps + place.step
        for i, member in enumerate(self.members):
            if member.folder is not None:
                own = jax.tree.map(lambda a, i=i: a[i], host)
                notes = {'failed': self.failed.get(i)}
                self.open(i).save(total, own, place, self.metrics[i].get(self.plan.keep_best or ''), notes)

    def settle(self) -> None:
        self.ask(self.finish)

    def finish(self) -> None:
        """Wait for what is being saved."""
        for book in self.books:
            if book is not None:
                book.finish()

    def outcomes(self, progress: Progress) -> list[Outcome]:
        host = jax.tree.map(meshes.local, progress.state)
        return [
            Outcome(jax.tree.map(lambda a, i=i: a[i], host), self.metrics[i], self.failed.get(i))
            for i in range(len(self.members))
        ]

    def open(self, i: int) -> Checkpoints:
        book, folder = self.books[i], self.members[i].folder
        if book is None:
            assert folder is not None
            book = self.books[i] = Checkpoints(folder, self.plan.keep_last)
        return book

    def close(self) -> None:
        for logbook in self.logbooks:
            if logbook is not None:
                logbook.close()
        self.ask(self.shut)

    def shut(self) -> None:
        for book in self.books:
            if book is not None:
                book.close()


def logged(folder: Path | None, epoch: int) -> dict[str, float]:
    """The metrics of this epoch in a member's log, for a member that is trained to its end already."""
    line: dict[str, Any] = (
        next((row for row in reversed(rows(folder)) if row['epoch'] == epoch), {}) if folder is not None else {}
    )
    return {name: value for name, value in line.items() if isinstance(value, float) and name not in PACE}
