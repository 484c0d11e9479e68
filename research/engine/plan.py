"""What is to be trained, on what, for how long: all that decides a run, and its state before the first step."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from research.engine import epoch as epochs
from research.engine import feed
from research.engine import mesh as meshes
from research.engine import numbers as settings
from research.engine.epoch import Progress, Transform
from research.engine.mesh import ONE, Mesh
from research.engine.numbers import Numbers
from research.types import Array, Batch, Trainer

INIT_EXAMPLES = 10_000  # how many training examples an `init` sees, or one batch if that is more


class Plan(NamedTuple):
    """`x` is the raw training data: arrays with one leading axis, or `Chunks` of an array too large for memory."""

    trainer: Trainer
    transform: Transform
    x: Batch
    epochs: int
    batch_size: int
    seed: int
    mesh: Mesh = ONE
    checkpoint_every: int = 0  # epochs
    keep_last: int = 3
    keep_best: str | None = None  # a metric of the log: the checkpoint of its least value is kept too

    @property
    def examples(self) -> int:
        return feed.examples(self.x)

    @property
    def steps(self) -> int:
        return feed.steps(self.x, self.batch_size)


def sample(plan: Plan) -> Batch:
    """The raw training data that `init` sees: examples from all over the set, which may be sorted."""
    return feed.sample(plan.x, max(plan.batch_size, INIT_EXAMPLES))


def init(plan: Plan, numbers: Numbers, seed: int | Array, x: Batch) -> Progress:
    """The state before the first step, from a sample `x` of the data, and sums of metrics at zero."""
    trainer = settings.insert(plan.trainer, numbers)
    seen = plan.transform(x, epochs.stream(seed, 'sample'))
    state = trainer.init(epochs.stream(seed, 'init'), seen)
    return epochs.start(trainer, plan.transform, state, x, plan.batch_size)


def numbers(plan: Plan) -> Numbers:
    """The settings that the compiled program takes as arguments: all numbers that the trainer can be traced with.

    A trainer that asks something of a number (`if self.rate == 0`) is compiled with that one as a constant.
    """
    every = settings.numbers(plan.trainer)
    if _traceable(plan, every):
        return every
    return {path: value for path, value in every.items() if _traceable(plan, {path: value})}


def _traceable(plan: Plan, values: Numbers) -> bool:
    try:
        _shapes(plan, values)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
        return False
    return True


def _shapes(plan: Plan, values: Numbers) -> Progress:
    start = partial(init, plan)
    seen = feed.sample_shapes(plan.x, max(plan.batch_size, INIT_EXAMPLES))
    progress: Progress = jax.eval_shape(start, settings.shapes(values), _SEED, seen)
    return progress


_SEED = jax.ShapeDtypeStruct((), np.uint32)


def template(plan: Plan) -> Progress:
    """Shapes, types and places of `init`'s result; raises whatever a net or a model refuses, before anything is compiled."""
    placed: Progress = meshes.place_state(_shapes(plan, {}), meshes.build(plan.mesh))
    return placed
