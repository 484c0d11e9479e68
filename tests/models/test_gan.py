"""The game as the two players see it: values at equality, whose gradient goes where, and what a sample is."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.maths.adversarial import GradientPenalty, Hinge, NonSaturating, Wasserstein
from research.models.gan import GAN
from research.nets.dcgan import Critic
from research.nets.mlp import MLP
from research.types import Domain, Scorer

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (6, 2))
SMALL = MLP(hidden=(4,))


def zero(tree: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, tree)


def test_a_critic_that_knows_nothing_gives_the_values_of_the_paper() -> None:
    for adversary, critic, generator in (
        (NonSaturating(), 2 * np.log(2), np.log(2)),
        (Hinge(), 2, 0),
        (Wasserstein(), 0, 0),
    ):
        model = GAN(generator=SMALL, critic=SMALL, adversary=adversary, latent=2, output='identity')
        params = model.init(KEY, X)
        blind = zero(params['critic'])
        assert float(model.critic_loss(blind, params['generator'], X, KEY).loss) == pytest.approx(critic, abs=1e-6)
        assert float(model.generator_loss(params['generator'], blind, X, KEY).loss) == pytest.approx(
            generator, abs=1e-6
        )


def test_the_losses_are_the_games_on_the_critics_logits() -> None:
    """Wasserstein with linear nets: critic x . a + b and generator z M + m, on the noise that the model drew."""
    linear = MLP(hidden=())
    model = GAN(generator=linear, critic=linear, adversary=Wasserstein(), latent=3, output='identity')
    params = model.init(KEY, X)
    a = params['critic']['params']['Dense_0']['kernel'][:, 0]
    result = model.critic_loss(params['critic'], params['generator'], X, KEY)
    fake, _ = model.generate(params['generator'], jax.random.fold_in(KEY, 0), 6, (2,))
    assert float(result.loss) == pytest.approx(float((fake @ a).mean() - (X @ a).mean()), rel=1e-4)
    assert float(result.metrics['penalty']) == 0
    fake, _ = model.generate(params['generator'], jax.random.split(KEY)[0], 6, (2,))
    assert float(model.generator_loss(params['generator'], params['critic'], X, KEY).loss) == pytest.approx(
        float(-(fake @ a).mean()), rel=1e-4
    )


def test_the_penalty_is_added_and_logged_by_itself() -> None:
    linear = MLP(hidden=())
    plain = GAN(generator=linear, critic=linear, adversary=Wasserstein(), latent=3, output='identity')
    model = GAN(
        generator=linear, critic=linear, adversary=Wasserstein(), penalty=GradientPenalty(weight=3.0), latent=3,
        output='identity',
    )  # fmt: skip
    params = model.init(KEY, X)
    a = np.asarray(params['critic']['params']['Dense_0']['kernel'])
    loss = lambda model: jax.jit(model.critic_loss)(params['critic'], params['generator'], X, KEY)  # noqa: E731
    expected = 3 * (np.linalg.norm(a) - 1) ** 2
    assert float(loss(model).metrics['penalty']) == pytest.approx(expected, rel=1e-4)
    assert float(loss(model).loss - loss(plain).loss) == pytest.approx(expected, rel=1e-4)


def test_batch_statistics_of_each_player_advance_in_its_own_step() -> None:
    net = MLP(hidden=(4,), batch_norm=True)
    model = GAN(generator=net, critic=net, latent=2, output='identity')
    params = model.init(KEY, X)
    for mutable, name in (
        (model.critic_loss(params['critic'], params['generator'], X, KEY).mutable, 'critic'),
        (model.generator_loss(params['generator'], params['critic'], X, KEY).mutable, 'generator'),
    ):
        old = params[name]['batch_stats']
        assert str(jax.tree.structure(mutable['batch_stats'])) == str(jax.tree.structure(old))
        assert all((a != b).any() for a, b in zip(*map(jax.tree.leaves, (old, mutable['batch_stats'])), strict=True))


def test_samples_use_the_running_statistics() -> None:
    """The first draws do not change with what is drawn beside them, as they would with a batch's own moments."""
    net: Any = MLP(hidden=(4,), batch_norm=True)
    model = GAN(generator=net, critic=SMALL, latent=2, output='identity')
    params = model.init(KEY, X)['generator']
    noise = jax.random.normal(KEY, (6, 2))
    whole = model.sample({'generator': params}, KEY, 6, (2,))
    np.testing.assert_allclose(whole[:2], net.apply(params, noise[:2], (2,)), rtol=1e-5)
    assert not np.allclose(model.generate(params, KEY, 6, (2,))[0], whole)


def test_a_sigmoid_output_is_in_the_unit_interval() -> None:
    model = GAN(generator=SMALL, critic=SMALL, latent=2)
    params = jax.tree.map(lambda leaf: 50 * leaf, model.init(KEY, X))
    drawn = np.asarray(model.sample(params, KEY, 50, (2,)))
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_a_convolutional_critic_is_penalised_with_gradients_that_differences_confirm() -> None:
    """The second derivative through the convolutions. A slope of 1 makes the critic linear in x, so that its penalty has
    no jumps, as it has where a leaky unit changes sides."""
    critic: Any = Critic(width=2, normalise=False, slope=1.0)
    x = jax.random.uniform(KEY, (2, 8, 8, 1))
    start = jax.tree.map(lambda leaf: 5 * leaf, jax.jit(critic.init, static_argnums=2)(KEY, x, ()))

    @jax.jit
    def along(step: jax.Array) -> jax.Array:
        moved = jax.tree.map(lambda leaf: leaf + step, start)
        return GradientPenalty()(lambda x: critic.apply(moved, x, ()), x, 1 - x, KEY)

    differences = (float(along(jnp.float32(1e-3))) - float(along(jnp.float32(-1e-3)))) / 2e-3
    assert abs(differences) > 0.1
    assert float(jax.jit(jax.grad(along))(jnp.float32(0))) == pytest.approx(differences, rel=0.02)


def test_it_does_not_pretend_to_score() -> None:
    assert not isinstance(GAN(), Scorer)
    kinds = ('binary', 'integer', 'tokens')
    assert all('differentiated' in str(GAN().fits(Domain(kind=kind, shape=(2,), values=3))) for kind in kinds)  # type: ignore[arg-type]
    for output, kind in itertools.product(('sigmoid', 'identity'), ('unit', 'real')):
        fits = GAN(output=output).fits(Domain(kind=kind, shape=(2,)))  # type: ignore[arg-type]
        assert (fits is None) == ((output, kind) != ('sigmoid', 'real'))
