"""Intervals and tests against SciPy's, worked examples and simulations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from research.maths import statistics
from research.maths.statistics import difference, holm, permutation, ranks, t_interval


def simulate(
    rng: np.random.Generator, seeds: tuple[int, int], n: int, *, seed: float, both: float, model: float
) -> tuple[np.ndarray, np.ndarray]:
    """Nats [seeds, n] of two models with one mean: spreads of training seed, seed x example and model x example."""
    difficulty = 10 * rng.standard_normal(n)

    def table(count: int) -> np.ndarray:
        of_seed, of_model = seed * rng.standard_normal((count, 1)), model * rng.standard_normal(n)
        return difficulty + of_seed + of_model + both * rng.standard_normal((count, n))

    return table(seeds[0]), table(seeds[1])


@pytest.mark.parametrize('confidence', [0.5, 0.95])
def test_the_interval_is_students(confidence: float) -> None:
    x = np.random.default_rng(0).normal(90, 2, 5)
    ours = t_interval(x, confidence)
    theirs = stats.ttest_1samp(x, 0.0).confidence_interval(confidence)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-12)
    assert (ours.mean, ours.n) == (x.mean(), 5)


def test_one_seed_has_no_interval() -> None:
    assert t_interval([3.0]) == (3.0, None, None, 1)


def test_without_spread_over_examples_it_is_welchs_test() -> None:
    """Where all examples are alike, what is left is the comparison of the seeds' means."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(90, 1, 4), rng.normal(91, 2, 5)
    ours = difference(np.tile(a[:, None], 50), np.tile(b[:, None], 50))
    theirs = stats.ttest_ind(a, b, equal_var=False)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)
    assert ours.test == statistics.SEEDS


def test_without_spread_over_seeds_it_is_the_paired_t_test() -> None:
    """Models that are counted, not trained: every seed gives the same fit."""
    rng = np.random.default_rng(1)
    a = rng.normal(90, 5, 80)
    b = a + rng.normal(0.1, 1, 80)
    theirs = stats.ttest_rel(a, b)
    for seeds in ((3, 4), (1, 4)):
        ours = difference(np.tile(a, (seeds[0], 1)), np.tile(b, (seeds[1], 1)))
        assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)
        assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)


def test_the_components_are_those_of_the_analysis_of_variance() -> None:
    """Eq. 2 on a table that can be worked out by hand: two seeds, two examples, of each model."""
    a, b = np.array([[1.0, 2.0], [3.0, 6.0]]), np.array([[0.0, 0.0], [0.0, 0.0]])
    (v, r), nothing = statistics._seeds(a), statistics._seeds(b)
    assert v == pytest.approx(4.5 / 2)  # means 1.5 and 4.5, variance 4.5
    assert r == pytest.approx(1.0 / 4)  # residuals +-0.5, sum of squares 1, on one degree of freedom, over S n = 4
    assert nothing == (0.0, 0.0)
    found = difference(a, b)
    assert found.mean == 3.0
    assert found.high is not None
    # d = 2, 4: variance 2, over n 1, less r: 0.75; so Var D = 2.25 + 0.75
    assert found.high - 3.0 == pytest.approx(np.sqrt(3.0) * stats.t.ppf(0.975, 9.0 / (2.25**2 + 0.75**2)))


CASES = {
    'same model, fits apart': {'seed': 1.0, 'both': 0.5, 'model': 0.0},
    'same model, fits alike': {'seed': 0.0, 'both': 1.0, 'model': 0.0},
    'other model, equal on the whole': {'seed': 0.05, 'both': 0.3, 'model': 1.0},
    'both': {'seed': 0.15, 'both': 0.5, 'model': 1.0},
}


@pytest.mark.parametrize('seeds', [(3, 3), (5, 4)])
@pytest.mark.parametrize('case', CASES)
def test_one_in_twenty_is_rejected_where_nothing_differs(case: str, seeds: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    p = [difference(*simulate(rng, seeds, 100, **CASES[case])).p for _ in range(1000)]
    assert 0.02 <= np.mean(np.array(p, float) < 0.05) <= 0.075


def test_what_differs_is_found() -> None:
    rng = np.random.default_rng(3)
    tables = [simulate(rng, (4, 4), 200, seed=0.1, both=0.5, model=1.0) for _ in range(200)]
    found = [difference(a + 0.5, b) for a, b in tables]
    assert np.mean([d.p is not None and d.p < 0.05 for d in found]) > 0.9
    assert np.mean([d.low is not None and d.high is not None and d.low < 0.5 < d.high for d in found]) > 0.9


def test_the_same_seeds_are_paired() -> None:
    """Seeds that shift both models alike: found when paired, hidden when not; and one in twenty where nothing differs."""
    rng = np.random.default_rng(7)
    found, hidden, wrong = [], [], []
    for _ in range(400):
        a, b = simulate(rng, (4, 4), 100, seed=0.05, both=0.3, model=0.5)
        shared = 2.0 * rng.standard_normal((4, 1))
        a, b = a + shared, b + shared
        found.append(difference(a + 0.5, b, same_seeds=True).p)
        hidden.append(difference(a + 0.5, b).p)
        wrong.append(difference(a, b, same_seeds=True).p)
    rates = [float(np.mean(np.array(p, float) < 0.05)) for p in (found, hidden, wrong)]
    assert rates[0] > 0.9
    assert rates[1] < 0.2
    assert 0.02 <= rates[2] <= 0.08
    assert difference(a, b, same_seeds=True).test == statistics.PAIRED
    assert difference(a[:2], b[:2], same_seeds=True).test == statistics.SEEDS


def test_without_spread_over_examples_paired_seeds_are_the_paired_t_test() -> None:
    rng = np.random.default_rng(8)
    a = rng.normal(90, 1, 5)
    b = a + rng.normal(0.5, 0.3, 5)
    ours = difference(np.tile(a[:, None], 50), np.tile(b[:, None], 50), same_seeds=True)
    theirs = stats.ttest_rel(a, b)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)


def test_one_fit_each_is_a_paired_bootstrap_and_one_fit_of_one_says_which() -> None:
    rng = np.random.default_rng(4)
    a, b = simulate(rng, (1, 4), 300, seed=0.0, both=0.0, model=1.0)
    paired, paired_t = difference(a, b[:1]), stats.ttest_rel(a[0], b[0])
    assert paired.test == statistics.TWO_FITS
    assert paired.p == pytest.approx(paired_t.pvalue, abs=0.02)
    assert (paired.low, paired.high) == pytest.approx(tuple(paired_t.confidence_interval()), abs=0.02)
    assert difference(a, b).test.endswith('one fit of a')
    assert difference(b, a).test.endswith('one fit of b')
    assert difference(a, b).mean == -difference(b, a).mean


def test_what_does_not_differ_at_all_is_a_tie() -> None:
    a = np.random.default_rng(5).normal(size=(3, 20))
    assert difference(a[:1], a[:1])[:4] == (0.0, 0.0, 0.0, 1.0)
    same = np.tile(a[0], (3, 1))
    assert difference(same, same).p == 1.0
    assert difference(same, same - 1.0).p == 0.0


def test_means_are_sums_over_sums() -> None:
    """Of windows with 10 and with 1 character the mean per character is not the mean of the windows' means."""
    rng = np.random.default_rng(6)
    units = np.array([10.0] * 30 + [1.0] * 5)
    a, b = units * rng.normal(2.0, 0.1, (3, 35)), units * rng.normal(1.9, 0.1, (4, 35))
    found = difference(a, b, units)
    assert found.mean == pytest.approx((a.sum(axis=1) / units.sum()).mean() - (b.sum(axis=1) / units.sum()).mean())
    fits, of = difference(a[:1], b[:1], units), a[0] - b[0]
    draws = rng.integers(0, 35, (4000, 35))
    low, high = np.quantile(of[draws].sum(axis=1) / units[draws].sum(axis=1), [0.025, 0.975])
    assert (fits.low, fits.high) == pytest.approx((low, high), rel=0.1)


def test_seeds_are_permuted_where_examples_cannot_be_paired() -> None:
    found = permutation([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0])
    assert (found.mean, found.p) == (-4.0, pytest.approx(2 / 70))
    assert found.low is not None and found.high is not None and found.low < -4 < found.high < 0
    assert permutation([1.0, 1.0], [2.0, 2.0]).p == pytest.approx(1 / 3)
    assert permutation([1.0], [2.0, 2.0])[1:4] == (None, None, None)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


def test_a_chain_of_ties() -> None:
    """0 ties with 1, 1 with 2, but 0 beats 2; 3 is beaten by all."""
    assert ranks(4, [(0, 2), (0, 3), (1, 3), (2, 3)]) == [1, 1, 2, 4]
    assert ranks(2, []) == [1, 1]


def test_a_score_that_is_not_finite_is_not_tested_and_wins_nothing() -> None:
    rng = np.random.default_rng(0)
    fine, bad = rng.normal(size=(1, 50)), rng.normal(size=(1, 50))
    bad[0, 3] = np.inf
    assert statistics.difference(fine, bad).p is None
    assert statistics.difference(np.repeat(fine, 3, axis=0), np.repeat(bad, 3, axis=0)).p is None
    assert statistics.permutation([1.0, 2.0], [np.inf, 3.0]).p is None


def test_far_apart_fits_differ_among_many_pairs() -> None:
    """Beyond the last of 9999 resamples p goes on falling: Holm over 276 pairs would else call a gap of 10 sd a tie."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(1, 200))
    found = statistics.difference(a, a + 10 + rng.normal(size=(1, 200)))
    assert found.p is not None
    assert found.p * 276 < 0.001
