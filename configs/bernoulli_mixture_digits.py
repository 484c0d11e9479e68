"""Mixture of 50 products of Bernoullis on binarised 8x8 digits, by EM.

Dempster, Laird & Rubin 1977. No network. `python -m scripts.train bernoulli_mixture_digits`: 3 s on two CPU cores.
"""

from research.data import Images
from research.models.mixture import BernoulliMixture
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='binarise'),
        trainer=EMTrainer(model=BernoulliMixture(components=50)),
        epochs=60,
        batch_size=None,
    )
