"""Mixture of 50 diagonal Gaussians on scikit-learn's 8x8 digits, by EM.

Dempster, Laird & Rubin 1977. No network. `python -m scripts.train mixture_digits`: 5 s on two CPU cores.
"""

from research.data import Images
from research.models.mixture import GaussianMixture
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='dequantise'),
        trainer=EMTrainer(model=GaussianMixture(components=50, variance_floor=3e-4)),
        epochs=40,
        batch_size=None,
    )
