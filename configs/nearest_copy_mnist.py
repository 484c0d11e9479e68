"""The training set of MNIST, drawn from again: the control for memorisation, and the 'train' row of NDB.

Meehan, Chaudhuri & Dasgupta 2020 (arXiv:2004.05675); Richardson & Weiss 2018 (arXiv:1805.12462). No network and no density: sample
metrics alone. `python -m scripts.train nearest_copy_mnist`: 10 s on two CPU cores; its checkpoint holds all images, 190 MB.
"""

from research.data import Images
from research.models.nearest_copy import NearestCopy
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='dequantise'),
        trainer=EMTrainer(model=NearestCopy()),
        epochs=1,
        batch_size=None,
    )
