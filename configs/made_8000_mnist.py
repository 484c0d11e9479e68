"""MADE of 8000 hidden units on dynamically binarised MNIST, exact: the full protocol, 85 epochs.

Germain et al. 2015, arXiv:1502.03509. Published for this protocol (60000 images, one random order, Adam at 1e-3, batches of 64):
84.87 nats. `python -m scripts.train made_8000_mnist`: 3 hours on two CPU cores.
"""

from research.data import Images
from research.models.autoregressive import Autoregressive
from research.nets.masked import MADE
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='binarise'),
        trainer=GradientTrainer(model=Autoregressive(net=MADE(hidden=(8000,), order_seed=0)), learning_rate=1e-3),
        epochs=85,
        batch_size=64,
        checkpoint_every=5,
    )
