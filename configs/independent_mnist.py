"""Independent Bernoullis on MNIST, in expectation over the dynamic binarisation: 205.81 nats.

Trained on the first 50000 examples with add-1 smoothing. Scoring the grey level p as p log q + (1 - p) log(1 - q) is the
expected score of its Bernoulli(p) binarisation, so no draw is needed.
"""

from research.data import Images
from research.maths.likelihoods import Bernoulli
from research.models.independent import Independent
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='scale', valid=10000),
        trainer=EMTrainer(model=Independent(likelihood=Bernoulli(), smoothing=1.0)),
        epochs=1,
        batch_size=1000,
    )
