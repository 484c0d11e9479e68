"""Restricted Boltzmann machine of 500 hidden units on dynamically binarised MNIST, log Z by annealed importance sampling.

Persistent contrastive divergence (Tieleman 2008), scored as by Salakhutdinov & Murray 2008 from the data's base rates.
`python -m scripts.train rbm_mnist`: 3 minutes on two CPU cores, 4 to score: an estimate,
92.4 nats; with six times the steps of annealing it is 1 nat higher.
"""

from research.data import Images
from research.models.rbm import RBM
from research.run import Run
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Sgd, Stages

STEPS = 600  # an epoch


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='binarise'),
        trainer=GradientTrainer(
            model=RBM(hidden=500, chains=100),
            learning_rate=0.05,
            optimiser=Sgd(),
            schedule=Stages(starts=(10 * STEPS, 15 * STEPS, 18 * STEPS), decay=0.3),
        ),
        epochs=20,
        batch_size=100,
    )
