"""Mixture of 500 products of Bernoullis on dynamically binarised MNIST, by EM, exact: 125.2 nats.

Dempster, Laird & Rubin 1977. No network. `python -m scripts.train mixture_mnist`: 1 minute on two CPU cores.
"""

from research.data import Images
from research.models.mixture import BernoulliMixture
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='binarise'),
        trainer=EMTrainer(model=BernoulliMixture(components=500)),
        epochs=30,
        batch_size=1000,
    )
