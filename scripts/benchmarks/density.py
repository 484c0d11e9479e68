"""Exact density models beside scikit-learn: full-covariance EM, k-means++, PPCA, factor analysis, kernel density."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.maths.kmeans import plus_plus
from research.models.factor_analysers import FactorAnalysers
from research.models.kernel_density import KernelDensity
from research.models.mixture import GaussianMixture
from research.models.ppca import PPCA
from scripts.benchmarks import mixture
from scripts.benchmarks.contest import Contest, Measure

KEY = jax.random.key(0)
COMPONENTS, ITERATIONS, FLOOR = 20, 5, 1e-3


def timed(work: Callable[[], Any]) -> Measure:
    """Seconds that `work` takes until its result is there."""

    def measure() -> float:
        began = time.perf_counter()
        jax.block_until_ready(work())
        return time.perf_counter() - began

    return measure


def em(model: Any, start: Any, x: np.ndarray, iterations: int) -> Callable[[], Any]:
    """All iterations on all of x at once, compiled."""
    on_device = jax.device_put(x)
    step = jax.jit(lambda params, x: model.solve(params, model.statistics(params, x)[0]))

    def work() -> Any:
        params = start
        for _ in range(iterations):
            params = step(params, on_device)
        return params

    return work


def pooled(x: np.ndarray) -> np.ndarray:
    """28x28 images as 14x14: means of four pixels, [n, 196], so that the peers fit a full covariance in seconds."""
    return np.ascontiguousarray(x.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(len(x), 196), np.float32)


def full(x: np.ndarray) -> Contest:
    from sklearn import mixture as peers

    start, spread = x[np.random.default_rng(0).choice(len(x), COMPONENTS, replace=False)], x.var(axis=0) + 1e-6
    model = GaussianMixture(components=COMPONENTS, variance_floor=FLOOR, covariance='full')
    params = {
        'logits': jnp.zeros(COMPONENTS),
        'means': jnp.asarray(start),
        **model.family.init(jnp.asarray(spread), COMPONENTS),
    }
    precisions = np.broadcast_to(np.diag(1 / (spread + FLOOR)), (COMPONENTS, x.shape[1], x.shape[1]))

    def theirs() -> Any:
        reference = peers.GaussianMixture(
            COMPONENTS, covariance_type='full', max_iter=ITERATIONS, tol=0.0, reg_covar=FLOOR, means_init=start,
            weights_init=np.full(COMPONENTS, 1 / COMPONENTS, x.dtype), precisions_init=precisions.astype(x.dtype),
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # it did not converge: five iterations were asked for
            reference.fit(x)

    return Contest(
        name=f'Full-covariance Gaussian mixture, {COMPONENTS} components, {len(x)} x {x.shape[1]}',
        unit=f'fit of {ITERATIONS} EM iterations',
        contenders={'ours': timed(em(model, params, x, ITERATIONS)), 'scikit-learn': timed(theirs)},
        want={'scikit-learn': 2.0},
    )


def seeds(x: np.ndarray, count: int = 50) -> Contest:
    from sklearn.cluster import kmeans_plusplus

    on_device, draw = jax.device_put(x), jax.jit(lambda x: plus_plus(KEY, x, count))
    return Contest(
        name=f'k-means++, {count} centres, {len(x)} x {x.shape[1]}',
        unit='start',
        contenders={
            'ours': timed(lambda: draw(on_device)),
            'scikit-learn': timed(lambda: kmeans_plusplus(x, count, random_state=0)),
        },
        want={'scikit-learn': 1.0},
    )


def closed(x: np.ndarray, factors: int = 50) -> Contest:
    from sklearn.decomposition import PCA

    model, on_device = PPCA(factors=factors), jax.device_put(x)

    @jax.jit
    def fit(x: jax.Array) -> Any:
        params = model.init(KEY, x)
        return model.solve(params, model.statistics(params, x)[0])

    return Contest(
        name=f'Probabilistic PCA, {factors} factors, {len(x)} x {x.shape[1]}',
        unit='fit',
        contenders={'ours': timed(lambda: fit(on_device)), 'scikit-learn': timed(lambda: PCA(factors).fit(x))},
        want={'scikit-learn': 1.0},
    )


def analysis(x: np.ndarray, factors: int = 10) -> Contest:
    """Ours runs for as many iterations as it takes to be where scikit-learn stops, to 1e-4 of the log-likelihood."""
    from sklearn.decomposition import FactorAnalysis

    x = x + 0.05 * np.random.default_rng(0).normal(size=x.shape).astype(np.float32)  # no pixel is constant
    reference = FactorAnalysis(factors).fit(x)
    goal = float(reference.score(x))
    model = FactorAnalysers(factors=factors, noise='diagonal', variance_floor=1e-6)
    on_device = jax.device_put(x)
    start = jax.jit(model.init)(KEY, on_device)
    iterations = 1
    score = jax.jit(lambda params: model.log_prob(params, on_device, KEY).mean())
    while float(score(em(model, start, x, iterations)())) < goal - 1e-4 * abs(goal) and iterations < 512:
        iterations *= 2
    return Contest(
        name=f'Factor analysis, {factors} factors, {len(x)} x {x.shape[1]}, to {goal:.1f} nats',
        unit=f'fit ({iterations} iterations of ours, {reference.n_iter_} of theirs)',
        contenders={
            'ours': timed(em(model, start, x, iterations)),
            'scikit-learn': timed(lambda: FactorAnalysis(factors).fit(x)),
        },
        want={'scikit-learn': 1.0},
    )


def kernels(rows: int = 10_000) -> Contest:
    """Not held unless asked for: scikit-learn takes two minutes a time."""
    from sklearn.neighbors import KernelDensity as Reference

    x, _ = mixture.data()
    train, queries = x[:rows], x[rows : 2 * rows]
    model = KernelDensity(bandwidths=(0.2,))
    params = {'examples': jnp.asarray(train), 'bandwidth': jnp.float32(0.2)}
    score, on_device = jax.jit(model.log_prob), jax.device_put(queries)
    reference = Reference(bandwidth=0.2).fit(train)
    return Contest(
        name=f'Kernel density, {len(train)} examples, {len(queries)} queries, {x.shape[1]} dimensions',
        unit='scoring',
        contenders={
            'ours': timed(lambda: score(params, on_device, KEY)),
            'scikit-learn': timed(lambda: reference.score_samples(queries)),
        },
        want={'scikit-learn': 5.0},
    )


def contests() -> list[Contest]:
    x, _ = mixture.data()
    return [full(pooled(x)), seeds(x), closed(x), analysis(x)]
