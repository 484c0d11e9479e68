"""The compiled preparation of training batches is the twin of the one that makes test data."""

from __future__ import annotations

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data import source
from research.maths.preprocess import prepare

KEY = jax.random.key(0)


def both(x: np.ndarray, values: source.Values, levels: int) -> tuple[np.ndarray, np.ndarray]:
    twin = source.prepare(x, values, levels, np.random.default_rng(0))
    ours = np.asarray(prepare(jnp.asarray(x), values, levels, KEY))
    assert ours.dtype == twin.dtype, values
    assert ours.shape == twin.shape, values
    return ours, twin


@pytest.mark.parametrize('values', ['scale', 'threshold', 'integer', 'as_is'])
@pytest.mark.parametrize('levels', [2, 17, 256])
def test_what_draws_nothing_is_the_same_in_both(values: source.Values, levels: int) -> None:
    x = np.arange(levels, dtype=np.uint8)
    np.testing.assert_allclose(*both(x, values, levels), rtol=1e-6)


def test_tokens_stay_whole_and_keep_their_nothing() -> None:
    ours, twin = both(np.array([[-1, 0, 64]], np.int16), 'as_is', 65)
    assert ours.dtype == np.int32
    np.testing.assert_array_equal(ours, twin)


@pytest.mark.parametrize('values', ['scale', 'threshold', 'binarise', 'as_is'])
def test_reals_in_the_unit_interval_count_as_two_levels(values: source.Values) -> None:
    ours, twin = both(np.array([[0.0, 0.25, 0.75, 1.0]], np.float32), values, 2)
    if values != 'binarise':
        np.testing.assert_array_equal(ours, twin)
    assert (ours[0, 0], ours[0, 3]) == (0, 1)


def test_binarisation_has_the_grey_level_as_its_mean() -> None:
    n, grey = 20_000, np.arange(0, 17, dtype=np.uint8)
    for drawn in both(np.repeat(grey[None], n, axis=0), 'binarise', 17):
        assert set(np.unique(drawn)) == {0.0, 1.0}
        p = grey / 16
        assert (np.abs(drawn.mean(axis=0) - p) <= 4.5 * np.sqrt(p * (1 - p) / n)).all()


def test_dequantised_levels_fill_their_cells() -> None:
    """Uniform in [x / levels, (x + 1) / levels]: rounding down finds the level again."""
    n, grey = 5000, np.arange(0, 17, dtype=np.uint8)
    for drawn in both(np.repeat(grey[None], n, axis=0), 'dequantise', 17):
        inside = drawn * 17 - grey
        assert inside.min() >= -1e-5
        assert inside.max() <= 1 + 1e-5
        np.testing.assert_allclose(inside.mean(axis=0), 0.5, atol=5 / np.sqrt(12 * n))
        assert drawn.max() <= 1


def test_each_key_draws_anew_and_the_same_key_the_same() -> None:
    x = jnp.full((50,), 8, jnp.uint8)
    once, again, other = (prepare(x, 'binarise', 17, key) for key in (KEY, KEY, jax.random.key(1)))
    assert (once == again).all()
    assert (once != other).any()


def test_every_value_has_a_compiled_form() -> None:
    for values in get_args(source.Values):
        both(np.arange(8, dtype=np.uint8), values, 256)
