"""The training set of scikit-learn's 8x8 digits, drawn from again: the control for memorisation.

Meehan, Chaudhuri & Dasgupta 2020 (arXiv:2004.05675) on copying. No network and no density: sample metrics alone, pixel
Frechet distance 0.19. `python -m scripts.train nearest_copy_digits`: 2 s on two CPU cores.
"""

from research.data import Images
from research.models.nearest_copy import NearestCopy
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='dequantise'),
        trainer=EMTrainer(model=NearestCopy()),
        epochs=1,
        batch_size=None,
    )
