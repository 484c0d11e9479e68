"""EM for a diagonal Gaussian mixture: 20 components, 20000 MNIST images, 10 iterations, from one given start."""

from __future__ import annotations

import time
import warnings

import jax
import numpy as np

from research.data import Images
from research.engine import epoch as epochs
from research.engine import mesh
from research.engine import plan as plans
from research.engine.plan import Plan
from research.models.mixture import GaussianMixture
from research.trainers.em import EMTrainer
from research.types import BadInput
from scripts.benchmarks.contest import Contest, Measure

COMPONENTS, ROWS, ITERATIONS, FLOOR = 20, 20_000, 10, 1e-3


def data() -> tuple[np.ndarray, str]:
    """Digits in [0, 1] and what they are: noise of the same shape where MNIST is not at hand."""
    try:
        x = np.asarray(Images(name='mnist', values='scale').load().train.x)[:ROWS]
        return (x.reshape(ROWS, -1) / 255).astype(np.float32), '20000 MNIST images'
    except BadInput:
        return np.random.default_rng(0).random((ROWS, 784), dtype=np.float32), '20000 x 784 noise'


def ours(x: np.ndarray) -> Measure:
    trainer = EMTrainer(model=GaussianMixture(components=COMPONENTS, variance_floor=FLOOR))
    plan = Plan(trainer, lambda x, key: x, x, 1, 1000, 0)
    one, on_device = mesh.build(mesh.ONE), jax.device_put(x)
    start = jax.jit(lambda x: plans.init(plan, plans.numbers(plan), 0, x))(plans.sample(plan))
    course = epochs.course(trainer, 0, 0, ROWS, plan.batch_size)

    @jax.jit
    def iteration(progress: epochs.Progress, x: jax.Array) -> epochs.Progress:
        after = epochs.advance(trainer, plan.transform, one, progress, x, plan.batch_size, course, 0, plan.steps)
        return after._replace(state=trainer.end_epoch(after.state)[0])

    def measure() -> float:
        began, progress = time.perf_counter(), start
        for _ in range(ITERATIONS):
            progress = iteration(progress, on_device)
        jax.block_until_ready(progress)
        return time.perf_counter() - began

    return measure


def scikit_learn(x: np.ndarray) -> Measure:
    from sklearn import mixture

    rng = np.random.default_rng(0)
    start = {
        'means_init': x[rng.choice(len(x), COMPONENTS, replace=False)],
        'weights_init': np.full(COMPONENTS, 1 / COMPONENTS, np.float32),
        'precisions_init': np.broadcast_to(1 / (x.var(axis=0) + FLOOR), (COMPONENTS, x.shape[1])).astype(np.float32),
    }

    def measure() -> float:
        model = mixture.GaussianMixture(
            COMPONENTS, covariance_type='diag', max_iter=ITERATIONS, tol=0.0, reg_covar=FLOOR, **start
        )
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # it did not converge: ten iterations were asked for
            model.fit(x)
        return time.perf_counter() - began

    return measure


def contest() -> Contest:
    x, what = data()
    return Contest(
        name=f'Diagonal Gaussian mixture, 20 components, {what}',
        unit='fit of 10 EM iterations',
        contenders={'ours, engine': ours(x), 'scikit-learn': scikit_learn(x)},
        want={'scikit-learn': 2.0},
    )
