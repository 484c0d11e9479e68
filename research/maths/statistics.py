"""What a difference between two models is worth: intervals over training seeds, paired tests, Holm, ranks with ties.

A test score varies for two reasons: another training seed gives another fit, another test set other examples. Scores of
several fits on one test set are a two-way table, nats[s, i] = mean + seed_s + example_i + (seed x example)_si. Of two
models the examples' own difficulty cancels, since both score the same ones, and what is left of it is how much better
one *model* is on one example: model x example. So the difference D of two means has the variance

    Var D = V_a + V_b + C,    V = (Var seed + Var(seed x example) / n) / S,    C = Var(model x example) / n        (1)

V is the variance of the S means of the fits, over S, as Welch has it. The mean over seeds of what each example gives
away, d_i, varies over examples by C n and by seed x example, whose mean square R (on (S - 1)(n - 1) degrees of freedom)
is what is left of the table when its rows' and columns' means are taken out. Hence

    C = max(0, s^2(d_i) / n - R_a / (S_a n) - R_b / (S_b n))                                                       (2)

and D / sqrt(V_a + V_b + C) is Student's t with Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946).
Two settings of one model trained from the same seeds share their initial weights and batches, so that what a seed gives to
one it gives to the other: then the table of differences nats_a[s, i] - nats_b[s, i] takes the place of both, and V and R are
its own. With seeds that explain most of V this finds what Welch's V would hide.
A bootstrap over examples alone knows nothing of V: between cells of 4 fits of one and the same mixture it found a
difference in 45 % of 200 pairs, where (1) found one in 3 % (tests/maths/test_null.py). It is kept for where there is one
fit of each, and says so. Over seeds too it would not do: 3 seeds have 10 resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

LEVEL = 0.05  # two cells are tied where Holm's p is at least this
RESAMPLES = 9999
TWO_FITS = 'bootstrap: these two fits'
SEEDS = 'seeds and examples'
PAIRED = 'paired seeds and examples'
LEAST_PAIRED = 3  # two seeds would leave one degree of freedom
ONE_FIT = 'seeds and examples: one fit of {}'
PERMUTED = 'permutation of seeds'


class Interval(NamedTuple):
    """A mean over `n` seeds; `low` and `high` are None where one value tells nothing of its spread."""

    mean: float
    low: float | None
    high: float | None
    n: int


class Difference(NamedTuple):
    """Mean of a minus mean of b. `p` is two-sided, for no difference; `test` says what was asked, and of what."""

    mean: float
    low: float | None
    high: float | None
    p: float | None
    test: str


def t_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Interval:
    """Mean and Student's t interval over training seeds; one value has none."""
    x = np.asarray(values, np.float64)
    mean, n = float(x.mean()), len(x)
    if n < 2:
        return Interval(mean, None, None, n)
    half = _t_quantile((1 + confidence) / 2, n - 1) * float(x.std(ddof=1)) / np.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def difference(
    a: np.ndarray,
    b: np.ndarray,
    units: np.ndarray | None = None,
    confidence: float = 0.95,
    same_seeds: bool = False,
) -> Difference:
    """Paired comparison of nats [seeds_a, n] and [seeds_b, n] on the same n examples, mean of a minus mean of b.

    `units` [n] are the scored units of each example (characters of a window): means are then sums over sums. With one
    fit on either side nothing can be known of its seeds: with one on both, the paired bootstrap over examples; with one
    on one side, (1) without that side's V, and a `test` that names the side. `same_seeds`: row s of both has one seed;
    differences are then taken seed by seed, where there are at least three.
    """
    a, b = per_unit(a, units), per_unit(b, units)
    if a.shape[1] < 2:
        return Difference(float(a.mean() - b.mean()), None, None, None, 'none: one example')
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Difference(_apart(a.mean(), b.mean()), None, None, None, 'none: a score is not finite')
    if len(a) == len(b) == 1:
        return _bootstrap(a[0], b[0], confidence)
    d = a.mean(axis=0) - b.mean(axis=0)  # [n]
    n, mean = len(d), float(d.mean())
    paired = same_seeds and len(a) == len(b) >= LEAST_PAIRED
    (v_a, r_a), (v_b, r_b) = (_seeds(a - b), (0.0, 0.0)) if paired else (_seeds(a), _seeds(b))
    c = max(0.0, float(d.var(ddof=1)) / n - r_a - r_b)  # eq. 2
    total = v_a + v_b + c  # eq. 1
    test = PAIRED if paired else SEEDS if min(len(a), len(b)) > 1 else ONE_FIT.format('a' if len(a) == 1 else 'b')
    if total <= 1e-24 * max(1.0, mean**2):  # nothing varies, but for rounding
        return Difference(mean, mean, mean, float(abs(mean) < 1e-12), test)
    parts = [(v_a, len(a) - 1), (v_b, len(b) - 1), (c, n - 1)]
    freedom = total**2 / sum(part**2 / df for part, df in parts if df)
    half, error = _t_quantile((1 + confidence) / 2, freedom), float(np.sqrt(total))
    return Difference(mean, mean - half * error, mean + half * error, _t_tails(mean / error, freedom), test)


def per_unit(nats: np.ndarray, units: np.ndarray | None = None) -> np.ndarray:
    """[seeds, n] values whose plain mean over examples is sum(nats) / sum(units), and whose spread is that ratio's.

    A mean over characters is a ratio of two sums over windows; to first order it varies as the mean of
    m + (nats_i - m units_i) / mean(units), m the ratio.
    """
    y = np.atleast_2d(np.asarray(nats, np.float64))
    if units is None:
        return y
    u = np.asarray(units, np.float64)
    ratio = y.sum(axis=1, keepdims=True) / u.sum()
    return ratio + (y - ratio * u) / u.mean()


def _seeds(x: np.ndarray) -> tuple[float, float]:
    """V of eq. 1 and R / (S n) of eq. 2, from [seeds, n]; nothing of either where there is one seed."""
    seeds, n = x.shape
    if seeds == 1:
        return 0.0, 0.0
    means = x.mean(axis=1)
    rest = x - means[:, None] - x.mean(axis=0) + x.mean()
    square = float((rest**2).sum()) / ((seeds - 1) * (n - 1))
    return float(means.var(ddof=1)) / seeds, square / (seeds * n)


def _bootstrap(a: np.ndarray, b: np.ndarray, confidence: float) -> Difference:
    """Percentile bootstrap over examples of one fit each (Efron & Tibshirani 1993, ch. 13), [n] and [n]."""
    d = a - b
    if not d.any():
        return Difference(0.0, 0.0, 0.0, 1.0, TWO_FITS)
    from scipy import stats  # 2.9 s

    batch = max(1, 2_000_000 // len(d))  # 16 MB at once
    found = stats.bootstrap(
        (d,), np.mean, n_resamples=RESAMPLES, batch=batch, vectorized=True, method='percentile',
        confidence_level=confidence, rng=np.random.default_rng(0),
    )  # fmt: skip
    means = found.bootstrap_distribution
    beyond = min(int((means <= 0).sum()), int((means >= 0).sum()))
    low, high = found.confidence_interval
    p = min(1.0, 2 * (beyond + 1) / (RESAMPLES + 1))
    if (
        not beyond
    ):  # so few resamples say no more than that: beyond them by Student's t, or Holm over many pairs sees ties
        p = min(p, _t_tails(float(d.mean() / (d.std(ddof=1) / np.sqrt(len(d)))), len(d) - 1)) if d.std() else p
    return Difference(float(d.mean()), float(low), float(high), p, TWO_FITS)


def permutation(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> Difference:
    """Difference of per-seed values [seeds_a] and [seeds_b] where examples cannot be paired: a permutation of seeds.

    Exact up to 9999 relabellings. Few seeds can never give a small p: 3 and 3 at least 0.1, 4 and 4 at least 0.029,
    5 and 5 at least 0.008. The interval is Welch's. One value on either side leaves nothing to permute.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    mean = _apart(a.mean(), b.mean())
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Difference(mean, None, None, None, 'none: a score is not finite')
    if min(len(a), len(b)) < 2:
        return Difference(mean, None, None, None, 'none: one seed and no paired examples')
    from scipy import stats

    def statistic(a: np.ndarray, b: np.ndarray, axis: int) -> Any:
        return a.mean(axis=axis) - b.mean(axis=axis)

    found = stats.permutation_test(
        (a, b), statistic, vectorized=True, n_resamples=RESAMPLES, rng=np.random.default_rng(0)
    )
    if a.var() + b.var() <= 1e-24 * max(1.0, mean**2):
        return Difference(mean, mean, mean, float(found.pvalue), PERMUTED)
    low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    return Difference(mean, float(low), float(high), float(found.pvalue), PERMUTED)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment (Scand. J. Statist. 6, 1979): max over the smaller ones of (m - rank) p, 1 at most.

    None, where there was no test, stays None and counts for nothing.
    """
    tested = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (p, i) in enumerate(tested):
        least = max(least, min(1.0, (len(tested) - rank) * p))
        adjusted[i] = least
    return adjusted


def ranks(count: int, beaten: Iterable[tuple[int, int]]) -> list[int]:
    """Rank of each of `count` cells: one more than the number of cells that are better beyond chance.

    `beaten` holds (better, worse) for each pair that is no tie. Ties need not be transitive: where A ties with B and B
    with C but A beats C, the ranks are 1, 1 and 2, and only the table of pairs shows that B and C are tied.
    """
    losses = [worse for _, worse in beaten]
    return [1 + losses.count(cell) for cell in range(count)]


def _apart(a: float, b: float) -> float:
    """a - b, where two infinities are as far apart as nothing."""
    return 0.0 if a == b else float(a) - float(b)


def _t_quantile(probability: float, freedom: float) -> float:
    from scipy import special  # scipy.stats has it too, after 2.9 s of import

    return float(special.stdtrit(freedom, probability))


def _t_tails(t: float, freedom: float) -> float:
    from scipy import special

    return float(2 * special.stdtr(freedom, -abs(t)))
