"""Independent keys on JSB chorales, quarter notes: 11.0602 nats per time step, pooled over all 4725 test steps.

Smoothing 0.5. The '1-gram' of the tables after Boulanger-Lewandowski et al. 2012 (arXiv:1206.6392); a uniform model gives
88 log 2 = 60.997.
"""

from research.data import Music
from research.maths.likelihoods import Bernoulli
from research.models.independent import Independent
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Music(name='jsb_chorales'),
        trainer=EMTrainer(model=Independent(likelihood=Bernoulli(), smoothing=0.5)),
        epochs=1,
        batch_size=None,
    )
