"""The baseline in closed form, and its published figures."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data import Images, Music, music, tfds
from research.maths.likelihoods import Bernoulli, Categorical, Gaussian, Likelihood
from research.maths.preprocess import prepare
from research.models.independent import Independent

KEY = jax.random.key(0)


def fitted(model: Independent, x: np.ndarray, batches: int = 1) -> dict[str, jax.Array]:
    params = model.init(KEY, jnp.asarray(x))
    parts = [model.statistics(params, jnp.asarray(part))[0] for part in np.array_split(x, batches)]
    return model.solve(params, jax.tree.map(lambda *parts: sum(parts), *parts))


@pytest.mark.parametrize('smoothing', [0.5, 1.0, 3.0])
def test_bernoulli_probabilities_are_counts_with_pseudo_counts(smoothing: float) -> None:
    x = (np.random.default_rng(0).random((40, 2, 3)) < 0.3).astype(np.float32)
    x[:, 0, 0] = 0  # a pixel that is never on
    params = fitted(Independent(smoothing=smoothing), x, batches=3)
    expected = (x.sum(axis=0) + smoothing) / (40 + 2 * smoothing)
    np.testing.assert_allclose(jax.nn.sigmoid(params['outputs']), expected, rtol=1e-5)


def test_categorical_probabilities_are_counts_with_pseudo_counts() -> None:
    x = np.random.default_rng(0).integers(0, 3, (40, 2)).astype(np.int32)
    params = fitted(Independent(likelihood=Categorical(levels=4), smoothing=0.5), x, batches=2)
    counts = (x[..., None] == np.arange(4)).sum(axis=0)
    np.testing.assert_allclose(jax.nn.softmax(params['outputs']), (counts + 0.5) / (40 + 2), rtol=1e-5)


def test_a_constant_pixel_scores_a_finite_density() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    x[:, 1] = 0.7
    model = Independent(likelihood=Gaussian(floor=1e-2))
    params = fitted(model, x)
    nats = np.asarray(model.log_prob(params, jnp.asarray(x), KEY))
    assert np.isfinite(nats).all()
    alone = np.asarray(Gaussian(floor=1e-2).log_prob(params['outputs'][None, 1:2], jnp.asarray(x[:, 1:2])))
    np.testing.assert_allclose(alone, -np.log(1e-2) - 0.5 * np.log(2 * np.pi), atol=1e-2)  # the floor is its scale


@pytest.mark.parametrize('likelihood', [Bernoulli(), Gaussian()], ids=['bernoulli', 'gaussian'])
def test_the_gradient_at_the_solution_is_zero(likelihood: Likelihood) -> None:
    """The closed form is where gradient descent on `loss` would end."""
    rng = np.random.default_rng(1)
    x = (rng.random((200, 3)) < 0.4) if isinstance(likelihood, Bernoulli) else rng.normal(size=(200, 3))
    model = Independent(likelihood=likelihood, smoothing=1e-6)
    params = fitted(model, x.astype(np.float32))
    slope = jax.grad(lambda params: model.loss(params, jnp.asarray(x, jnp.float32), KEY).loss)(params)
    np.testing.assert_allclose(slope['outputs'], 0, atol=1e-4)


@pytest.mark.skipif(music.found(None) is None, reason='LIKENESS_DATA_DIR is not set or has no jsb_chorales')
def test_jsb_chorales_is_the_published_figure() -> None:
    """11.0602 nats per time step over 4725 test steps at smoothing 0.5; 88 log 2 = 60.997 for a coin per key."""
    data, model = Music().load(), Independent(smoothing=0.5)
    assert len(data.test) == 4725
    params = fitted(model, np.asarray(data.train.x, np.float32))
    nll = -np.asarray(model.log_prob(params, jnp.asarray(data.test.x), KEY), np.float64).mean()
    assert nll == pytest.approx(11.0602, abs=0.0005)
    coin = -np.asarray(model.log_prob(model.init(KEY, jnp.zeros((2, 88))), jnp.asarray(data.test.x), KEY), np.float64)
    assert coin.mean() == pytest.approx(60.997, abs=0.0005)


@pytest.mark.skipif(not tfds.available('mnist'), reason='TFDS_DATA_DIR is not set or has no mnist')
def test_mnist_is_the_published_figure() -> None:
    """205.81 nats in expectation over dynamic binarisation, from the first 50000 examples with add-1 smoothing."""
    data, model = Images(name='mnist', values='scale', valid=10_000).load(), Independent(smoothing=1.0)
    assert len(data.train) == 50_000
    start = model.init(KEY, jnp.zeros((2, 28, 28, 1)))
    statistics = jax.jit(lambda x: model.statistics(start, prepare(x, 'scale', 256, KEY))[0])
    parts = [statistics(jnp.asarray(part)) for part in np.split(np.asarray(data.train.x), 10)]
    params = model.solve(start, jax.tree.map(lambda *parts: sum(parts), *parts))
    score = jax.jit(lambda x: model.log_prob(params, x, KEY))
    nll = -np.mean([np.asarray(score(jnp.asarray(part)), np.float64).mean() for part in np.split(data.test.x, 5)])
    assert nll == pytest.approx(205.81, abs=0.05)


def test_a_small_variance_far_from_zero_is_not_lost() -> None:
    """Mean 3000, deviation 0.5: raw sums of squares would leave nothing of it in float32."""
    x = (3000 + 0.5 * np.random.default_rng(0).normal(size=(1000, 2))).astype(np.float32)
    params = fitted(Independent(likelihood=Gaussian(floor=1e-3)), x, batches=4)
    mean, scale = Gaussian(floor=1e-3).parameters(params['outputs'])
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(scale, x.astype(np.float64).std(axis=0), rtol=1e-2)
