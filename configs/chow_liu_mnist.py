"""Chow-Liu tree on binarised MNIST, exact: 135.1 nats.

Chow & Liu 1968, IEEE Trans. Inf. Theory 14(3). One pass over the 60000 training images, binarised once; the seed decides that and
no more. `python -m scripts.train chow_liu_mnist`: 10 s on two CPU cores.
"""

from research.data import Images
from research.models.chow_liu import ChowLiu
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='binarise'),
        trainer=EMTrainer(model=ChowLiu()),
        epochs=1,
        batch_size=1000,
    )
