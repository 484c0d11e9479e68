"""NADE of 500 hidden units on dynamically binarised MNIST, exact: the full protocol, 50 epochs.

Larochelle & Murray 2011. Published for this protocol (60000 images in their own order, rectified units, Adam at 1e-3, batches
of 512): 85.65 nats. `python -m scripts.train nade_mnist`: 80 minutes on two CPU cores.
"""

from research.data import Images
from research.models.autoregressive import Autoregressive
from research.nets.masked import NADE
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='binarise'),
        trainer=GradientTrainer(model=Autoregressive(net=NADE(hidden=500, activation='relu')), learning_rate=1e-3),
        epochs=50,
        batch_size=512,
        checkpoint_every=5,
    )
