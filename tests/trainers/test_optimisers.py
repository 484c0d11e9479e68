"""Adam, its decay and its clip written out in NumPy; the schedule at its ends."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import iwae_mnist
from research.engine import override
from research.models.mixture import GaussianMixture
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Adam, Cosine, Optimiser, Schedule, Sgd, Stages, rate
from research.types import BadInput

W = {'matrix': np.array([[1.0, -2.0], [0.5, 3.0]]), 'bias': np.array([0.3, -0.7])}
G = [{'matrix': np.array([[0.1, 2.0], [-1.0, 0.0]]), 'bias': np.array([5.0, -0.2])}]
G.append({name: -0.5 * g + 1 for name, g in G[0].items()})


def walk(optimiser: Optimiser, learning_rate: float | Schedule, gradients: list[Any] = G) -> Any:
    """The parameters after these gradients."""
    transformation = optimiser.build(learning_rate)
    params = jax.tree.map(jnp.asarray, W)
    state = transformation.init(params)
    for gradient in gradients:
        updates, state = transformation.update(jax.tree.map(jnp.asarray, gradient), state, params)
        params = optax.apply_updates(params, updates)
    return params


def by_hand(
    decay: float = 0.0, rates: tuple[float, ...] = (0.1, 0.1), gradients: list[Any] = G
) -> dict[str, np.ndarray]:
    """Algorithm 1 of Kingma & Ba with b1 = 0.8, b2 = 0.95, eps = 1e-6; matrices decay by rate * decay."""
    params = {}
    for name, start in W.items():
        w, m, v = start.copy(), np.zeros_like(start), np.zeros_like(start)
        for t, gradient in enumerate(gradients, start=1):
            m, v = 0.8 * m + 0.2 * gradient[name], 0.95 * v + 0.05 * gradient[name] ** 2
            step = (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-6)
            w = w - rates[t - 1] * (step + (decay * w if w.ndim > 1 else 0))
        params[name] = w
    return params


def near(got: Any, expected: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, expected)


ADAM: dict[str, Any] = {'b1': 0.8, 'b2': 0.95, 'eps': 1e-6}


def test_two_steps_of_adam_are_the_papers() -> None:
    near(walk(Adam(**ADAM), 0.1), by_hand())


def test_weight_decay_is_decoupled_and_of_matrices_only() -> None:
    near(walk(Adam(**ADAM, weight_decay=0.3), 0.1), by_hand(decay=0.3))


def test_the_clip_is_of_the_global_norm_and_leaves_small_gradients_alone() -> None:
    norm = np.sqrt(sum((g**2).sum() for g in G[0].values()))
    assert norm > 2
    short = [{name: g * 2 / norm for name, g in G[0].items()}]
    near(walk(Adam(**ADAM, clip=2.0), 0.1, G[:1] + short), by_hand(gradients=short + short))


def test_momentum_is_a_running_sum() -> None:
    expected = {name: W[name] - 0.1 * G[0][name] - 0.1 * (G[1][name] + 0.9 * G[0][name]) for name in W}
    near(walk(Sgd(momentum=0.9), 0.1), expected)
    near(walk(Sgd(), 0.1), {name: W[name] - 0.1 * (G[0][name] + G[1][name]) for name in W})


def test_the_cosine_rises_turns_and_ends() -> None:
    schedule = Cosine(steps=110, warmup=10, end=0.1)
    factor = np.asarray(jax.vmap(schedule.factor)(jnp.arange(131)))
    assert factor[0] == pytest.approx(1 / 11)
    assert factor[10] == pytest.approx(1)
    assert factor[60] == pytest.approx(0.55, rel=1e-5)  # half-way down
    assert factor[110] == pytest.approx(0.1)
    np.testing.assert_allclose(factor[110:], 0.1, rtol=1e-6)
    assert (np.diff(factor[:11]) > 0).all()
    assert (np.diff(factor[10:111]) < 0).all()


def test_without_warm_up_it_begins_at_the_peak() -> None:
    assert float(Cosine(steps=10).factor(jnp.array(0))) == 1
    assert float(Cosine(steps=10, end=0.0).factor(jnp.array(10))) == pytest.approx(0, abs=1e-7)


def test_the_stages_are_constant_and_fall_at_their_starts() -> None:
    factor = np.asarray(jax.jit(jax.vmap(Stages(starts=(3, 5), decay=0.1).factor))(jnp.arange(8)))
    np.testing.assert_allclose(factor, [1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.01], rtol=1e-5)
    assert float(Stages(starts=(), decay=0.5).factor(jnp.array(9))) == 1


def test_the_stages_of_the_iwae_are_the_papers() -> None:
    """Stage i lasts 3^i epochs of 2980 steps at 1e-3 * 10^(-i/7), 3280 epochs in all."""
    run = iwae_mnist.config()
    schedule, step = run.trainer.schedule, 0
    for i in range(8):
        last = step + 2980 * 3**i - 1
        assert float(schedule.factor(jnp.array(step))) == pytest.approx(10 ** (-i / 7), rel=1e-5)
        assert float(schedule.factor(jnp.array(last))) == pytest.approx(10 ** (-i / 7), rel=1e-5)
        step = last + 1
    assert step == 2980 * run.epochs == 2980 * 3280


def test_a_schedules_numbers_have_a_range_and_may_be_traced() -> None:
    trainer = GradientTrainer(model=GaussianMixture(), schedule=Stages(starts=(10, 20)))
    override.check(trainer)
    for words in ('schedule.decay=0', 'schedule.decay=1.5', 'schedule.starts=10,0'):
        with pytest.raises(BadInput, match=words.split('=')[0]):
            override.check(override.apply(trainer, [words]))
    halved = jax.jit(lambda decay: Stages(starts=(10, 20), decay=decay).factor(jnp.array(30)))(0.5)
    assert float(halved) == pytest.approx(0.25)


def test_the_schedule_scales_each_step_of_the_optimiser() -> None:
    schedule = Cosine(steps=4, warmup=1, end=0.2)
    rates = tuple(0.1 * float(schedule.factor(jnp.array(t))) for t in (0, 1))
    assert rates == pytest.approx((0.05, 0.1))
    near(walk(Adam(**ADAM), rate(0.1, schedule)), by_hand(rates=rates))
    assert rate(0.1, None) == 0.1


def test_normalised_gradients_have_a_unit_norm_array_by_array() -> None:
    """Adam's first step does not see a scale, but its sign; so look at what it is given: the second moment after one step."""
    optimiser = Adam(normalise=True).build(0.1)
    gradients = {'a': jnp.array([3.0, 4.0]), 'b': jnp.array([0.0, 0.0])}
    state = optimiser.update(gradients, optimiser.init(gradients), gradients)[1]
    moments = next(part for part in state if hasattr(part, 'mu'))
    np.testing.assert_allclose(moments.mu['a'], [0.06, 0.08], rtol=1e-5)
    np.testing.assert_array_equal(moments.mu['b'], [0, 0])
