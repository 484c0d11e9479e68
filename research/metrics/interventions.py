"""Two scores of codes by groups of examples that share one factor: the beta-VAE's (Higgins et al. 2017) and FactorVAE's.

Both guess, from how codes [n, latent] vary where one factor [n, k] is held, which factor it was; so both are 1 for a code that gives each
factor a latent, and 1 / k by chance, from some thousand examples on (of fewer, a pair is too often one example twice, and votes and
questions share examples). Nothing is asked of a model: groups are drawn from the examples at hand, with replacement.

Higgins et al.: of a factor drawn at random take BATCH pairs of examples which agree in it. The mean of |z - z'| over the pairs is a
point [latent], which is least where the latent knows the factor; the score is the accuracy of a linear classifier of such points,

    point = (1 / L) sum_l |z_l - z'_l|,   v_k(z_l) = v_k(z'_l)                                                     (1)

on points that it has not seen. Latents are divided by their standard deviations, so that the classifier's small penalty does not
depend on their units.

Kim & Mnih 2018 (arXiv:1802.05983, section 4): of a factor drawn at random take one value and BATCH examples that have it. The latent
whose variance in the batch is the least part of its variance in all examples votes for the factor,

    d = argmin_i Var_batch(z_i) / Var(z_i)                                                                         (2)

and the score is how often the factor for which d votes most is the right one, over votes that were not counted. Latents with
a standard deviation below PRUNED are left out, since noise of any size could win; a code without any other scores 0. That
is in units of the prior's standard deviation, so this score alone knows the scale of a code.

Numbers of votes and points are those of Locatello et al. 2019 (arXiv:1811.12359).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from research.metrics.disentanglement import checked

COUNTED, ASKED = 10_000, 5000  # points or votes that are learned from, and those that are asked
BATCH = 64
PRUNED = 0.05
BLOCK = 1000  # batches in memory at once


class Groups(NamedTuple):
    """Examples sorted by the value that one factor has in them: those of value v are order[start[v]:][:size[v]]."""

    values: np.ndarray  # [n]
    order: np.ndarray  # [n]
    start: np.ndarray  # [values]
    size: np.ndarray  # [values]


# what is said of so many batches, [batches, latent]
Statistic = Callable[[np.ndarray, Groups, int, np.random.Generator], np.ndarray]


def groups(values: np.ndarray) -> Groups:
    """Of one factor's values [n], from 0."""
    size = np.bincount(values)
    return Groups(values, np.argsort(values, kind='stable'), np.cumsum(size) - size, size)


def alike(of: Groups, value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each `value`, of any shape, an example that has it."""
    return of.order[of.start[value] + (rng.random(value.shape) * of.size[value]).astype(np.int64)]


def beta_vae_score(codes: np.ndarray, factors: np.ndarray, seed: int = 0) -> float:
    """Accuracy of a linear classifier of the held factor from eq. 1. Raises BadInput as `disentanglement.checked` does."""
    from sklearn.linear_model import LogisticRegression

    codes, factors = checked(codes, factors)
    scale = codes.std(axis=0)
    codes = np.divide(codes - codes.mean(axis=0), scale, out=np.zeros_like(codes), where=scale > 0)
    held, points = drawn(codes, factors, np.random.default_rng([seed, 1]), _differences)
    classifier = LogisticRegression(max_iter=1000).fit(points[:COUNTED], held[:COUNTED])
    return float(classifier.score(points[COUNTED:], held[COUNTED:]))


def factor_vae_score(codes: np.ndarray, factors: np.ndarray, seed: int = 0, pruned: float = PRUNED) -> float:
    """Accuracy of the majority vote of eq. 2. Raises BadInput as `disentanglement.checked` does."""
    codes, factors = checked(codes, factors)
    scale = codes.std(axis=0)
    active = (scale >= pruned) & (scale > 0)
    if not active.any():
        return 0.0
    held, variances = drawn(codes[:, active] / scale[active], factors, np.random.default_rng([seed, 2]), _variances)
    voter = variances.argmin(axis=1)
    votes = np.zeros((variances.shape[1], factors.shape[1]))
    np.add.at(votes, (voter[:COUNTED], held[:COUNTED]), 1)
    return float((votes.argmax(axis=1)[voter[COUNTED:]] == held[COUNTED:]).mean())


def drawn(
    codes: np.ndarray, factors: np.ndarray, rng: np.random.Generator, of: Statistic
) -> tuple[np.ndarray, np.ndarray]:
    """Which factor is held, [COUNTED + ASKED], and what `of` says of each batch, [COUNTED + ASKED, latent]."""
    held = rng.integers(factors.shape[1], size=COUNTED + ASKED)
    found = np.empty((len(held), codes.shape[1]))
    for k in range(factors.shape[1]):
        sorted_by, rows = groups(factors[:, k]), np.flatnonzero(held == k)
        for first in range(0, len(rows), BLOCK):
            part = rows[first : first + BLOCK]
            found[part] = of(codes, sorted_by, len(part), rng)
    return held, found


def _differences(codes: np.ndarray, by: Groups, batches: int, rng: np.random.Generator) -> np.ndarray:
    """Eq. 1."""
    one = rng.integers(len(codes), size=(batches, BATCH))
    return np.abs(codes[one] - codes[alike(by, by.values[one], rng)]).mean(axis=1)


def _variances(codes: np.ndarray, by: Groups, batches: int, rng: np.random.Generator) -> np.ndarray:
    """Of codes of variance 1, so eq. 2's ratio."""
    value = by.values[rng.integers(len(codes), size=(batches, 1))]
    return codes[alike(by, np.repeat(value, BATCH, axis=1), rng)].var(axis=1)
