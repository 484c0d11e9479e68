"""Fit by sufficient statistics: add them up over an epoch, then solve. Dempster, Laird & Rubin 1977.

One epoch is one iteration of EM; counting and closed forms are its one-pass case. No learning rate, no gradient. It climbs to a
local optimum, so it may start from several places, and it may stop where an epoch has no more to give.
Or solve after every batch, from a moving average of the statistics: stepwise EM.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from research.types import Array, Batch, Expectable, Key, Metrics, Params, ranged


class Expectation(NamedTuple):
    params: Params
    statistics: Params  # summed over the batches of this epoch so far


class Climb(NamedTuple):
    """EM from several starts side by side, [restarts] of everything."""

    expectation: Expectation
    total: Array  # the steps' losses of this epoch, added up
    steps: Array  # of this epoch, so far
    previous: Array  # the loss of the epoch before; the largest number there is before the first
    done: Array  # whether it has converged: its parameters stay as they are


@dataclass(frozen=True, kw_only=True)
class EMTrainer:
    """`tolerance`: training ends where an epoch lowers the loss (nats per example, before its M step) by less; None: after
    all its epochs. `restarts`: from so many starts, side by side; what is used is the one of least loss."""

    model: Expectable
    tolerance: float | None = ranged(None, above=0, optional=True)
    restarts: int = ranged(1, at_least=1)

    whole_epochs: ClassVar[bool] = True  # what an epoch leaves out, EM would not have seen

    parts: ClassVar[int] = 1  # into how many a step cuts its batch

    @property
    def plain(self) -> bool:
        return self.restarts == 1 and self.tolerance is None

    def init(self, key: Key, x: Batch) -> Expectation | Climb:
        if self.plain:
            return self.begin(key, x)
        each = jax.vmap(self.begin, in_axes=(0, None))(jax.random.split(key, self.restarts), x)
        zero = jnp.zeros(self.restarts)
        return Climb(each, zero, jnp.float32(0), zero + jnp.finfo(jnp.float32).max, zero > 0)

    def begin(self, key: Key, x: Batch) -> Expectation:
        params = self.model.init(key, x)
        statistics = jax.eval_shape(lambda params, x: self.model.statistics(params, x)[0], params, x)
        return Expectation(params, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), statistics))

    def step(self, state: Expectation | Climb, x: Batch, key: Key) -> tuple[Expectation | Climb, Metrics]:
        if isinstance(state, Expectation):
            return self.add(state, x)
        each, metrics = jax.vmap(self.add, in_axes=(0, None))(state.expectation, x)
        loss = metrics.get('loss', jnp.zeros(self.restarts))
        state = state._replace(expectation=each, total=state.total + loss, steps=state.steps + 1)
        return state, jax.tree.map(lambda each: each[best(state)], metrics)

    def add(self, state: Expectation, x: Batch) -> tuple[Expectation, Metrics]:
        statistics, metrics = self.model.statistics(state.params, x)
        return state._replace(statistics=jax.tree.map(jnp.add, state.statistics, statistics)), metrics

    def end_epoch(self, state: Expectation | Climb) -> tuple[Expectation | Climb, Metrics]:
        if isinstance(state, Expectation):
            return self.solve(state), {}
        loss, done = state.total / state.steps, state.done
        solved = jax.vmap(self.solve)(state.expectation)
        kept = jax.tree.map(partial(chosen, done), state.expectation.params, solved.params)
        if self.tolerance is not None:
            done = done | (state.previous - loss < self.tolerance)
        zero = jnp.zeros_like(loss)
        after = Climb(solved._replace(params=kept), zero, jnp.float32(0), loss, done)
        return after, {'converged': done.mean(dtype=jnp.float32), 'worst_start': loss.max()}

    def solve(self, state: Expectation) -> Expectation:
        params = self.model.solve(state.params, state.statistics)
        return Expectation(params, jax.tree.map(jnp.zeros_like, state.statistics))

    def finished(self, state: Expectation | Climb) -> Array:
        """Whether all starts have converged."""
        return jnp.array(False) if isinstance(state, Expectation) else state.done.all()

    def params(self, state: Expectation | Climb) -> Params:
        if isinstance(state, Expectation):
            return state.params
        return jax.tree.map(lambda each: each[best(state)], state.expectation.params)


def best(climb: Climb) -> Array:
    """The start of least loss in the epoch before; the first where there was none."""
    return climb.previous.argmin()


def chosen(done: Array, old: Array, new: Array) -> Array:
    """`old` of the starts that are done, else `new`."""
    return jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), old, new)


class Ramp(NamedTuple):
    """What a changing step size needs besides: how many epochs are done."""

    last: Expectation
    epochs: Array  # int32


@dataclass(frozen=True, kw_only=True)
class StepwiseEMTrainer:
    """EM that solves after every batch. Cappe & Moulines 2009, J. R. Stat. Soc. B 71(3), section 2.2, eq. 12, constant step.

    s <- (1 - step_size) s + step_size s(batch), params = solve(s): a moving average of the batches' statistics, from 0 on. A
    large set needs far fewer epochs than EM; pseudo-counts of a model weigh against one batch, not against the whole set.
    With `step_size` 1 each batch is a set of its own. With a `final_step_size`, the first epoch takes steps of `step_size`
    and each after it another by as much, until the `ramp`th takes steps of that size, as do all that follow.
    """

    model: Expectable
    step_size: float = ranged(0.1, above=0, at_most=1)
    final_step_size: float | None = ranged(None, above=0, at_most=1, optional=True)
    ramp: int = ranged(40, at_least=2)  # epochs; only with a final_step_size

    whole_epochs: ClassVar[bool] = False

    parts: ClassVar[int] = 1

    def init(self, key: Key, x: Batch) -> Expectation | Ramp:
        start = EMTrainer(model=self.model).begin(key, x)
        return start if self.final_step_size is None else Ramp(start, jnp.int32(0))

    def step(self, state: Expectation | Ramp, x: Batch, key: Key) -> tuple[Expectation | Ramp, Metrics]:
        size, last = self.size(state), state.last if isinstance(state, Ramp) else state
        found, metrics = self.model.statistics(last.params, x)
        statistics = jax.tree.map(lambda s, new: s + size * (new - s), last.statistics, found)
        new = Expectation(self.model.solve(last.params, statistics), statistics)
        return state._replace(last=new) if isinstance(state, Ramp) else new, metrics

    def size(self, state: Expectation | Ramp) -> Array | float:
        """The step size of this epoch."""
        if self.final_step_size is None or not isinstance(state, Ramp):
            return self.step_size
        along = jnp.minimum(state.epochs / (self.ramp - 1), 1)
        return self.step_size + (self.final_step_size - self.step_size) * along

    def end_epoch(self, state: Expectation | Ramp) -> tuple[Expectation | Ramp, Metrics]:
        return state._replace(epochs=state.epochs + 1) if isinstance(state, Ramp) else state, {}

    def params(self, state: Expectation | Ramp) -> Params:
        return state.last.params if isinstance(state, Ramp) else state.params
