"""Quantisers: the nearest code is taken, the gradient gets past it, the codebook is a k-means, the grid is the paper's."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans

from research.latents.quantisers import FSQ, Codebook

KEY = jax.random.key(0)
Z = jax.random.normal(KEY, (6, 5, 3))
BOOK = Codebook(codes=7, decay=0.8)
QUANTISERS: dict[str, Any] = {'codebook': BOOK, 'fsq': FSQ(levels=(4, 3, 2))}
each = pytest.mark.parametrize('quantiser', QUANTISERS.values(), ids=QUANTISERS.keys())


def started(quantiser: Any, z: jax.Array = Z) -> Any:
    return jax.jit(quantiser.init)(jax.random.key(1), z)


def quantised(quantiser: Any, params: Any, z: jax.Array, train: bool = False, key: jax.Array = KEY) -> Any:
    return jax.jit(lambda params, z, key: quantiser.quantise(params, z, key, train))(params, z, key)


@each
def test_what_is_quantised_is_what_the_index_looks_up(quantiser: Any) -> None:
    params = started(quantiser)
    result = quantised(quantiser, params, Z)
    assert result.indices.shape == (6, 5)
    assert result.loss.shape == (6,)
    assert result.indices.min() >= 0
    assert result.indices.max() < quantiser.size
    np.testing.assert_allclose(result.z, jax.jit(quantiser.lookup)(params, result.indices), rtol=1e-5, atol=1e-6)
    again = quantised(quantiser, params, Z, key=jax.random.key(9))
    np.testing.assert_array_equal(again.indices, result.indices)
    assert result.advanced == {}


def test_the_nearest_code_is_taken_and_of_equally_near_ones_the_first() -> None:
    params = started(BOOK)
    points = np.asarray(BOOK.points(params))
    distances = ((np.asarray(Z)[:, :, None] - points) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(quantised(BOOK, params, Z).indices, distances.argmin(axis=-1))
    same = {'batch_stats': {'counts': jnp.ones(7), 'sums': jnp.zeros((7, 3))}}
    assert (quantised(BOOK, same, Z).indices == 0).all()


def test_the_gradient_is_that_of_the_identity_and_commitment_draws_to_the_code() -> None:
    params, w = started(BOOK), jax.random.normal(jax.random.key(2), Z.shape)
    past = jax.jit(jax.grad(lambda z: (w * BOOK.quantise(params, z, KEY, True).z).sum()))(Z)
    np.testing.assert_allclose(past, w, rtol=1e-6)
    drawn = jax.jit(jax.grad(lambda z: BOOK.quantise(params, z, KEY, True).loss.sum()))(Z)
    point = BOOK.lookup(params, quantised(BOOK, params, Z).indices)
    np.testing.assert_allclose(drawn, 0.25 * 2 * (Z - point) / 5, rtol=1e-4, atol=1e-6)
    expected = 0.25 * ((Z - point) ** 2).sum(axis=2).mean(axis=1)
    np.testing.assert_allclose(quantised(BOOK, params, Z).loss, expected, rtol=1e-5)


def test_the_codebook_follows_its_recursion() -> None:
    """Equations 6 to 8 by hand, over three batches."""
    book = dataclasses.replace(BOOK, revive=0.0, smoothing=0.1)
    params = started(book)
    counts, sums = np.ones(7), np.asarray(params['batch_stats']['sums'], np.float64)
    for i in range(3):
        z = np.asarray(jax.random.normal(jax.random.key(10 + i), (6, 5, 3)))
        taken = quantised(book, params, jnp.asarray(z), train=True)
        rows, indices = z.reshape(-1, 3), np.asarray(taken.indices).ravel()
        for k in range(7):
            counts[k] = 0.8 * counts[k] + 0.2 * (indices == k).sum() * 7 / 30
            sums[k] = 0.8 * sums[k] + 0.2 * rows[indices == k].sum(axis=0) * 7 / 30
        params = taken.advanced
        np.testing.assert_allclose(params['batch_stats']['counts'], counts, rtol=1e-5)
        np.testing.assert_allclose(params['batch_stats']['sums'], sums, rtol=1e-4, atol=1e-5)
    smoothed = (counts + 0.1) * counts.sum() / (counts.sum() + 0.7)
    np.testing.assert_allclose(book.points(params), sums / smoothed[:, None], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('decay', [0.0, 0.9])
def test_on_fixed_inputs_it_converges_to_k_means(decay: float) -> None:
    """With no decay a step is one of Lloyd's; with it the same centres are reached."""
    rng = np.random.default_rng(0)
    z = (rng.normal(size=(60, 1, 2)) * 0.5 + rng.choice([-3.0, 0.0, 3.0], size=(60, 1, 1))).astype(np.float32)
    book = Codebook(codes=3, decay=decay, smoothing=0.0, revive=0.0)
    begun: Any = {'batch_stats': {'counts': jnp.ones(3), 'sums': jnp.asarray(z[[0, 1, 2], 0])}}
    reference = KMeans(3, init=z[[0, 1, 2], 0], n_init=1, algorithm='lloyd').fit(z[:, 0])

    def step(params: Any, _: None) -> tuple[Any, None]:
        return book.quantise(params, jnp.asarray(z), KEY, True).advanced, None

    params, _ = jax.jit(lambda params: jax.lax.scan(step, params, length=200))(begun)
    np.testing.assert_allclose(book.points(params), reference.cluster_centers_, rtol=1e-4, atol=1e-4)


def test_dead_codes_start_again_at_encoder_outputs() -> None:
    """Two codes far from all data: after a batch they are two of its outputs, the same for the same key."""
    params = started(BOOK)
    stats = params['batch_stats']
    far = {'counts': stats['counts'].at[2:4].set(0.01), 'sums': stats['sums'].at[2:4].set(1e3)}
    result = quantised(BOOK, {'batch_stats': far}, Z, train=True)
    counts, points = result.advanced['batch_stats']['counts'], BOOK.points(result.advanced)
    np.testing.assert_array_equal(counts[2:4], 1.0)
    assert (np.asarray(counts) != 1.0).sum() >= 4  # the others only move on
    rows = np.asarray(Z).reshape(-1, 3)
    chosen = [
        int(np.abs(rows - np.asarray(result.advanced['batch_stats']['sums'][k])).sum(axis=1).argmin()) for k in (2, 3)
    ]
    assert chosen[0] != chosen[1]
    np.testing.assert_allclose(points[2:4], rows[chosen], rtol=5e-3)
    assert set(np.asarray(quantised(BOOK, result.advanced, Z).indices).ravel()) >= {2, 3}
    again = quantised(BOOK, {'batch_stats': far}, Z, train=True)
    jax.tree.map(np.testing.assert_array_equal, again.advanced, result.advanced)
    other = quantised(BOOK, {'batch_stats': far}, Z, train=True, key=jax.random.key(5))
    assert np.abs(np.asarray(other.advanced['batch_stats']['sums'][2:4] - points[2:4])).max() > 0.01
    still = quantised(dataclasses.replace(BOOK, revive=0.0), {'batch_stats': far}, Z, train=True)
    np.testing.assert_allclose(still.advanced['batch_stats']['counts'][2:4], 0.008, rtol=1e-5)


def test_more_codes_than_outputs_start_and_revive() -> None:
    book = Codebook(codes=40, decay=0.0)
    params = started(book, Z[:2])
    result = quantised(book, params, Z[:2], train=True)
    assert np.isfinite(book.points(result.advanced)).all()


def test_members_of_a_sweep_have_codebooks_of_their_own() -> None:
    keys = jax.random.split(KEY, 3)

    def member(key: jax.Array, decay: Any) -> Any:
        book = dataclasses.replace(BOOK, decay=decay)
        return book.quantise(book.init(key, Z), Z, jax.random.fold_in(key, 1), True).advanced

    decays = jnp.array([0.5, 0.8, 0.99])
    together = jax.jit(jax.vmap(member))(keys, decays)
    for i in range(3):
        alone = jax.jit(member)(keys[i], decays[i])
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-5, atol=1e-6), together, alone)


@pytest.mark.parametrize(
    ('levels', 'values'),
    [
        (2, [-1, 0]),
        (3, [-1, 0, 1]),
        (4, [-1, -0.5, 0, 0.5]),
        (5, [-1, -0.5, 0, 0.5, 1]),
        (8, [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75]),
    ],
)
def test_a_channel_takes_its_levels_and_no_others(levels: int, values: list[float]) -> None:
    z = jnp.linspace(-20, 20, 4001)[:, None, None]
    result = quantised(FSQ(levels=(levels,)), {}, z)
    looked_up = np.asarray(FSQ(levels=(levels,)).lookup({}, result.indices))[:, 0, 0]
    np.testing.assert_array_equal(np.unique(looked_up), values)
    assert (np.diff(looked_up) >= 0).all()
    np.testing.assert_allclose(result.z[:, 0, 0], looked_up, atol=1e-6)
    assert looked_up[2000] == 0 or levels == 2  # z = 0


def test_every_code_of_the_grid_has_one_number() -> None:
    grid = FSQ(levels=(8, 5, 3))
    assert grid.size == 120
    every = jnp.arange(120)
    points = np.asarray(grid.lookup({}, every))  # [120, 3]
    assert len(np.unique(points, axis=0)) == 120
    levels = np.array(grid.levels)
    half, offset = (levels - 1) * 0.999 / 2, np.where(levels % 2 == 0, 0.5, 0.0)
    inside = np.clip((points * (levels // 2) + offset) / half, -0.99999, 0.99999)
    z = np.arctanh(inside) - np.tan(offset / half)  # what tanh takes to the integers
    result = quantised(grid, {}, jnp.asarray(z, jnp.float32)[:, None])
    np.testing.assert_array_equal(result.indices[:, 0], every)
    np.testing.assert_allclose(result.z[:, 0], points, atol=1e-6)


def test_the_grid_s_gradient_is_that_of_its_bound() -> None:
    grid, w = FSQ(levels=(8, 5, 3)), jax.random.normal(jax.random.key(2), Z.shape)
    past = jax.jit(jax.grad(lambda z: (w * grid.quantise({}, z, KEY, True).z).sum()))(Z)
    bound = jax.jit(jax.grad(lambda z: (w * grid.bounded(z) / jnp.array([4, 2, 1])).sum()))(Z)
    np.testing.assert_allclose(past, bound, rtol=1e-5, atol=1e-7)
    assert (quantised(grid, {}, Z, train=True).loss == 0).all()
    assert grid.init(KEY, Z) == {}


def test_a_grid_of_other_channels_is_refused() -> None:
    assert 'quantiser.levels=8,5 are of 2 channels' in str(FSQ(levels=(8, 5)).misfit(3))
    assert FSQ(levels=(8, 5)).misfit(2) is None
    assert Codebook().misfit(3) is None
