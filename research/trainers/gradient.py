"""Fit one set of parameters by gradient descent on the model's loss: VAEs, language models, mixtures, anything with one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import optax

from research.trainers import player
from research.trainers.optimisers import Adam, Cosine, Optimiser, Stages, rate
from research.trainers.player import Player
from research.types import Batch, Differentiable, Key, Metrics, Params, ranged


@dataclass(frozen=True, kw_only=True)
class GradientTrainer:
    model: Differentiable
    learning_rate: float = ranged(1e-3, above=0)
    optimiser: Optimiser = Adam()
    schedule: Cosine | Stages | None = None
    ema: float | None = ranged(None, at_least=0, below=1, optional=True)  # of the parameters, used to score and sample

    accumulate: int = ranged(1, at_least=1)  # parts that a batch goes through in, one after the other

    whole_epochs: ClassVar[bool] = False

    @property
    def parts(self) -> int:
        return self.accumulate

    def build(self) -> optax.GradientTransformation:
        return self.optimiser.build(rate(self.learning_rate, self.schedule))

    def init(self, key: Key, x: Batch) -> Player:
        return player.start(self.model.init(key, x), self.build(), self.ema)

    def step(self, state: Player, x: Batch, key: Key) -> tuple[Player, Metrics]:
        return player.update(state, self.model.loss, x, key, self.build(), self.ema, self.accumulate)

    def end_epoch(self, state: Player) -> tuple[Player, Metrics]:
        return state, {}

    def params(self, state: Player) -> Params:
        return state.variables(averaged=True)
