"""MADE of 500 hidden units on dynamically binarised MNIST, exact, 10 epochs: 94.11 nats.

Germain et al. 2015, arXiv:1502.03509. `python -m scripts.train made_mnist`: 40 s on two CPU cores. The order is a random one: in
that of the pixels (`--set trainer.model.net.order_seed=none`) it is 99.57. The published 84.87 nats are of 8000 units after 85
epochs with batches of 64, hours on two cores: `made_8000_mnist`.
"""

from research.data import Images
from research.models.autoregressive import Autoregressive
from research.nets.masked import MADE
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='binarise'),
        trainer=GradientTrainer(model=Autoregressive(net=MADE(hidden=(500,), order_seed=0)), learning_rate=1e-3),
        epochs=10,
        batch_size=100,
    )
