"""A flow is a density: it integrates to one, its draws fall as it says, and where it is linear it is the normal it has to be."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.latents.autoregressive import IAF, MAF
from research.latents.bijections import Planar, RealNVP, Stack
from research.models.flow import Flow
from research.nets.masked import MADE
from research.nets.mlp import MLP
from research.trainers.gradient import GradientTrainer
from research.types import Domain

KEY = jax.random.key(0)
NET = MADE(hidden=(6,), activation='tanh')
FLOWS: dict[str, Any] = {
    'maf': MAF(net=NET),
    'iaf': IAF(net=NET),
    'real_nvp': RealNVP(net=MLP(hidden=(6,), activation='tanh')),
    'planar': Stack(step=Planar(), layers=2),
}


def data(n: int = 200) -> jax.Array:
    """Two variables of different scales, far from the origin."""
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(n, 2)) * [0.5, 2.0] + [3.0, -1.0], jnp.float32)


def noisy(model: Flow, x: jax.Array) -> Any:
    """Parameters far from the start; the constants as `init` finds them."""
    rng = np.random.default_rng(4)
    params = jax.jit(model.init)(KEY, x)
    moved = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.5, jnp.float32), params['bijection'])
    return params | {'bijection': moved}


@pytest.mark.parametrize('bijection', FLOWS.values(), ids=FLOWS.keys())
def test_the_density_integrates_to_one_and_draws_fall_as_it_says(bijection: Any) -> None:
    """Within 1e-5 on a grid; means, squares and the log-density of 20000 draws within four standard errors."""
    model = Flow(bijection=bijection)
    params = noisy(model, data())
    first, second = np.linspace(-6, 12, 901), np.linspace(-37, 35, 901)
    grid = np.stack(np.meshgrid(first, second, indexing='ij'), axis=-1).reshape(-1, 2)
    score = jax.jit(lambda x: model.log_prob(params, x, KEY))
    log_p = np.asarray(score(jnp.asarray(grid, jnp.float32)), np.float64)
    mass = np.exp(log_p) * (first[1] - first[0]) * (second[1] - second[0])
    assert mass.sum() == pytest.approx(1.0, abs=1e-5)
    drawn = np.asarray(jax.jit(lambda key: model.sample(params, key, 20_000, (2,)))(jax.random.key(1)), np.float64)
    assert drawn.shape == (20_000, 2)
    of_drawn = np.asarray(score(jnp.asarray(drawn, jnp.float32)), np.float64)

    def statistics(x: np.ndarray, log_p: np.ndarray) -> np.ndarray:
        return np.column_stack([x, (x - 1) ** 2, x[:, 0] * x[:, 1], np.sin(3 * x[:, 0]), log_p])

    expected = mass @ statistics(grid, log_p)
    found = statistics(drawn, of_drawn)
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - expected) < 4 * error).all()


@pytest.mark.parametrize('seed', [None, 5])
def test_a_linear_maf_is_a_normal(seed: int | None) -> None:
    """mu = W z + b with constant scales S: z = b + W z + S u, so z ~ N((I - W)^-1 b, (I - W)^-1 S^2 (I - W)^-T)."""
    model, dims = Flow(bijection=MAF(net=MADE(hidden=(), order_seed=seed)), standardise=False), 4
    x = jnp.asarray(np.random.default_rng(1).normal(size=(9, dims)), jnp.float32)
    params = noisy(model, x)
    inner = params['bijection']
    layer = inner['net']['params']['MaskedDense_0']
    layer['kernel'] = layer['kernel'].at[:, 1::2].set(0)  # no scale depends on anything
    outputs = jax.jit(lambda z: model.bijection.affine(inner, z, None))
    b, alpha = (np.asarray(part[0], np.float64) for part in outputs(jnp.zeros((1, dims))))
    w = np.asarray(outputs(jnp.eye(dims))[0], np.float64).T - b[:, None]
    assert np.abs(w).max() > 0.1
    inverse = np.linalg.inv(np.eye(dims) - w)
    expected = stats.multivariate_normal(inverse @ b, inverse @ np.diag(np.exp(2 * alpha)) @ inverse.T)
    found = jax.jit(model.log_prob)(params, x, KEY)
    np.testing.assert_allclose(found, expected.logpdf(np.asarray(x)), rtol=1e-5, atol=1e-5)


def test_it_starts_as_the_diagonal_normal_of_the_data() -> None:
    x = data()
    model = Flow(bijection=Stack(step=MAF(net=NET), layers=2))
    params = jax.jit(model.init)(KEY, x)
    exact = np.asarray(x, np.float64)
    expected = stats.norm(exact.mean(axis=0), exact.std(axis=0)).logpdf(exact).sum(axis=1)
    np.testing.assert_allclose(jax.jit(model.log_prob)(params, x, KEY), expected, rtol=1e-4, atol=1e-4)


def test_a_maf_learns_a_crescent() -> None:
    """x_1 ~ N(0, 1), x_2 = x_1^2 + 0.3 n: to within 0.05 nats of its entropy, where the best normal is 0.6 away."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=6000)
    x = jnp.asarray(np.column_stack([first, first**2 + 0.3 * rng.normal(size=6000)]), jnp.float32)
    train, test = x[:4000], x[4000:]
    model = Flow(bijection=MAF(net=MADE(hidden=(32,))))
    trainer = GradientTrainer(model=model, learning_rate=0.01)

    @jax.jit
    def fit(key: jax.Array) -> Any:
        def step(state: Any, i: jax.Array) -> tuple[Any, None]:
            rows = jax.random.randint(jax.random.fold_in(key, i), (200,), 0, len(train))
            return trainer.step(state, train[rows], KEY)[0], None

        return trainer.params(jax.lax.scan(step, trainer.init(KEY, train), jnp.arange(2000))[0])

    found = -np.asarray(jax.jit(model.log_prob)(fit(KEY), test, KEY))
    exact = -(stats.norm.logpdf(test[:, 0]) + stats.norm.logpdf(test[:, 1], test[:, 0] ** 2, 0.3))
    normal = -stats.multivariate_normal(np.mean(x, axis=0), np.cov(x.T)).logpdf(test)
    assert normal.mean() > exact.mean() + 0.6
    assert exact.mean() - 0.01 < found.mean() < exact.mean() + 0.05


def test_constant_and_few_examples_stay_defined() -> None:
    """One example, and variables without any spread: the scale's floor holds."""
    model = Flow(bijection=FLOWS['maf'])
    start, loss = jax.jit(model.init), jax.jit(jax.value_and_grad(lambda p, x: model.loss(p, x, KEY).loss))
    for x in (jnp.array([[0.5, 0.1]]), jnp.ones((6, 2))):
        params = start(KEY, x)
        value, gradient = loss(params, x)
        assert np.isfinite(value)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_it_takes_images_and_latents() -> None:
    """Any shape of example is one row of variables; over latents it starts at the standard normal, and has a score."""
    images = jnp.asarray(np.random.default_rng(0).random((8, 3, 3, 1)), jnp.float32)
    model = Flow(bijection=MAF(net=NET))
    params = jax.jit(model.init)(KEY, images)
    assert jax.jit(lambda key: model.sample(params, key, 5, (3, 3, 1)))(KEY).shape == (5, 3, 3, 1)
    assert jax.jit(model.log_prob)(params, images, KEY).shape == (8,)
    latents = Flow(bijection=FLOWS['real_nvp'], standardise=False)
    z = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)) * 2, jnp.float32)
    prior = jax.jit(latents.init)(KEY, z)
    log_p, score = jax.jit(
        lambda z: (latents.log_prob(prior, z, KEY), jax.grad(lambda z: latents.log_prob(prior, z, KEY).sum())(z))
    )(z)
    np.testing.assert_allclose(log_p, stats.norm.logpdf(z).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(score, -z, rtol=1e-5, atol=1e-5)


def test_what_it_fits() -> None:
    model = Flow()
    assert model.fits(Domain(kind='real', shape=(2,))) is None
    assert model.fits(Domain(kind='unit', shape=(8, 8, 1), cell=1 / 17)) is None
    for kind in ('binary', 'integer', 'tokens'):
        why = model.fits(Domain(kind=kind, shape=(3,), values=3))
        assert why is not None
        assert kind in why
