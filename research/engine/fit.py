"""Train one run: the only training loop of the project. It knows no model, no loss and no data set."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from research.engine import epoch as epochs
from research.engine import mesh as meshes
from research.engine.checkpoint import Checkpoints, Place
from research.engine.epoch import Course, Progress, Transform
from research.engine.logbook import Bar, Logbook
from research.types import Batch, Trainer

INIT_EXAMPLES = 10_000  # how many training examples an `init` sees, or one batch if that is more
PIECE_SECONDS = 1.0  # an epoch that takes longer is compiled once and run in pieces of about this length


class Interrupted(Exception):
    """Ctrl-C or SIGTERM: the run was saved. `code` is the exit status a shell expects."""

    def __init__(self, signal_number: int, place: Place):
        super().__init__(f'stopped after epoch {place.epoch}, step {place.step}; saved')
        self.code = 128 + signal_number


class Diverged(Exception):
    """A loss or a parameter became NaN or infinite; the message names the tensor and the step."""


class Plan(NamedTuple):
    """What to train, on what, for how long. `x` is the raw training data, whole, with one leading axis."""

    trainer: Trainer
    transform: Transform
    x: Batch
    epochs: int
    batch_size: int
    seed: int
    devices: int = 1
    checkpoint_every: int = 0

    @property
    def examples(self) -> int:
        return int(jax.tree.leaves(self.x)[0].shape[0])

    @property
    def steps(self) -> int:
        return self.examples // self.batch_size


def init_sample(plan: Plan) -> Batch:
    """The training data that `init` sees, transformed: examples from all over the set, which may be sorted."""
    count = max(plan.batch_size, min(plan.examples, INIT_EXAMPLES))
    stride = plan.examples // count
    return plan.transform(jax.tree.map(lambda a: a[::stride][:count], plan.x), epochs.stream(plan.seed, 'sample'))


def init(plan: Plan, x: Batch) -> Progress:
    """The state before the first step, and sums of metrics at zero."""
    state = plan.trainer.init(epochs.stream(plan.seed, 'init'), init_sample(plan._replace(x=x)))
    return epochs.start(plan.trainer, plan.transform, state, x, plan.batch_size)


def template(plan: Plan) -> Progress:
    """Shapes and types of `init`'s result; raises whatever a net or a model refuses, before anything is compiled."""
    shapes = jax.eval_shape(lambda x: init(plan, x), plan.x)
    whole = NamedSharding(meshes.data_mesh(plan.devices), PartitionSpec())
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=whole), shapes)


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


def fit(plan: Plan, folder: Path | None, *, resume: bool = False, name: str = 'train', quiet: bool = False) -> Any:
    """Train to the end of `plan.epochs` and return the trainer's state.

    With a folder: metrics.jsonl and checkpoints/ are written there; with `resume`, from its last readable checkpoint on.
    Raises Interrupted after saving, Diverged after keeping the last good state.
    """
    mesh = meshes.data_mesh(plan.devices)
    x = meshes.replicate(plan.x, mesh)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    book = Checkpoints(folder) if folder is not None and resume else None
    if book is not None and book.latest() is not None:
        progress, place, lost = book.restore(template(plan))
        for sentence in lost:
            print(f'{sentence}; continuing from epoch {place.epoch}, step {place.step}', flush=True)
        book.forget(place.epoch * plan.steps + place.step)
    else:
        progress, place = meshes.replicate(jax.jit(lambda x: init(plan, x))(x), mesh), Place(0, 0)
    return Loop(plan, mesh, x, folder, book, name, quiet).run(progress, place)


class Loop:
    """The state of one `fit`: what is compiled, what is open, and how long a step takes."""

    def __init__(self, plan: Plan, mesh: Any, x: Batch, folder: Path | None, book: Any, name: str, quiet: bool):
        self.plan, self.x, self.folder, self.book = plan, x, folder, book
        self.name, self.quiet, self.piece, self.first_call = name, quiet, 1, True
        self.advance = jax.jit(
            lambda progress, x, course, first, last: epochs.advance(
                plan.trainer, plan.transform, mesh, progress, x, plan.batch_size, course, first, last
            )
        )
        self.course = jax.jit(
            lambda epoch: epochs.course(plan.trainer, plan.seed, epoch, plan.examples, plan.batch_size)
        )
        self.end_epoch = jax.jit(plan.trainer.end_epoch)
        self.finite = jax.jit(lambda state: jax.tree.map(_finite, state))
        self.whole = jax.jit(lambda state: jnp.array(jax.tree.leaves(jax.tree.map(_finite, state))).all())

    def run(self, progress: Progress, place: Place) -> Any:
        """All epochs from `place` on; the trainer's state after the last."""
        plan = self.plan
        logbook = Logbook(self.folder, place.epoch) if self.folder else None
        bar = Bar(self.name, plan.epochs * plan.steps, place.epoch * plan.steps + place.step, self.quiet)
        try:
            with signals() as received:
                for epoch in range(place.epoch, plan.epochs):
                    begun = time.perf_counter()
                    first = place.step if epoch == place.epoch else 0
                    progress = self.train(progress, epoch, first, bar, received)
                    state, extra = self.end_epoch(progress.state)
                    self.require_finite(progress, state, epoch, plan.steps)
                    self.log(logbook, bar, progress, extra, epoch, plan.steps - first, time.perf_counter() - begun)
                    zero = jax.tree.map(jnp.zeros_like, progress.totals)
                    progress = Progress(state, zero, progress.bad_step)
                    last = epoch + 1 == plan.epochs
                    if last or (plan.checkpoint_every and (epoch + 1) % plan.checkpoint_every == 0):
                        self.save(progress, Place(epoch + 1, 0))
        finally:
            bar.close()
            if logbook:
                logbook.close()
            if self.book is not None:
                self.book.close()
        return progress.state

    def train(self, progress: Progress, epoch: int, step: int, bar: Bar, received: Callable[[], int]) -> Progress:
        """Steps `step` .. end of one epoch, in pieces."""
        plan = self.plan
        course = self.course(epoch)
        while step < plan.steps:
            if received():
                self.save(progress, Place(epoch, step))
                raise Interrupted(received(), Place(epoch, step))
            last, begun = min(step + self.piece, plan.steps), time.perf_counter()
            before = progress
            progress = self.advance(before, self.x, course, step, last)
            bad = int(progress.bad_step)
            if bad >= 0 or not self.all_finite(progress.state):
                self.blame(before, epoch, step, last, course)
            seconds = time.perf_counter() - begun
            if self.first_call and not self.quiet and not bar.terminal:
                print(f'first step done, compiled and run in {seconds:.1f} s', flush=True)
            if not self.first_call:
                self.piece = max(1, min(8 * self.piece, int(PIECE_SECONDS * (last - step) / max(seconds, 1e-6))))
            elif last - step == 1:
                self.piece = 8
            self.first_call = False
            rate = (last - step) * plan.batch_size / seconds
            loss = progress.totals.get('loss')
            bar.move(last - step, f'{epoch + 1}/{plan.epochs}', None if loss is None else float(loss) / last, rate)
            step = last
        return progress

    def log(
        self, logbook: Any, bar: Bar, progress: Progress, extra: Any, epoch: int, steps: int, seconds: float
    ) -> None:
        """One line for the epoch: the mean of each metric over all its steps."""
        plan = self.plan
        means = {k: float(v) / plan.steps for k, v in progress.totals.items()} | {k: float(v) for k, v in extra.items()}
        rate = steps * plan.batch_size / seconds
        bar.epoch(f'{epoch + 1}/{plan.epochs}', means.get('loss'), rate)
        if logbook:
            where = {'epoch': epoch + 1, 'step': (epoch + 1) * plan.steps}
            pace = {'seconds': round(seconds, 4), 'examples_per_second': round(rate, 1)}
            logbook.write(where | pace | means)

    def save(self, progress: Progress, place: Place) -> None:
        if self.folder is None:
            return
        if self.book is None:
            self.book = Checkpoints(self.folder)
        self.book.save(place.epoch * self.plan.steps + place.step, progress, place)

    def all_finite(self, state: Any) -> bool:
        return bool(self.whole(state))  # one number to read from the device, however many tensors there are

    def require_finite(self, before: Progress, state: Any, epoch: int, step: int) -> None:
        if not self.all_finite(state):
            self.save(before, Place(epoch, step))
            raise Diverged(
                f'NaN or infinity: {self.culprit(state)} at the end of epoch {epoch + 1}, step {step}; the state before '
                'it is kept'
            )

    def culprit(self, state: Any) -> str:
        """The path of the first tensor that is not finite."""
        for path, ok in jax.tree_util.tree_leaves_with_path(self.finite(state)):
            if not bool(ok):
                return jax.tree_util.keystr(path, simple=True, separator='/')
        return 'no tensor'

    def blame(self, before: Progress, epoch: int, first: int, last: int, course: Course) -> None:
        """Take the steps of a bad piece again one by one, keep the state before the bad one, and say where it was."""
        good = before
        for step in range(first, last):
            after = self.advance(before, self.x, course, step, step + 1)
            bad = [name for name, total in after.totals.items() if not bool(jnp.isfinite(total).all())]
            if bad or not self.all_finite(after.state):
                self.save(before, Place(epoch, step))
                loss = f'{", ".join(bad)} at ' if bad else ''
                raise Diverged(
                    f'NaN or infinity: {loss}epoch {epoch + 1}, step {step + 1}; after it the first tensor that is not '
                    f'finite is {self.culprit(after.state)}; the state before that step is kept'
                )
            before = after
        self.save(
            good, Place(epoch, first)
        )  # taken one by one the steps were fine: a device that does not repeat itself
        raise Diverged(
            f'NaN or infinity between step {first + 1} and step {last} of epoch {epoch + 1}; they did not come again when '
            'the steps were repeated one by one; the state before them is kept'
        )


def _finite(leaf: jax.Array) -> jax.Array:
    return jnp.isfinite(leaf).all() if jnp.issubdtype(leaf.dtype, jnp.floating) else jnp.bool_(True)
