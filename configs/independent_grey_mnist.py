"""Independent pixels of 256 grey levels on MNIST, add-0.01: 1.6891 bits per dimension, 917.9 nats.

What every model of grey levels has to beat. A quad tree of one unit a region, which is that: its tables are counted without
one-hot codes, which for 256 values take minutes. All 60000 training images. `python -m scripts.train independent_grey_mnist`:
seconds on two CPU cores.
"""

from research.data import Images
from research.models.quad_tree import QuadTree
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='integer'),
        trainer=EMTrainer(model=QuadTree(states=1, leaf_smoothing=0.01)),
        epochs=1,
        batch_size=1000,
    )
