"""The games at points where their values are known, and the penalty on critics whose slope is known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.maths.adversarial import Adversary, GradientPenalty, Hinge, NonSaturating, NoPenalty, Wasserstein

KEY = jax.random.key(0)
LOGITS = jnp.array([-2.0, 0.5, 3.0])


def test_where_nobody_can_tell_the_values_are_those_of_the_paper() -> None:
    none = jnp.zeros(4)
    assert float(NonSaturating().critic(none, none)) == pytest.approx(2 * np.log(2))
    assert float(NonSaturating().generator(none)) == pytest.approx(np.log(2))
    assert float(Hinge().critic(none, none)) == 2
    assert float(Wasserstein().critic(none, none)) == 0


def test_the_non_saturating_critic_is_binary_cross_entropy() -> None:
    real, fake = np.asarray(LOGITS, np.float64), np.array([0.3, -1.0])
    d = lambda logit: 1 / (1 + np.exp(-logit))  # noqa: E731
    expected = -np.log(d(real)).mean() - np.log(1 - d(fake)).mean()
    assert float(NonSaturating().critic(LOGITS, jnp.asarray(fake))) == pytest.approx(expected, rel=1e-5)
    assert float(NonSaturating().generator(LOGITS)) == pytest.approx(-np.log(d(real)).mean(), rel=1e-5)


def test_the_hinge_is_zero_beyond_its_margin_and_linear_within() -> None:
    assert float(Hinge().critic(jnp.array([1.0, 7.0]), jnp.array([-1.0, -9.0]))) == 0
    assert float(Hinge().critic(jnp.array([0.25]), jnp.array([-0.5]))) == pytest.approx(0.75 + 0.5)
    assert (jax.grad(Hinge().critic)(jnp.array([2.0, 7.0]), jnp.zeros(2)) == 0).all()


def test_wasserstein_is_the_difference_of_means() -> None:
    assert float(Wasserstein().critic(LOGITS, LOGITS + 2)) == pytest.approx(2, rel=1e-6)
    assert float(Wasserstein().generator(LOGITS)) == pytest.approx(-0.5, rel=1e-6)


@pytest.mark.parametrize(
    'game', [NonSaturating(), Hinge(), Wasserstein()], ids=['non_saturating', 'hinge', 'wasserstein']
)
def test_the_generator_wants_higher_logits_and_the_critic_lower_ones(game: Adversary) -> None:
    """Also at logits of +-100, where a generator that minimised log(1 - D) would learn nothing."""
    fake = jnp.array([-100.0, -0.5, 0.5])
    assert (jax.grad(game.generator)(fake) < 0).all()
    slope = jax.grad(game.critic, argnums=(0, 1))(jnp.array([-100.0, -0.5, 0.5]), jnp.array([100.0, 0.5, -0.5]))
    assert (slope[0] < 0).all()
    assert (slope[1] > 0).all()


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    """weight (|w| - 1)^2, whatever the points: zero where |w| = 1."""
    real, fake = jax.random.normal(KEY, (2, 6, 2, 3))
    direction = jnp.array([[3.0, 0, 0], [0, -4.0, 0]]) / 5
    penalty = jax.jit(lambda w: GradientPenalty(weight=7.0)(lambda x: (x * w).sum(axis=(1, 2)), real, fake, KEY))
    for norm in (0.5, 1.0, 2.0):
        assert float(penalty(norm * direction)) == pytest.approx(7 * (norm - 1) ** 2, abs=1e-5)


def test_the_penalty_is_taken_between_real_and_fake() -> None:
    """Critic x^2 / 2 has slope x: with real = 3 and fake = 1 the norms spread over [1, 3], E (U[1, 3] - 1)^2 = 4 / 3."""
    real, fake = jnp.full((20_000, 1), 3.0), jnp.ones((20_000, 1))
    penalty = GradientPenalty(weight=1.0)
    value = jax.jit(lambda real, fake: penalty(lambda x: (x**2 / 2).sum(axis=1), real, fake, KEY))(real, fake)
    assert float(value) == pytest.approx(4 / 3, abs=0.05)


def test_the_penalty_can_be_differentiated_in_the_critic() -> None:
    """d/dw of (|w| - 1)^2 is 2 (|w| - 1) w / |w|, and at w = 0 it is finite."""
    x = jnp.ones((4, 2))
    slope = jax.jit(jax.grad(lambda w: GradientPenalty(weight=1.0)(lambda x: x @ w, x, x, KEY)))
    w = jnp.array([3.0, 4.0])
    np.testing.assert_allclose(slope(w), 2 * (5 - 1) * w / 5, rtol=1e-4)
    assert np.isfinite(slope(jnp.zeros(2))).all()


def test_no_penalty_is_none() -> None:
    assert float(NoPenalty()(lambda x: x.sum(axis=1), jnp.ones((2, 2)), jnp.ones((2, 2)), KEY)) == 0
