"""Fit by sufficient statistics: add them up over an epoch, then solve. Dempster, Laird & Rubin 1977.

One epoch is one iteration of EM; counting and closed forms are its one-pass case. No learning rate, no gradient.
Or solve after every batch, from a moving average of the statistics: stepwise EM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from research.types import Batch, Expectable, Key, Metrics, Params, ranged


class Expectation(NamedTuple):
    params: Params
    statistics: Params  # summed over the batches of this epoch so far


@dataclass(frozen=True, kw_only=True)
class EMTrainer:
    model: Expectable

    whole_epochs: ClassVar[bool] = True  # what an epoch leaves out, EM would not have seen

    parts: ClassVar[int] = 1  # into how many a step cuts its batch

    def init(self, key: Key, x: Batch) -> Expectation:
        params = self.model.init(key, x)
        return Expectation(params, self.zero(params, x))

    def zero(self, params: Params, x: Batch) -> Params:
        statistics = jax.eval_shape(lambda params, x: self.model.statistics(params, x)[0], params, x)
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), statistics)

    def step(self, state: Expectation, x: Batch, key: Key) -> tuple[Expectation, Metrics]:
        statistics, metrics = self.model.statistics(state.params, x)
        return state._replace(statistics=jax.tree.map(jnp.add, state.statistics, statistics)), metrics

    def end_epoch(self, state: Expectation) -> tuple[Expectation, Metrics]:
        params = self.model.solve(state.params, state.statistics)
        return Expectation(params, jax.tree.map(jnp.zeros_like, state.statistics)), {}

    def params(self, state: Expectation) -> Params:
        return state.params


@dataclass(frozen=True, kw_only=True)
class StepwiseEMTrainer:
    """EM that solves after every batch. Cappe & Moulines 2009, J. R. Stat. Soc. B 71(3), section 2.2, eq. 12, constant step.

    s <- (1 - step_size) s + step_size s(batch), params = solve(s): a moving average of the batches' statistics, from 0 on. A
    large set needs far fewer epochs than EM; pseudo-counts of a model weigh against one batch, not against the whole set.
    With `step_size` 1 each batch is a set of its own.
    """

    model: Expectable
    step_size: float = ranged(0.1, above=0, at_most=1)

    whole_epochs: ClassVar[bool] = False

    parts: ClassVar[int] = 1

    def init(self, key: Key, x: Batch) -> Expectation:
        return EMTrainer(model=self.model).init(key, x)

    def step(self, state: Expectation, x: Batch, key: Key) -> tuple[Expectation, Metrics]:
        found, metrics = self.model.statistics(state.params, x)
        statistics = jax.tree.map(lambda s, new: s + self.step_size * (new - s), state.statistics, found)
        return Expectation(self.model.solve(state.params, statistics), statistics), metrics

    def end_epoch(self, state: Expectation) -> tuple[Expectation, Metrics]:
        return state, {}

    def params(self, state: Expectation) -> Params:
        return state.params
