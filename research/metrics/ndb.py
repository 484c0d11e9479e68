"""The number of statistically different bins, and the divergence of the two histograms. Richardson & Weiss 2018, arXiv:1805.12462.

Training examples are cut into K bins by k-means; any other example falls into the bin whose centre is nearest. Of n training
examples n p fall into a bin, of m others m q. A bin is different where the two proportions are, by a z test with the pooled one:

    z = (p - q) / sqrt(r (1 - r) (1/n + 1/m)),   r = (n p + m q) / (n + m);   different: |z| > threshold          (1)

    JS = 1/2 sum_k p log(2 p / (p + q)) + 1/2 sum_k q log(2 q / (p + q)), in nats, at most log 2                   (2)

The paper's figure is NDB / K, the share of bins that are different; of samples of the data's own distribution it is the level of
the test, 0.05 at a threshold of 1.96. JS has a floor too: about p = q, (2) is sum_k (p - q)^2 / (8 r), and (p - q) has variance
r (1 - r) (1/n + 1/m), so that samples of the data's own distribution have

    E JS = (K - 1) (1/n + 1/m) / 8 = `floor(K, n, m)`,                                                             (3)

and the training set drawn from again, with replacement, (K - 1) / (8 m). Nothing is told from a figure at the floor.

Both see what a bin holds, not what its members look like, and neither sees copying. As published: at most 45000 random
examples make the bins, k-means takes at most 100 iterations, with more than 1000 variables on a random sixth of them; a centre is
the mean of its members in all variables, and bins are assigned in all of them. Published for MNIST (K = 100, m = 10000): JS 0.0014
of validation images, 0.0041 of the test images, which other people wrote.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.maths import kmeans
from research.types import BadInput

THRESHOLD = 1.96  # a level of 0.05, two-sided
MOST = 45_000  # training examples
WIDE = 1000  # variables
BLOCK = 5000  # examples assigned at once


class Bins(NamedTuple):
    """Centres [K, dims] of the bins, and how many training examples are in each, [K]."""

    centres: np.ndarray
    counts: np.ndarray


def make(x: np.ndarray, count: int, seed: int = 0) -> Bins:
    """`count` bins of training examples x [n, dims]. Raises BadInput where there are fewer examples than bins."""
    if len(x) < count:
        raise BadInput(f'{count} bins of {len(x)} training examples: expected at least as many examples as bins')
    rng = np.random.default_rng(seed)
    x = x[rng.permutation(len(x))[:MOST]].astype(np.float32)
    dims = x.shape[1]
    seen = x[:, rng.permutation(dims)[: dims // 6]] if dims > WIDE else x
    members = np.asarray(kmeans.cluster(jax.random.key(seed), jnp.asarray(seen), count)[1])
    counts = np.bincount(members, minlength=count)
    sums = np.asarray(jax.ops.segment_sum(jnp.asarray(x - x.mean(axis=0)), members, count))
    return Bins(x.mean(axis=0) + sums / np.maximum(counts, 1)[:, None], counts)


def histogram(bins: Bins, x: np.ndarray) -> np.ndarray:
    """How many examples of x [m, dims] fall into each bin, [K]."""
    if x.ndim != 2 or x.shape[1] != bins.centres.shape[1] or not len(x):
        expected = f'[m, {bins.centres.shape[1]}] with m at least 1'
        raise BadInput(f'examples of shape {list(x.shape)} cannot be put into these bins; expected {expected}')
    origin = bins.centres.mean(axis=0)
    centres = jnp.asarray(bins.centres - origin)
    counts = np.zeros(len(centres), np.int64)
    for first in range(0, len(x), BLOCK):
        block = jnp.asarray(x[first : first + BLOCK].astype(np.float32) - origin)
        counts += np.bincount(np.asarray(kmeans.nearest(block, centres)), minlength=len(centres))
    return counts


def z_scores(counts: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Eq. 1 for each bin, [K], from two histograms; 0 where a bin holds nothing, or all, of both."""
    n, m = counts.sum(), others.sum()
    pooled = (counts + others) / (n + m)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return np.divide(counts / n - others / m, error, out=np.zeros(len(counts)), where=error > 0)


def share(counts: np.ndarray, others: np.ndarray, threshold: float = THRESHOLD) -> float:
    """NDB / K: the share of bins whose proportions in two histograms [K] differ beyond the threshold."""
    return float((np.abs(z_scores(counts, others)) > threshold).mean())


def divergence(counts: np.ndarray, others: np.ndarray) -> float:
    """Jensen-Shannon divergence of two histograms [K], eq. 2, in nats."""
    p, q = counts / counts.sum(), others / others.sum()
    mean = (p + q) / 2

    def part(p: np.ndarray) -> float:
        return float(np.sum(p * np.log(np.where(p > 0, p, 1) / np.where(p > 0, mean, 1))))

    return max(0.0, 0.5 * part(p) + 0.5 * part(q))


def floor(bins: int, n: int, m: int) -> float:
    """What eq. 2 is on average for n and m examples of one distribution, eq. 3, in nats."""
    return (bins - 1) * (1 / n + 1 / m) / 8
