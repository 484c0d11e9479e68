"""Mixture of 50 diagonal Gaussians on scikit-learn's 8x8 digits, by gradient.

The model of `mixture_digits`, one word changed: is it EM or the model that makes the difference?
"""

from research.data import Images
from research.models.mixture import GaussianMixture
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='dequantise'),
        trainer=GradientTrainer(model=GaussianMixture(components=50, variance_floor=3e-4), learning_rate=1e-2),
        epochs=150,
        batch_size=100,
    )
