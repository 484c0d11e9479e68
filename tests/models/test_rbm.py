"""A restricted Boltzmann machine against enumeration: energies, log Z both ways, the gradient of its chains, and learning."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.models import rbm
from research.models.rbm import RBM, Weights, annealed_log_partition, free_energy, log_partition
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Sgd
from research.types import Domain, Scorer

KEY = jax.random.key(0)


def weights(visible: int, hidden: int, scale: float = 1.0) -> Weights:
    rng = np.random.default_rng(visible + hidden)
    draw = lambda *shape: jnp.asarray(scale * rng.normal(size=shape), jnp.float32)  # noqa: E731
    return Weights(draw(visible), draw(hidden), draw(visible, hidden))


def states(units: int) -> np.ndarray:
    return np.array(list(itertools.product((0, 1), repeat=units)), np.float32)


def energies(theta: Weights) -> np.ndarray:
    """b.x + c.h + x.W h of every pair of states, [2^visible, 2^hidden], in float64."""
    b, c, w = (np.asarray(a, np.float64) for a in theta)
    x, h = states(b.size), states(c.size)
    return (x @ b)[:, None] + h @ c + x @ w @ h.T


@pytest.mark.parametrize(('visible', 'hidden'), [(3, 4), (5, 2), (1, 1), (6, 6)])
def test_free_energy_and_log_z_by_enumeration_of_both_sides(visible: int, hidden: int) -> None:
    theta, joint = weights(visible, hidden), np.exp(energies(weights(visible, hidden)))
    f = jax.jit(free_energy)(theta, jnp.asarray(states(visible)))
    np.testing.assert_allclose(np.exp(-np.asarray(f, np.float64)), joint.sum(axis=1), rtol=1e-4)
    assert float(jax.jit(log_partition)(theta)) == pytest.approx(np.log(joint.sum()), abs=1e-4)


def test_states_beyond_one_block_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    theta = weights(7, 9, 0.5)
    whole = float(jax.jit(log_partition)(theta))
    monkeypatch.setattr(rbm, 'BLOCK', 3)
    assert float(jax.jit(lambda theta: log_partition(theta))(theta)) == pytest.approx(whole, abs=1e-4)
    assert whole == pytest.approx(np.log(np.exp(energies(theta)).sum()), abs=1e-4)


def test_annealed_importance_sampling_finds_log_z() -> None:
    """The mean of Z estimate / Z over 24 repeats is one within four standard errors; the base's own Z is met exactly."""
    theta = weights(6, 5, 0.8)
    exact = float(jax.jit(log_partition)(theta))
    run = jax.jit(jax.vmap(lambda key: annealed_log_partition(theta, jnp.zeros(6), key, 50, 60)))
    ratio = np.exp(np.asarray(run(jax.random.split(KEY, 24)), np.float64) - exact)
    error = ratio.std(ddof=1) / np.sqrt(24)
    assert error < 0.05
    assert abs(ratio.mean() - 1) < 4 * error
    base = jnp.asarray([0.3, -2.0, 1.0])
    alone = Weights(base, jnp.zeros(4), jnp.zeros((3, 4)))
    found = jax.jit(lambda key: annealed_log_partition(alone, base, key, 3, 5))(KEY)
    assert float(found) == pytest.approx(float(log_partition(alone)), abs=1e-4)


def params_of(theta: Weights, chains: int) -> Any:
    start = (np.random.default_rng(1).random((chains, theta.b.size)) < 0.5).astype(np.float32)
    constants = {'base': jnp.zeros(theta.b.size), 'chains': jnp.asarray(start)}
    return {'b': theta.b, 'c': theta.c, 'W': theta.w, 'constants': constants}


def test_chains_that_have_mixed_give_the_gradient_of_the_likelihood() -> None:
    """20000 chains after 200 steps: each entry of the gradient within four standard errors of the exact one."""
    n, theta = 20_000, weights(4, 3, 0.7)
    model = RBM(hidden=3, visible=4, chains=n, steps=200)
    params, x = params_of(theta, n), jnp.asarray(states(4)[[1, 5, 7, 7, 12]])
    trained = {name: value for name, value in params.items() if name != 'constants'}

    def whole(trained: Any) -> Any:
        return trained | {'constants': params['constants']}

    likelihood = lambda t: -model.log_prob(whole(t), x, KEY).mean()  # noqa: E731
    exact = jax.jit(jax.grad(likelihood))(trained)
    estimate = jax.jit(jax.grad(lambda t: model.loss(whole(t), x, KEY).loss))(trained)
    for name in trained:  # dF of a chain has at most a variance of 1/4 an entry, its entries being probabilities
        assert (np.abs(np.asarray(exact[name]) - np.asarray(estimate[name])) < 4 * 0.5 / np.sqrt(n)).all()


def test_the_chains_are_carried_and_not_trained() -> None:
    trainer = GradientTrainer(model=RBM(hidden=3, visible=4, chains=7), ema=0.5)
    x = jnp.asarray(states(4))
    state = jax.jit(trainer.init)(KEY, x)
    after, metrics = jax.jit(trainer.step)(state, x, KEY)
    for params in (after.variables(), after.variables(averaged=True)):
        chains = np.asarray(params['constants']['chains'])
        assert chains.shape == (7, 4)
        assert set(np.unique(chains)) <= {0.0, 1.0}
    assert (np.asarray(state.mutable['constants']['chains']) != chains).any()
    np.testing.assert_array_equal(state.mutable['constants']['base'], params['constants']['base'])
    assert set(metrics) == {'loss', 'flip'}
    assert float(metrics['flip']) < 0


def test_it_learns_what_independent_bits_cannot() -> None:
    """Four bits that agree with a fifth, unseen one in nine of ten cases: independent bits reach 4 log 2 = 2.77 nats."""
    rng = np.random.default_rng(0)
    common = rng.random((500, 1)) < 0.5
    x = jnp.asarray(np.where(rng.random((500, 4)) < 0.9, common, ~common), jnp.float32)
    trainer = GradientTrainer(model=RBM(hidden=3, visible=4), learning_rate=0.05, optimiser=Sgd())
    model: Any = trainer.model
    step = lambda i, s: trainer.step(s, x, jax.random.fold_in(KEY, i))[0]  # noqa: E731
    state = jax.jit(lambda: jax.lax.fori_loop(0, 3000, step, trainer.init(KEY, x)))()
    params = trainer.params(state)
    score = jax.jit(model.log_prob)
    p = np.exp(np.asarray(score(params, jnp.asarray(states(4)), KEY), np.float64))
    assert p.sum() == pytest.approx(1, abs=1e-5)
    agree = 0.5 * (0.9 ** states(4).sum(1) * 0.1 ** (4 - states(4).sum(1)))
    truth = agree + agree[::-1]
    assert -float(score(params, x, KEY).mean()) < -(truth @ np.log(truth)) + 0.1 < 2.2
    drawn = np.asarray(jax.jit(lambda p: model.sample(p, KEY, 2000, (2, 2)))(params))
    assert drawn.shape == (2000, 2, 2)
    found = np.bincount(drawn.reshape(2000, 4).astype(int) @ [8, 4, 2, 1], minlength=16) / 2000
    assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / 2000) + 0.01).all()


def test_the_score_says_of_what_kind_it_is() -> None:
    assert isinstance(RBM(), Scorer)
    assert RBM(hidden=16, visible=784).log_prob_kind == 'exact'
    assert RBM(hidden=500, visible=20).log_prob_kind == 'exact'
    assert RBM(hidden=500, visible=784).log_prob_kind == 'estimate'
    assert (RBM(hidden=500).log_prob_kind, RBM(hidden=3).log_prob_kind) == ('estimate', 'exact')


def test_bits_that_never_change_keep_finite_numbers() -> None:
    x = jnp.zeros((5, 3)).at[:, 1].set(1)
    model = RBM(hidden=2, visible=3)
    params = jax.jit(model.init)(KEY, x)
    np.testing.assert_allclose(jax.nn.sigmoid(params['b']), [1 / 7, 6 / 7, 1 / 7], rtol=1e-5)
    objective = jax.jit(model.loss)(params, x, KEY)
    assert np.isfinite(objective.loss)
    assert np.isfinite(jax.jit(model.log_prob)(params, 1 - x, KEY)).all()


def test_what_it_cannot_score_is_said() -> None:
    assert RBM().fits(Domain(kind='binary', shape=(2,))) is None
    assert 'unit' in str(RBM().fits(Domain(kind='unit', shape=(2,))))
