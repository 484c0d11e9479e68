"""The compiled functions of one plan: for a single run, or for the members of a sweep all at once.

Numbers (learning rate, beta, ...) and seed are arguments, so whatever has the same structure shares a compilation. Members
are trained side by side (`vmap`) in groups of `width`, and the groups one after the other (`lax.map`) within the same
program: a group whose parameters and moments fit the processor's cache trains faster than all at once. With a width of 1
every member computes what a single run computes, bit for bit on CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.engine import epoch as epochs
from research.engine import feed
from research.engine import mesh as meshes
from research.engine import numbers as settings
from research.engine import plan as plans
from research.engine.epoch import Course, Progress
from research.engine.numbers import Numbers
from research.engine.plan import Plan
from research.types import Array, Batch, Finishing, Metrics

_NONE: Any = None  # a part of a course that stands in the other half


class Members(NamedTuple):
    """How many are trained at once, so many side by side, and whether they share batches (order and transformation)."""

    total: int
    width: int
    shared_batches: bool = False


class Setting(NamedTuple):
    """What a run has of its own: numbers and seed; for members, [total] each."""

    numbers: Numbers
    seed: Any  # uint32


def one(plan: Plan, numbers: Numbers) -> Setting:
    return Setting(numbers, np.uint32(plan.seed))


class Program:
    """`init`, `course`, `advance` and `end_epoch` of one plan, jitted; everything they return lives on the plan's mesh."""

    def __init__(self, plan: Plan, mesh: jax.sharding.Mesh, members: Members | None = None):
        self.plan, self.mesh, self.members = plan, mesh, members
        self.init = jax.jit(self._init)
        self.course = jax.jit(self._course, static_argnums=3, out_shardings=meshes.whole(mesh))
        self.advance: Any = jax.jit(self._advance)
        self.end_epoch = jax.jit(self._end_epoch)

    def _init(self, setting: Setting, x: Batch) -> Progress:
        return self._each(lambda own: self._hold(plans.init(self.plan, own.numbers, own.seed, x)), setting)

    def _course(self, setting: Setting, epoch: Array, part: tuple[Array, Array] | None, examples: int) -> Any:
        """What is each member's own of a segment's course, and what all share; `part` is its (position, first step)."""
        plan = self.plan

        def course(seed: Array) -> Course:
            if part is None:
                return epochs.course(plan.trainer, seed, epoch, examples, plan.batch_size)
            return feed.course(plan.trainer, seed, epoch, *part, examples, plan.batch_size)

        if self.members is None:
            return course(setting.seed), Course(None, _NONE, _NONE)
        own = jax.vmap(course)(setting.seed)
        if not self.members.shared_batches:
            return own, Course(None, _NONE, _NONE)
        shared = course(jnp.uint32(plan.seed))
        return Course(None, _NONE, own.step), Course(shared.rows, shared.data, _NONE)

    def place(self, chunk: np.ndarray) -> Any:
        return meshes.replicate(chunk, self.mesh)

    def _advance(
        self, setting: Setting, progress: Progress, x: Batch, course: tuple[Any, Any], first: Array, last: Array
    ) -> tuple[Progress, Array]:
        """Steps `first` .. `last` - 1, and whether the state is finite after them."""
        plan, shared = self.plan, course[1]

        def advance(own: tuple[Setting, Progress, Course]) -> tuple[Progress, Array]:
            (numbers, _), before, mine = own
            trainer = settings.insert(plan.trainer, numbers)
            path = Course(*(a if a is not None else b for a, b in zip(mine, shared, strict=True)))
            after = epochs.advance(trainer, plan.transform, self.mesh, before, x, plan.batch_size, path, first, last)
            return after, finite(after.state)

        return self._each(advance, (setting, progress, course[0]))

    def _end_epoch(self, setting: Setting, progress: Progress) -> tuple[Progress, Metrics, Array]:
        """The state with its sums at zero, what the end of the epoch adds to the log, and whether all is finite."""

        def end(own: tuple[Setting, Progress]) -> tuple[Progress, Metrics, Array]:
            (numbers, _), before = own
            state, extra = settings.insert(self.plan.trainer, numbers).end_epoch(before.state)
            zero = jax.tree.map(jnp.zeros_like, before.totals)
            return Progress(self._hold_state(state), zero, before.bad_step), extra, finite(state)

        return self._each(end, (setting, progress))

    def finished(self, progress: Progress) -> bool:
        """Whether the trainer says that more epochs would change nothing; of members, that it says so of all."""
        trainer = self.plan.trainer
        if not isinstance(trainer, Finishing):
            return False
        asked = trainer.finished if self.members is None else jax.vmap(trainer.finished)
        return bool(meshes.local(asked(progress.state)).all())

    def _hold(self, progress: Progress) -> Progress:
        return progress._replace(state=self._hold_state(progress.state))

    def _hold_state(self, state: Any) -> Any:
        return meshes.split_state(state, self.mesh)

    def _each(self, function: Callable[[Any], Any], own: Any) -> Any:
        """`function` of what is one's own; for members of each, side by side or one after the other."""
        if self.members is None:
            return function(own)
        devices = self.mesh.shape['member']
        together = jax.vmap(function, spmd_axis_name='member' if devices > 1 else None)
        if self.members.width * devices >= self.members.total:
            return together(own)
        if devices == 1:
            return jax.lax.map(function, own, batch_size=self.members.width if self.members.width > 1 else None)
        groups = self.members.total // devices  # each device takes its own members one after the other
        turned = jax.tree.map(lambda a: a.reshape(devices, groups, *a.shape[1:]).swapaxes(0, 1), own)
        done = jax.lax.map(together, turned)
        return jax.tree.map(lambda a: a.swapaxes(0, 1).reshape(devices * groups, *a.shape[2:]), done)


def finite(state: Any) -> Array:
    """Whether every number of a state is finite."""
    floats = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.array([jnp.isfinite(leaf).all() for leaf in floats] or [True]).all()


def culprit(state: Any) -> str:
    """The path of the first tensor that is not finite."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if not bool(finite(leaf)):
            return jax.tree_util.keystr(path, simple=True, separator='/')
    return 'no tensor'
