"""Distances between two sets of vectors: samples and data. On raw pixels they see brightness before shape: say so."""

from __future__ import annotations

import numpy as np

from research.types import BadInput

MINIMUM = 100  # fewer examples make either distance mostly noise
MAXIMUM = 2000  # more make the kernel matrix slow, not the figure better


def _check(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if min(len(x), len(y)) < MINIMUM:
        raise BadInput(f'a distance between {len(x)} and {len(y)} examples: expected at least {MINIMUM} of each')
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


def mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Squared maximum mean discrepancy, unbiased (Gretton et al. 2012, JMLR 13, eq. 3), of [n, d] and [m, d].

    The kernel is the cubic polynomial (x . y / d + 1)^3 of Binkowski et al. 2018 (arXiv:1801.01401). Zero in
    expectation for equal distributions, so it may come out negative. Raises BadInput below MINIMUM examples.
    """
    x, y = _check(x, y)
    d, n, m = x.shape[1], len(x), len(y)
    kernel = lambda a, b: (a @ b.T / d + 1) ** 3  # noqa: E731
    xx, yy = kernel(x, x), kernel(y, y)
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * kernel(x, y).mean())


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), the distance between fitted normals (Dowson & Landau 1982).

    tr (S1 S2)^(1/2) is the sum of the roots of the eigenvalues of S1^(1/2) S2 S1^(1/2), which is symmetric.
    Raises BadInput below MINIMUM examples.
    """
    x, y = _check(x, y)
    s1, s2 = np.atleast_2d(np.cov(x.T)), np.atleast_2d(np.cov(y.T))
    values, vectors = np.linalg.eigh(s1)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ s2 @ root), 0)).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * cross)
