"""Layers of circuits against loops and scipy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from research.maths import circuits

RNG = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return special.softmax(2 * RNG.normal(size=shape), axis=-2).astype(np.float32)


@pytest.mark.parametrize(
    ('height', 'width', 'expected'),
    [
        (28, 28, [(14, 14), (7, 7), (4, 4), (2, 2), (1, 1)]),
        (2, 3, [(1, 2), (1, 1)]),
        (1, 5, [(1, 3), (1, 2), (1, 1)]),
        (1, 1, [(1, 1)]),
    ],
)
def test_grids_halve_upwards_to_one(height: int, width: int, expected: list[tuple[int, int]]) -> None:
    assert circuits.grids(height, width) == expected


@pytest.mark.parametrize(('height', 'width'), [(4, 6), (3, 5), (1, 4), (1, 1)])
def test_products_are_of_blocks_of_what_is_there(height: int, width: int) -> None:
    u = RNG.normal(size=(height, width, 3, 2)).astype(np.float32)
    found = circuits.multiply(jnp.asarray(u))
    for i, j in np.ndindex(*found.shape[:2]):
        block = u[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].sum(axis=(0, 1))
        np.testing.assert_allclose(found[i, j], block, rtol=1e-5, atol=1e-6)


def test_sums_are_logsumexp_and_maxima_are_maxima() -> None:
    w, u = weights(2, 3, 4, 5), -30 * RNG.random((2, 3, 6, 4)).astype(np.float32)
    each = u[..., None] + np.log(w)[:, :, None]  # [2, 3, 6, 4, 5]
    np.testing.assert_allclose(circuits.mix(w, u), special.logsumexp(each, axis=3), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(circuits.best(w, u), each.max(axis=3), rtol=1e-5, atol=1e-5)


def test_sums_far_apart_have_a_value_and_a_slope() -> None:
    """Inputs thousands of nats apart, and a weight that softmax rounds to 0."""
    w, u = jnp.array([[1.0, 0.0], [0.0, 1.0]])[None, None], jnp.array([-5000.0, -1.0]).reshape(1, 1, 1, 2)
    value, slope = jax.value_and_grad(lambda u: circuits.mix(w, u).sum())(u)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    assert float(circuits.mix(w, u)[0, 0, 0, 1]) == pytest.approx(-1)


def test_a_look_up_and_its_scatter_are_products_with_one_hot_codes() -> None:
    tables, index = RNG.normal(size=(3, 4, 2)).astype(np.float32), RNG.integers(0, 4, (3, 7))
    codes = np.eye(4)[index]  # [3, 7, 4]
    found, back = jax.vjp(lambda t: circuits.look_up(t, jnp.asarray(index)), jnp.asarray(tables))
    np.testing.assert_allclose(found, codes @ tables, rtol=1e-6)
    slope = RNG.normal(size=found.shape).astype(np.float32)
    np.testing.assert_allclose(back(jnp.asarray(slope))[0], codes.transpose(0, 2, 1) @ slope, rtol=1e-5, atol=1e-6)


def test_what_lies_below_falls_as_weights_and_values_say() -> None:
    """Eq. 2 for one region and four batches that chose different sums, within four standard errors."""
    n, w, u = 20_000, weights(1, 1, 3, 2), RNG.normal(size=(1, 1, 4, 3)).astype(np.float32)
    chosen = jnp.array([0, 1, 1, 0]).reshape(1, 1, 4)
    keys = jax.random.split(jax.random.key(0), n)
    draw = jax.jit(jax.vmap(lambda key: jax.random.categorical(key, circuits.below(w, u, chosen))))
    drawn = np.asarray(draw(keys))[:, 0, 0]  # [n, 4]
    for b in range(4):
        p = special.softmax(np.log(w[0, 0, :, chosen[0, 0, b]]) + u[0, 0, b])
        found = np.bincount(drawn[:, b], minlength=3) / n
        assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / n)).all()


def test_what_is_chosen_is_spread_over_the_children_that_are_there() -> None:
    chosen = jnp.array([[1, 2], [3, 4]])[..., None]
    np.testing.assert_array_equal(circuits.spread(chosen, 3, 4)[..., 0], [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4]])
