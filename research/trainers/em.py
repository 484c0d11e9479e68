"""Fit by sufficient statistics: add them up over an epoch, then solve. Dempster, Laird & Rubin 1977.

One epoch is one iteration of EM; counting and closed forms are its one-pass case. No learning rate, no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from research.types import Batch, Expectable, Key, Metrics, Params


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
