"""Independent Gaussians on scikit-learn's 8x8 digits: the baseline that every model has to beat."""

from research.data import Images
from research.maths.likelihoods import Gaussian
from research.models.independent import Independent
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='dequantise'),
        trainer=EMTrainer(model=Independent(likelihood=Gaussian())),
        epochs=1,
        batch_size=None,
    )
