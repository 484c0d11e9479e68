"""How well single latents stand for single factors: MIG, modularity, SAP and DCI of codes [n, latent] and factors [n, k].

A code is what a model says of an example (the mean of its q(z | x)), a factor one of the things that made the example, an integer.
Let I(z_i; v_k) be the mutual information, in nats, of a latent cut into `bins` of equal width and a factor, and H(v_k) the
factor's entropy.

    MIG = mean_k (I(z_i; v_k) - I(z_j; v_k)) / H(v_k),  i and j the two latents that tell most of v_k              (1)

Chen et al. 2018, arXiv:1802.04942: 1 where one latent tells all of a factor and no other tells anything. Their mutual
information is that of samples of q; here, as in Locatello et al. 2019 (arXiv:1811.12359), of its means. A factor of more values
than there are bins cannot reach 1, and n examples add about (bins - 1) (values - 1) / 2n nats to each information, hence little to
a gap.

    modularity = mean_i 1 - sum_{k other} I(z_i; v_k)^2 / ((K - 1) max_k I(z_i; v_k)^2)                            (2)

Ridgeway & Mozer 2018, arXiv:1802.05312: 1 where no latent tells of two factors, whether or not others tell of the same. A
constant latent counts 0, so five latents that do all the work among ten score 0.5.

    SAP = mean_k S_ik - S_jk,  S_ik the balanced accuracy with which z_i alone, by thresholds, gives v_k            (3)

Kumar et al. 2018, arXiv:1711.00848: of the two best latents again. Thresholds are the edges of the bins, each bin says
the value that is likeliest in it when all values are equally likely, and is asked of other examples than it learned from. A latent
that knows nothing is still right one time in `values`, so a perfect code scores mean_k 1 - 1 / values_k; where it is constant,
S is 0, as in the paper.

Eastwood & Williams 2018 (DCI): a classifier of each factor from all latents says how important each is, R [latent, k]. With
the rows and the columns of R as distributions, and entropies to the base of how many they are over,

    disentanglement = sum_i w_i (1 - H(R_i. / sum_k R_ik)),  w_i = sum_k R_ik / sum R                              (4)
    completeness    = mean_k (1 - H(R_.k / sum_i R_ik))                                                           (5)
    informativeness = the classifier's mean accuracy on examples that it has not seen                             (6)

The classifier is `forest`, as in the paper, or `boosted`, as in Locatello et al., fifty times slower; their figures are not to be
compared (one code of sprites, 1000 examples: disentanglement 0.15 and 0.10). Each tree of a forest may look at all latents at
every cut, else it would have to cut at latents that know nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from research.types import BadInput

BINS = 20
LEARNED = 2 / 3  # of the examples: what classifiers are fitted to; the others are asked
TREES, LEAF = 10, 10  # of a forest; fewest examples in a leaf: smaller ones find importance in noise


class DCI(NamedTuple):
    """Eq. 4 to 6."""

    disentanglement: float
    completeness: float
    informativeness: float


def checked(codes: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes [n, latent] float64, and those factors [n, k] that vary, with values 0, 1, ... . BadInput where it is no such thing."""
    codes, factors = np.asarray(codes, np.float64), np.asarray(factors)
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or not codes.size:
        raise BadInput(
            f'codes {list(codes.shape)} and factors {list(factors.shape)}: expected [n, latent] and [n, k], of the same n'
        )
    if not np.isfinite(codes).all():
        raise BadInput('codes: some are NaN or infinite; expected finite numbers')
    values = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in factors.T]
    varying = [value for value in values if value.max() > 0]
    if len(varying) < 2:
        raise BadInput(f'factors: {len(varying)} of {factors.shape[1]} vary; expected at least two')
    return codes, np.stack(varying, axis=1)


def binned(codes: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Each latent cut into bins of equal width from its least to its greatest value: int [n, latent]; 0 where it is constant."""
    low, width = codes.min(axis=0), np.ptp(codes, axis=0)
    share = np.divide(codes - low, width, out=np.zeros_like(codes), where=width > 0)
    return np.minimum((share * bins).astype(np.int64), bins - 1)


def counts(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How often the integers a [n] and b [n] meet: [values of a, values of b]."""
    rows, columns = int(a.max()) + 1, int(b.max()) + 1
    return np.bincount(a * columns + b, minlength=rows * columns).reshape(rows, columns)


def entropy(p: np.ndarray) -> float:
    """Of proportions of any shape, not yet divided by their sum, in nats."""
    p = p[p > 0] / p.sum()
    return float(-(p * np.log(p)).sum())


def mutual_information(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """I(a_i; b_k) = H(a_i) + H(b_k) - H(a_i, b_k) of each pair of columns, ints [n, i] and [n, k]: [i, k] nats."""
    tables = [[counts(x, y) for y in b.T] for x in a.T]
    found = [[entropy(t.sum(axis=1)) + entropy(t.sum(axis=0)) - entropy(t) for t in row] for row in tables]
    return np.maximum(np.array(found), 0.0)


def gaps(scores: np.ndarray) -> np.ndarray:
    """How far the best latent is above the second, for each factor, [k]; of one latent, how far above 0."""
    ordered = np.sort(np.pad(scores, ((1, 0), (0, 0))), axis=0)
    return ordered[-1] - ordered[-2]


def mig(codes: np.ndarray, factors: np.ndarray, bins: int = BINS) -> float:
    """Eq. 1, in [0, 1]. Raises BadInput as `checked` does."""
    codes, factors = checked(codes, factors)
    total = np.array([entropy(np.bincount(column)) for column in factors.T])
    return float((gaps(mutual_information(binned(codes, bins), factors)) / total).mean())


def modularity(codes: np.ndarray, factors: np.ndarray, bins: int = BINS) -> float:
    """Eq. 2, in [0, 1]. Raises BadInput as `checked` does."""
    codes, factors = checked(codes, factors)
    squared = mutual_information(binned(codes, bins), factors) ** 2
    most = squared.max(axis=1)
    others = np.divide(squared.sum(axis=1) - most, most, out=np.zeros_like(most), where=most > 0)
    return float(np.where(most > 0, 1 - others / (factors.shape[1] - 1), 0.0).mean())


def sap(codes: np.ndarray, factors: np.ndarray, bins: int = BINS, seed: int = 0) -> float:
    """Eq. 3, in [0, 1]. Raises BadInput as `checked` does."""
    codes, factors = checked(codes, factors)
    learned, asked = halves(len(codes), seed)
    cut = binned(codes, bins)
    score = [[balanced_accuracy(z, v, learned, asked) if z.any() else 0.0 for v in factors.T] for z in cut.T]
    return float(gaps(np.array(score)).mean())


def balanced_accuracy(z: np.ndarray, v: np.ndarray, learned: np.ndarray, asked: np.ndarray) -> float:
    """Mean over the values of v [n] of how often the bin z [n] says so; bins learn of some examples and are asked of others."""
    shape = (int(z.max()) + 1, int(v.max()) + 1)
    told, question = (np.zeros(shape), np.zeros(shape))
    np.add.at(told, (z[learned], v[learned]), 1)
    np.add.at(question, (z[asked], v[asked]), 1)
    says = (told / np.maximum(told.sum(axis=0), 1)).argmax(axis=1)
    each = question.sum(axis=0)
    right = np.bincount(says, weights=question[np.arange(shape[0]), says], minlength=shape[1])
    return float((right / np.maximum(each, 1))[each > 0].mean())


def halves(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which examples are learned from, and which are asked."""
    order = np.random.default_rng([seed, 0]).permutation(n)
    cut = max(1, round(n * LEARNED))
    return order[:cut], order[cut:]


def forest(seed: int) -> Any:
    """Ten trees, each on examples drawn anew with replacement."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(TREES, max_features=None, min_samples_leaf=LEAF, random_state=seed)


def boosted(seed: int) -> Any:
    """A hundred boosted trees of depth 3 for each value."""
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(random_state=seed)


def dci(codes: np.ndarray, factors: np.ndarray, seed: int = 0, classifier: Callable[[int], Any] = forest) -> DCI:
    """Eq. 4 to 6, each in [0, 1]. Raises BadInput as `checked` does."""
    codes, factors = checked(codes, factors)
    learned, asked = halves(len(codes), seed)
    importance, accuracy = [], []
    for v in factors.T:
        fitted = classifier(seed).fit(codes[learned], v[learned])
        importance.append(np.abs(fitted.feature_importances_))
        accuracy.append(float((fitted.predict(codes[asked]) == v[asked]).mean()))
    by_factor = np.stack(importance, axis=1)  # R [latent, k]
    weight = by_factor.sum(axis=1) / max(by_factor.sum(), 1e-300)
    disentanglement = sum(w * concentration(row) for w, row in zip(weight, by_factor, strict=True))
    completeness = np.mean([concentration(column) for column in by_factor.T])
    return DCI(float(disentanglement), float(completeness), float(np.mean(accuracy)))


def concentration(r: np.ndarray) -> float:
    """1 - H(r / sum r), to the base of how many there are: 1 where one holds all, 0 where all are equal or none is anything."""
    return 1 - entropy(r) / np.log(max(len(r), 2)) if r.sum() > 0 else 0.0
