"""Restricted Boltzmann machine of 16 hidden units on binarised 8x8 digits, its likelihood exact by enumeration.

Smolensky 1986; persistent contrastive divergence, Tieleman 2008. `python -m scripts.train rbm_digits`: 20 s on two CPU cores; 23.53 nats.
"""

from research.data import Images
from research.models.rbm import RBM
from research.run import Run
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Sgd


def config() -> Run:
    return Run(
        data=Images(name='digits', values='binarise'),
        trainer=GradientTrainer(model=RBM(hidden=16), learning_rate=0.05, optimiser=Sgd()),
        epochs=400,
        batch_size=100,
    )
