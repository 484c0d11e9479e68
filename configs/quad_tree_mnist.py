"""Quad-tree circuit (QT-CP) of 16 units a region on MNIST's 256 grey levels, by stepwise EM: 1.276 bits per dimension.

Loconte et al. 2024, arXiv:2409.07953. No network. With `--set trainer.model.top=product`, which makes the four quarters of the
image independent as they are in the published circuits, 1.281, where Adam has 1.283. The last 3000 training images are held out.
`python -m scripts.train quad_tree_mnist`: a minute and a quarter on two CPU cores.
"""

from research.data import Images
from research.models.quad_tree import QuadTree
from research.run import Run
from research.trainers.em import StepwiseEMTrainer


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='integer', valid=3000),
        trainer=StepwiseEMTrainer(
            model=QuadTree(states=16, smoothing=0.002, leaf_smoothing=0.002),
            step_size=0.1,
            final_step_size=0.01,
            ramp=12,
        ),
        epochs=15,
        batch_size=1000,
    )
