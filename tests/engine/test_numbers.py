"""Which settings are arguments of the compiled program, and that it matters to nobody's result."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.engine import numbers as settings
from research.engine import plan as plans
from research.engine.plan import Plan
from research.maths.adversarial import GradientPenalty, Wasserstein
from research.models.gan import GAN
from research.models.vae import VAE
from research.nets.attention import Transformer
from research.trainers.adversarial import AdversarialTrainer
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Adam, Cosine, Sgd
from research.types import Objective, ranged
from tests.models.zoo import CASES


def test_floats_are_numbers_and_whole_numbers_are_not() -> None:
    trainer = GradientTrainer(model=VAE(latent=3, beta=4), learning_rate=1e-3, optimiser=Adam(clip=1.0), ema=None)
    found = settings.numbers(trainer)
    assert set(found) == {
        'learning_rate', 'model.beta', 'optimiser.b1', 'optimiser.b2', 'optimiser.eps', 'optimiser.clip',
    }  # fmt: skip
    assert found['model.beta'] == np.float32(4)
    assert all(value.dtype == np.float32 for value in found.values())


def test_parts_of_a_model_are_walked_and_nets_are_not() -> None:
    gan = AdversarialTrainer(model=GAN(adversary=Wasserstein(), penalty=GradientPenalty()), ema=0.9)
    assert {'model.penalty.weight', 'ema', 'critic_learning_rate'} <= set(settings.numbers(gan))
    text = dataclasses.replace(CASES['transformer'].trainer, schedule=Cosine(steps=10))
    assert 'schedule.end' in settings.numbers(text)
    assert isinstance(text.model.net, Transformer)
    assert not any(path.startswith('model.net') for path in settings.numbers(text))


def test_what_is_inserted_is_found_again() -> None:
    trainer = CASES['wgan_gp'].trainer
    values = {path: float(value) + 1 for path, value in settings.numbers(trainer).items()}
    changed = settings.insert(trainer, values)
    assert settings.numbers(changed) == {path: np.float32(value) for path, value in values.items()}
    assert settings.insert(changed, settings.numbers(trainer)) == settings.insert(trainer, settings.numbers(trainer))


def test_every_learning_rate_is_scaled_and_nothing_else() -> None:
    before = settings.numbers(CASES['gan'].trainer)
    after = settings.scale(before, 0.5)
    changed = {path for path in before if after[path] != before[path]}
    assert changed == {'learning_rate', 'critic_learning_rate'}
    assert after['learning_rate'] == before['learning_rate'] / 2


@pytest.mark.parametrize('case', CASES.values(), ids=CASES.keys())
def test_every_number_of_the_bench_can_be_an_argument(case: Any) -> None:
    """A model that asks something of a number would cost a sweep over it one compilation each."""
    plan = Plan(case.trainer, lambda x, key: x, case.x, 1, case.batch_size, 0)
    assert set(plans.numbers(plan)) == set(settings.numbers(case.trainer))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asks:
    """A model whose structure depends on one of its numbers."""

    weight: float = ranged(0.0, at_least=0)
    scale: float = ranged(1.0, above=0)

    network: ClassVar[bool] = False

    def init(self, key: Any, x: Any) -> Any:
        return {'w': jnp.zeros(3)}

    def loss(self, params: Any, x: Any, key: Any) -> Objective:
        loss = self.scale * ((x - params['w']) ** 2).mean()
        if self.weight > 0:
            loss = loss + self.weight * jnp.abs(params['w']).sum()
        return Objective(loss, {'loss': loss})


def test_a_number_that_decides_a_branch_stays_a_constant() -> None:
    trainer = GradientTrainer(model=Asks(weight=0.1), optimiser=Sgd())
    plan = Plan(trainer, lambda x, key: x, np.zeros((8, 3), np.float32), 1, 4, 0)
    assert 'model.weight' in settings.numbers(trainer)
    assert set(plans.numbers(plan)) == {'learning_rate', 'model.scale', 'optimiser.momentum'}


def test_an_argument_gives_what_a_constant_gives() -> None:
    case = CASES['vae_bernoulli']
    x = jnp.asarray(case.x[: case.batch_size])
    state = jax.jit(case.trainer.init)(jax.random.key(0), x)
    constant, _ = jax.jit(case.trainer.step)(state, x, jax.random.key(1))
    step = jax.jit(lambda n, state, x, key: settings.insert(case.trainer, n).step(state, x, key))
    argument, _ = step(settings.numbers(case.trainer), state, x, jax.random.key(1))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), constant, argument)
