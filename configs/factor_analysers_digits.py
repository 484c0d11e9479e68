"""Mixture of 15 factor analysers of 8 factors on scikit-learn's 8x8 digits, by EM.

Ghahramani & Hinton 1996. No network. Numbers and floor chosen on held-out tenths of train, never on test. Expected: 112.5
nats (111.9 to 113.3 over five seeds). `python -m scripts.train factor_analysers_digits`: 2 s on two CPU cores.
"""

from research.data import Images
from research.models.factor_analysers import FactorAnalysers
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='dequantise'),
        trainer=EMTrainer(model=FactorAnalysers(components=15, factors=8, noise='diagonal', variance_floor=4e-4)),
        epochs=20,
        batch_size=None,
    )
