"""Autoregressive models by brute force: they sum to one, their samples are the sequential ones, and FVSBN is regressions."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special
from sklearn.linear_model import LogisticRegression

from research.maths.likelihoods import Bernoulli, Categorical, Gaussian
from research.models.autoregressive import Autoregressive
from research.nets.masked import MADE, NADE, ordering
from research.trainers.gradient import GradientTrainer
from research.types import Domain

KEY = jax.random.key(0)
BINARY: dict[str, Autoregressive] = {
    'fvsbn': Autoregressive(net=MADE(hidden=(), order_seed=1)),
    'made': Autoregressive(net=MADE(hidden=(9,), direct=True)),
    'nade': Autoregressive(net=NADE(hidden=5, chunk=2, order_seed=2)),
}
binary = pytest.mark.parametrize('model', BINARY.values(), ids=BINARY.keys())


def noisy(model: Autoregressive, x: Any) -> Any:
    """Parameters with random numbers in them."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: model.init(KEY, jnp.asarray(x)))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), shapes)


def every(values: int, dims: int) -> np.ndarray:
    return np.array(list(itertools.product(range(values), repeat=dims)))


@binary
def test_probabilities_of_all_strings_add_up_to_one_and_samples_follow_them(model: Autoregressive) -> None:
    """All 32 strings of five bits; 20000 draws within four standard errors of each."""
    x = every(2, 5).astype(np.float32)
    params = noisy(model, x)
    p = np.exp(np.asarray(jax.jit(model.log_prob)(params, jnp.asarray(x), KEY), np.float64))
    assert p.sum() == pytest.approx(1, abs=1e-5)
    drawn = np.asarray(jax.jit(lambda params: model.sample(params, KEY, 20_000, (5,)))(params)).astype(int)
    found = np.bincount(drawn @ (2 ** np.arange(5))[::-1], minlength=32) / 20_000
    assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / 20_000) + 1e-6).all()


def test_integers_add_up_to_one_and_reals_integrate_to_one() -> None:
    integers = Autoregressive(net=MADE(hidden=(6,), order_seed=0), likelihood=Categorical(levels=3))
    x = every(3, 3).astype(np.int32)
    p = np.exp(np.asarray(jax.jit(integers.log_prob)(noisy(integers, x), jnp.asarray(x), KEY), np.float64))
    assert p.sum() == pytest.approx(1, abs=1e-5)
    reals = Autoregressive(net=MADE(hidden=(6,), activation='tanh'), likelihood=Gaussian(scale=0.7))
    axis = np.linspace(-15, 15, 201, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    p = np.exp(np.asarray(jax.jit(reals.log_prob)(noisy(reals, grid), jnp.asarray(grid), KEY), np.float64))
    assert p.sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-4)


@binary
def test_drawing_all_at_once_is_drawing_one_after_the_other(model: Autoregressive) -> None:
    """With the noise of the draw, variable after variable in the net's order gives the same bits."""
    params, shape, n = noisy(model, np.zeros((2, 6), np.float32)), (6,), 40
    x = jnp.zeros((n, *shape))
    step = jax.jit(lambda x: model.likelihood.sample(model.conditionals(params, x), KEY))
    net: Any = model.net
    for d in ordering(6, net.order_seed):
        x = x.at[:, d].set(step(x)[:, d])
    drawn = jax.jit(lambda params: model.sample(params, KEY, n, shape))(params)
    np.testing.assert_array_equal(drawn, x)


def test_a_sigmoid_belief_network_is_independent_logistic_regressions() -> None:
    """Each variable's probability is expit(b + w.x_before), and at the optimum each is scikit-learn's regression."""
    rng = np.random.default_rng(0)
    x = (rng.random((400, 4)) < 0.5).astype(np.float32)
    x[:, 2] = np.where(rng.random(400) < 0.7, x[:, 0], rng.random(400) < 0.4 + 0.3 * x[:, 1])
    x[:, 3] = np.where(rng.random(400) < 0.6, x[:, 2], rng.random(400) < 0.3)
    trainer = GradientTrainer(model=Autoregressive(net=MADE(hidden=())), learning_rate=0.02)
    state = jax.jit(trainer.init)(KEY, jnp.asarray(x))
    fit = jax.jit(lambda s: jax.lax.fori_loop(0, 2000, lambda i, s: trainer.step(s, jnp.asarray(x), KEY)[0], s))
    model: Any = trainer.model
    params = trainer.params(fit(state))
    layer, offset = params['net']['params']['MaskedDense_0'], params['constants']['offset']
    total = np.zeros(400)
    for d in range(4):
        w, b = np.asarray(layer['kernel'])[:d, d], float(layer['bias'][d] + offset[d])
        p = special.expit(b + x[:, :d] @ w)
        if d:
            reference = LogisticRegression(C=1e9, max_iter=1000).fit(x[:, :d], x[:, d])
            np.testing.assert_allclose(p, reference.predict_proba(x[:, :d])[:, 1], atol=2e-3)
        total += np.where(x[:, d] > 0, np.log(p), np.log1p(-p))
    np.testing.assert_allclose(jax.jit(model.log_prob)(params, jnp.asarray(x), KEY), total, rtol=1e-4)


def test_it_starts_near_the_marginals_and_a_constant_variable_stays_finite() -> None:
    x = np.zeros((200, 3, 1), np.float32)
    x[:50, 1], x[:, 2] = 1, 1
    model = Autoregressive(net=MADE(hidden=(4,)))
    params = jax.jit(model.init)(KEY, jnp.asarray(x))
    p = special.expit(np.asarray(params['constants']['offset'])).ravel()
    np.testing.assert_allclose(p, [1 / 202, 51 / 202, 201 / 202], rtol=1e-4)
    score = jax.jit(model.log_prob)
    assert np.isfinite(score(params, jnp.asarray(1 - x), KEY)).all()  # the values that never came
    plain = dataclasses.replace(model, start_at_marginals=False)
    assert (jax.jit(plain.init)(KEY, jnp.asarray(x))['constants']['offset'] == 0).all()


def test_one_variable_has_two_probabilities_and_no_data_before_it() -> None:
    x = jnp.asarray([[1.0], [0.0], [0.0]])
    for net in (MADE(hidden=(3,), direct=True), NADE(hidden=3)):
        model = Autoregressive(net=net)
        p = np.exp(jax.jit(lambda m=model: m.log_prob(m.init(KEY, x), x, KEY))())
        assert p[1] == p[2]
        assert p[0] + p[1] == pytest.approx(1, abs=1e-5)


def test_what_it_cannot_score_is_said() -> None:
    bits = Autoregressive()
    assert bits.fits(Domain(kind='binary', shape=(2,))) is None
    assert 'binarise' in str(bits.fits(Domain(kind='unit', shape=(2,))))
    assert 'integer' in str(bits.fits(Domain(kind='integer', shape=(2,), values=3)))
    assert Autoregressive(likelihood=Gaussian()).fits(Domain(kind='unit', shape=(2,))) is None
    assert Autoregressive(likelihood=Bernoulli()).log_prob_kind == 'exact'
