"""Fit two sets of parameters against each other: a generator, and a critic that takes `critic_steps` steps to its one.

A batch holds the examples of all critic steps: it is cut into `critic_steps` parts, one each. The two learning rates
are those of Heusel et al. 2017 (arXiv:1706.08500); the moving average of the generator that of Karras et al. 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from research.trainers import player
from research.trainers.optimisers import Adam, Optimiser
from research.trainers.player import Player
from research.types import Adversarial, Batch, Key, Metrics, Params, ranged


class Game(NamedTuple):
    generator: Player
    critic: Player


@dataclass(frozen=True, kw_only=True)
class AdversarialTrainer:
    model: Adversarial
    critic_steps: int = ranged(1, at_least=1)
    learning_rate: float = ranged(2e-4, above=0)
    critic_learning_rate: float = ranged(2e-4, above=0)
    optimiser: Optimiser = Adam(b1=0.5)
    critic_optimiser: Optimiser = Adam(b1=0.5)
    ema: float | None = ranged(None, at_least=0, below=1, optional=True)  # of the generator, used to sample
    accumulate: int = ranged(1, at_least=1)  # parts that a player's batch goes through in, one after the other

    whole_epochs: ClassVar[bool] = False

    @property
    def parts(self) -> int:
        return self.critic_steps * self.accumulate

    def init(self, key: Key, x: Batch) -> Game:
        variables = self.model.init(key, x)
        generator = player.start(variables['generator'], self.optimiser.build(self.learning_rate), self.ema)
        critic = player.start(variables['critic'], self.critic_optimiser.build(self.critic_learning_rate), None)
        return Game(generator, critic)

    def step(self, state: Game, x: Batch, key: Key) -> tuple[Game, Metrics]:
        """`critic_steps` of the critic, each on its own part of the batch, then one of the generator against it."""
        # every critic_steps-th example, so that a batch split over devices gives each device its share of each part
        parts = jax.tree.map(lambda a: a.reshape(-1, self.critic_steps, *a.shape[1:]).swapaxes(0, 1), x)
        optimiser, fixed = self.critic_optimiser.build(self.critic_learning_rate), state.generator.variables()

        def critic_step(critic: Player, i: jax.Array) -> tuple[Player, Metrics]:
            part, key_i = jax.tree.map(lambda a: a[i], parts), jax.random.fold_in(key, i)
            loss = lambda p, x, key: self.model.critic_loss(p, fixed, x, key)  # noqa: E731
            return player.update(critic, loss, part, key_i, optimiser, None, self.accumulate)

        if self.critic_steps == 1:  # no inner loop: XLA's own convolutions are slow within one on CPU
            critic, metrics = critic_step(state.critic, jnp.int32(0))
        else:
            critic, metrics = jax.lax.scan(critic_step, state.critic, jnp.arange(self.critic_steps))
        opponent, part = critic.variables(), jax.tree.map(lambda a: a[-1], parts)
        generator, own = player.update(
            state.generator,
            lambda p, x, key: self.model.generator_loss(p, opponent, x, key),
            part,
            jax.random.fold_in(key, self.critic_steps),
            self.optimiser.build(self.learning_rate),
            self.ema,
            self.accumulate,
        )
        return Game(generator, critic), own | jax.tree.map(lambda m: m.mean(), metrics)

    def end_epoch(self, state: Game) -> tuple[Game, Metrics]:
        return state, {}

    def params(self, state: Game) -> Params:
        return {'generator': state.generator.variables(averaged=True), 'critic': state.critic.variables()}
