"""Pictures of latents are what the model decodes, at the points that the file's head tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import portraits
from research.data.source import Data, Split
from research.latents.posteriors import VonMisesFisher
from research.latents.priors import UniformSphere
from research.models.adversarial_autoencoder import AdversarialAutoencoder
from research.models.autoencoder import Autoencoder
from research.models.factor_vae import FactorVAE
from research.models.vae import VAE
from research.models.vae_gan import VAEGAN
from research.nets.mlp import MLP
from research.types import Array, Decoder, Domain, Encoder, Key, Params

NET = MLP(hidden=(8,))
RNG = np.random.default_rng(0)
IMAGES = Domain(kind='unit', shape=(2, 2, 1), modality='image')
PLAIN = VAE(encoder=NET, decoder=NET, latent=3)
AUTO = Autoencoder(encoder=NET, decoder=NET, latent=3)


def data(x: np.ndarray, domain: Domain = IMAGES, label: np.ndarray | None = None) -> Data:
    part = Split(x=x, label=label)
    return Data(name='made', train=part, valid=None, test=part, domain=domain, sha256='')


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """z is x and x is z, so that pictures show the points themselves; the prior is N(shift, scale^2), or a sphere."""

    shift: float = 2.0
    scale: float = 0.5
    sphere: bool = False

    def encode(self, params: Params, x: Array) -> tuple[Array, Array]:
        return params * x.reshape(len(x), -1), jnp.zeros((len(x), 4))

    def decode_mean(self, params: Params, z: Array, event: tuple[int, ...]) -> Array:
        return z.reshape(-1, *event)

    def draw_prior(self, params: Params, key: Key, n: int) -> Array:
        z = jax.random.normal(key, (n, 4))
        return z / jnp.linalg.norm(z, axis=1, keepdims=True) if self.sphere else self.shift + self.scale * z


@dataclass(frozen=True, kw_only=True)
class Grids:
    """A model whose z is no vector: it reconstructs, and that is all."""

    def reconstruct(self, params: Params, x: Array) -> Array:
        return x / 2


ONE = np.float32(1)


def test_a_traversal_goes_three_deviations_of_the_prior_to_both_sides_of_its_mean() -> None:
    spread = np.array([0.1, 2.0, 1.0, 0.05])
    x = (RNG.normal(size=(200, 4)) * spread).astype(np.float32).reshape(-1, 2, 2, 1)
    found = portraits.portraits(Mirror(), ONE, IMAGES, data(x))
    np.testing.assert_array_equal(found['latents'], [1, 2, 0, 3])
    np.testing.assert_allclose(found['activity'], x.reshape(200, 4).var(axis=0)[[1, 2, 0, 3]], rtol=1e-5)
    np.testing.assert_array_equal(found['deviations'], [-3, -2, -1, 0, 1, 2, 3])
    np.testing.assert_array_equal(found['bases'], [-1, 0])
    points = found['traversal'].astype(float).reshape(2, 4, 7, 4)
    for row, j in enumerate(found['latents']):
        others = np.delete(np.arange(4), j)
        for base in range(2):
            np.testing.assert_allclose(points[base, row, :, j], 2 + 0.5 * np.arange(-3, 4), atol=0.06)
        np.testing.assert_allclose(points[0, row][:, others], 2, atol=0.05)  # from 4000 draws
        np.testing.assert_allclose(points[1, row][:, others], np.tile(x[0].reshape(4)[others], (7, 1)), atol=2e-3)
    np.testing.assert_allclose(found['examples'], x[:10], atol=2e-3)
    np.testing.assert_allclose(found['reconstruction'], x[:10], atol=2e-3)
    ways = found['interpolation'].astype(float).reshape(5, 8, 4)
    ends = x[:10].reshape(5, 2, 4)
    t = np.linspace(0, 1, 8)[:, None]
    np.testing.assert_allclose(ways, (1 - t) * ends[:, :1] + t * ends[:, 1:], atol=5e-3)
    assert not found['sphere']


def test_on_a_sphere_every_point_has_length_one() -> None:
    x = RNG.normal(size=(50, 4)).astype(np.float32)
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).reshape(-1, 2, 2, 1)
    found = portraits.portraits(Mirror(sphere=True), ONE, IMAGES, data(x))
    assert found['sphere']
    np.testing.assert_array_equal(found['bases'], [0, 1])
    for name in ('traversal', 'interpolation'):
        lengths = np.linalg.norm(found[name].astype(float).reshape(-1, 4), axis=1)
        np.testing.assert_allclose(lengths, 1, atol=2e-3)
    points = found['traversal'].astype(float).reshape(2, 4, 7, 4)
    for row, j in enumerate(found['latents']):  # a coordinate of such a point has variance 1 / 4
        np.testing.assert_allclose(points[0, row, :, j], np.clip(np.arange(-3, 4) / 2, -1, 1), atol=0.06)


def test_a_great_circle_is_walked_in_even_steps_from_end_to_end() -> None:
    a, b = (v / np.linalg.norm(v) for v in RNG.normal(size=(2, 6)))
    walked = portraits.way(a, b, sphere=True)
    np.testing.assert_allclose(walked[[0, -1]], [a, b], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(walked, axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(np.arccos((walked[:-1] * walked[1:]).sum(axis=1)), np.arccos(a @ b) / 7, rtol=1e-6)
    np.testing.assert_allclose(portraits.way(a, a, sphere=True), np.tile(a, (8, 1)), atol=1e-12)


def test_a_traversal_on_the_sphere_leaves_the_others_in_proportion() -> None:
    base = RNG.normal(size=5)
    base /= np.linalg.norm(base)
    z = portraits.traversal(base, 2, np.array([-2.0, -0.5, 0.0, 0.8]), sphere=True)
    np.testing.assert_allclose(z[:, 2], [-1, -0.5, 0, 0.8])
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1)
    others = np.delete(z, 2, axis=1)[1:]
    np.testing.assert_allclose(others / others[:, :1], np.tile(np.delete(base, 2) / base[0], (3, 1)))
    pole = portraits.traversal(np.eye(5)[2], 2, np.array([0.6]), sphere=True)
    np.testing.assert_allclose(np.linalg.norm(pole), 1)


def test_principal_components_are_those_of_scikit_learn() -> None:
    decomposition = pytest.importorskip('sklearn.decomposition')
    means = RNG.normal(size=(60, 5)) @ RNG.normal(size=(5, 5)) + 3
    points, shares = portraits.components(means)
    theirs = decomposition.PCA(n_components=2, svd_solver='full').fit(means)
    ours = points * np.sign((points * theirs.transform(means)).sum(axis=0))
    np.testing.assert_allclose(ours, theirs.transform(means), atol=1e-9)
    np.testing.assert_allclose(shares, theirs.explained_variance_ratio_, rtol=1e-9)


def test_two_latents_are_shown_as_they_are_and_one_is_not() -> None:
    means = RNG.normal(size=(7, 2))
    found = portraits.plane(means)
    np.testing.assert_allclose(found['plane'], means, rtol=1e-6)
    assert 'shares' not in found
    assert portraits.plane(means[:, :1]) == portraits.plane(RNG.normal(size=(1, 3))) == {}
    assert (
        portraits.plane(np.ones((7, 3)))['shares'].max() < 1e-9
    )  # collapsed: nothing varies, and nothing is divided by 0


def test_colours_come_from_labels_or_from_a_factor_of_few_values() -> None:
    x, label = np.zeros((30, 2, 2, 1), np.float32), np.arange(30, dtype=np.int32) % 5
    assert portraits.classes(data(x)) == {}
    found = portraits.classes(data(x, label=label))
    np.testing.assert_array_equal(found['classes'], label)
    assert str(found['class_name']) == 'label'
    assert portraits.classes(data(x, label=np.arange(30, dtype=np.int32))) == {}  # thirty colours are none
    factors = np.stack([np.zeros(30), np.arange(30), label], axis=1).astype(np.int32)
    part = Split(x=x, factors=factors)
    made = Data(
        name='made', train=part, valid=None, test=part, domain=IMAGES, sha256='',
        factors={'still': 1, 'place': 30, 'shape': 5},
    )  # fmt: skip
    found = portraits.classes(made)
    np.testing.assert_array_equal(found['classes'], label)
    assert str(found['class_name']) == 'shape'


def test_what_a_model_cannot_do_is_left_out(tmp_path: Path) -> None:
    x = RNG.random((20, 2, 2, 1)).astype(np.float32)
    found = portraits.portraits(Grids(), None, IMAGES, data(x))
    assert found.keys() == {'examples', 'reconstruction'}
    np.testing.assert_allclose(found['reconstruction'], x[:10] / 2, atol=1e-3)
    points = Domain(kind='real', shape=(2, 2, 1))
    assert portraits.portraits(Mirror(), ONE, points, data(x, points)).keys() == {'plane', 'shares', 'latent'}
    few = portraits.portraits(Mirror(), ONE, IMAGES, data(x[:9]))
    assert few.keys() == {'plane', 'shares', 'latent'}
    for model, params, domain in ((object(), None, IMAGES), (Mirror(), np.float32('nan'), IMAGES)):
        portraits.save(model, params, domain, data(x), tmp_path)
        assert not list(tmp_path.iterdir())
    portraits.save(Mirror(), ONE, IMAGES, data(x), tmp_path)
    with np.load(tmp_path / portraits.FILE, allow_pickle=False) as kept:
        assert {'plane', 'examples', 'traversal', 'interpolation'} <= set(kept)
    portraits.save(object(), None, IMAGES, data(x), tmp_path)
    assert not list(tmp_path.iterdir())  # what another training left there


def test_large_pictures_have_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    x = RNG.normal(size=(10, 2, 2, 1)).astype(np.float32)
    monkeypatch.setattr(portraits, 'VALUES', 2 * 2 * 7 * 4)  # two rows of seven, about two bases
    found = portraits.portraits(Mirror(), ONE, IMAGES, data(x))
    assert found['traversal'].shape == (2, 2, 7, 2, 2, 1)
    np.testing.assert_array_equal(found['latents'], np.argsort(-x.reshape(10, 4).var(axis=0))[:2])


@pytest.mark.parametrize(
    'model',
    [
        PLAIN,
        VAE(encoder=NET, decoder=NET, latent=3, posterior=VonMisesFisher(), prior=UniformSphere()),
        FactorVAE(vae=PLAIN, critic=NET),
        AUTO,
        AdversarialAutoencoder(autoencoder=AUTO, critic=NET),
        VAEGAN(encoder=NET, decoder=NET, features=NET, feature_size=4, latent=3),
    ],
    ids=lambda model: type(model).__name__,
)
def test_decoding_the_mean_of_a_code_is_a_reconstruction(model: Any) -> None:
    assert isinstance(model, Decoder) and isinstance(model, Encoder)
    x = (RNG.random((12, 2, 2, 1)) < 0.5).astype(np.float32)

    @jax.jit
    def both(key: Key) -> tuple[Array, ...]:
        params = model.init(key, jnp.asarray(x))
        z = model.encode(params, x)[0]
        drawn = model.draw_prior(params, key, 5)
        return model.decode_mean(params, z, x.shape[1:]), model.reconstruct(params, x), z, drawn

    decoded, remade, z, drawn = both(jax.random.key(3))
    np.testing.assert_allclose(decoded, remade, rtol=1e-5, atol=1e-6)
    assert decoded.shape == x.shape
    assert z.shape == (12, 3) and drawn.shape == (5, 3)


def test_the_pictures_of_a_vae_are_what_it_decodes() -> None:
    x = (RNG.random((30, 2, 2, 1)) < 0.5).astype(np.float32)
    params = jax.jit(PLAIN.init)(jax.random.key(0), jnp.asarray(x))
    params['decoder'] = jax.tree.map(lambda leaf: 3 * leaf, params['decoder'])
    found = portraits.portraits(PLAIN, params, IMAGES, data(x))
    means = np.asarray(PLAIN.encode(params, x)[0])
    order = np.argsort(-means.var(axis=0))
    np.testing.assert_array_equal(found['latents'], order)
    z = np.tile(means[0], (3, 7, 1))
    for row, j in enumerate(order):
        z[row, :, j] = np.arange(-3, 4)
    expected = PLAIN.decode_mean(params, z.reshape(-1, 3), (2, 2, 1)).reshape(3, 7, 2, 2, 1)
    np.testing.assert_allclose(found['traversal'][1], expected, atol=0.06)  # deviations are from 4000 draws
    assert np.ptp(np.asarray(expected), axis=1).max() > 0.3
    np.testing.assert_allclose(found['reconstruction'], PLAIN.reconstruct(params, x[:10]), atol=1e-3)
    middle = PLAIN.decode_mean(params, (4 * means[2:3] + 3 * means[3:4]) / 7, (2, 2, 1))
    np.testing.assert_allclose(found['interpolation'][1, 3], middle[0], atol=1e-3)
