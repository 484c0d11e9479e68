"""Fully visible sigmoid belief network on dynamically binarised MNIST: 784 logistic regressions, 50 epochs.

Neal 1992; Frey 1998. Published for this protocol (60000 images, Adam at 1e-3, batches of 512): 96.58 nats, exact; 97.37 here
(97.09 at 3e-3). A masked net without hidden layers. `python -m scripts.train fvsbn_mnist`: 2 to 3 minutes on two CPU cores.
"""

from research.data import Images
from research.models.autoregressive import Autoregressive
from research.nets.masked import MADE
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='binarise'),
        trainer=GradientTrainer(model=Autoregressive(net=MADE(hidden=())), learning_rate=1e-3),
        epochs=50,
        batch_size=512,
    )
