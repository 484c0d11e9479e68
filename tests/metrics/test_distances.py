"""Both distances against other ways to compute them, and where their value is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg

from research.metrics.distances import MINIMUM, frechet, mmd
from research.types import BadInput

RNG = np.random.default_rng(0)


def sets(n: int = 150, m: int = 120, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    return RNG.normal(size=(n, d)), RNG.normal(size=(m, d)) @ RNG.normal(size=(d, d)) + 0.5


def test_frechet_equals_the_matrix_root_of_scipy() -> None:
    x, y = sets()
    s1, s2 = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * linalg.sqrtm(s1 @ s2).real)
    assert frechet(x, y) == pytest.approx(expected, rel=1e-6)
    assert frechet(y, x) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_a_set_and_itself_is_zero_also_where_pixels_are_constant() -> None:
    x = np.concatenate([sets()[1], np.full((120, 2), 0.3)], axis=1)
    assert frechet(x, x) == pytest.approx(0, abs=1e-6)


def test_frechet_of_a_shift_and_a_stretch_is_known() -> None:
    """|a|^2 for a shift by a; (c - 1)^2 tr S for a stretch by c about the mean."""
    x, _ = sets()
    assert frechet(x, x + 2) == pytest.approx(4 * 6, rel=1e-6)
    centred = x - x.mean(axis=0)
    assert frechet(centred, 3 * centred) == pytest.approx(4 * np.trace(np.cov(x.T)), rel=1e-6)


def test_mmd_equals_its_double_loop() -> None:
    x, y = sets(MINIMUM, MINIMUM + 3, 3)
    kernel = lambda a, b: (a @ b / 3 + 1) ** 3  # noqa: E731
    within = [np.mean([kernel(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]) for s in (x, y)]
    between = np.mean([kernel(a, b) for a in x for b in y])
    assert mmd(x, y) == pytest.approx(sum(within) - 2 * between, rel=1e-8)
    assert mmd(y, x) == pytest.approx(mmd(x, y), rel=1e-8)


def test_mmd_of_one_distribution_is_zero_on_average() -> None:
    """Unbiased: over 100 pairs of sets it is as often below zero as above, within four standard errors."""
    values = np.array([mmd(*RNG.normal(size=(2, MINIMUM, 4))) for _ in range(100)])
    assert abs(values.mean()) < 4 * values.std() / 10
    assert (values < 0).any()


def test_both_see_a_difference_grow() -> None:
    x, _ = sets()
    for distance in (mmd, frechet):
        values = [distance(x, RNG.normal(size=x.shape) + shift) for shift in (0.0, 0.5, 1.0)]
        assert values == sorted(values)


@pytest.mark.parametrize('distance', [mmd, frechet])
def test_too_few_examples_are_refused(distance: object) -> None:
    assert callable(distance)
    few, many = np.zeros((MINIMUM - 1, 2)), np.zeros((MINIMUM, 2))
    for pair in ((few, many), (many, few)):
        with pytest.raises(BadInput, match=f'at least {MINIMUM}'):
            distance(*pair)


def test_bytes_do_not_overflow() -> None:
    x = RNG.integers(0, 256, (MINIMUM, 4), dtype=np.uint8)
    y = RNG.integers(0, 256, (MINIMUM, 4), dtype=np.uint8)
    assert mmd(x, y) == mmd(x.astype(np.float64), y.astype(np.float64))
