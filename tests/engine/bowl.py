"""A model of three numbers whose training goes wrong exactly when it is told to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from research.engine.plan import Plan
from research.trainers.em import EMTrainer
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Sgd
from research.types import Objective

ROWS, BATCH = 48, 8
STEPS = ROWS // BATCH
NEVER = 10**6


@dataclass(frozen=True, kw_only=True)
class Bowl:
    """Minimise |x - w|^2. Its loss is NaN in training step `breaks` (counted from 1 over all epochs) and after."""

    breaks: int = NEVER

    network: ClassVar[bool] = False

    def init(self, key: Any, x: Any) -> Any:
        return {'w': jax.random.normal(key, (3,)), 'constants': {'taken': jnp.zeros(())}}

    def loss(self, params: Any, x: Any, key: Any) -> Objective:
        taken = params['constants']['taken'] + 1
        loss = ((x + 0.1 * jax.random.normal(key, x.shape) - params['w']) ** 2).sum(axis=1).mean()
        loss = loss + jnp.where(taken >= self.breaks, jnp.nan, 0.0)
        return Objective(loss, {'loss': loss}, {'constants': {'taken': taken}})


@dataclass(frozen=True, kw_only=True)
class BrokenMean:
    """The mean, whose second solution is infinite."""

    network: ClassVar[bool] = False

    def init(self, key: Any, x: Any) -> Any:
        return {'mean': jnp.zeros(3), 'solved': jnp.zeros(())}

    def statistics(self, params: Any, x: Any) -> Any:
        return {'sum': x.sum(axis=0)}, {'loss': x.sum()}

    def solve(self, params: Any, statistics: Any) -> Any:
        solved = params['solved'] + 1
        return {'mean': statistics['sum'] / ROWS / (2 - solved), 'solved': solved}


def data() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)


def plan(breaks: int = NEVER, epochs: int = 4, every: int = 0, learning_rate: float = 0.1) -> Plan:
    trainer = GradientTrainer(model=Bowl(breaks=breaks), learning_rate=learning_rate, optimiser=Sgd(momentum=0.5))
    return Plan(trainer, noisy, data(), epochs, BATCH, 5, checkpoint_every=every)


def em_plan() -> Plan:
    return Plan(EMTrainer(model=BrokenMean()), lambda x, key: x, data(), 4, BATCH, 0)


def noisy(x: Any, key: Any) -> Any:
    """Drawn anew for each batch, as binarisation is."""
    return x + 0.1 * jax.random.normal(key, x.shape)
