"""Probabilistic PCA with 60 factors on scikit-learn's 8x8 digits, in closed form.

Tipping & Bishop 1999. No network. Expected: 131.8 nats. `python -m scripts.train ppca_digits`: 3 s on two CPU cores.
"""

from research.data import Images
from research.models.ppca import PPCA
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='dequantise'),
        trainer=EMTrainer(model=PPCA(factors=60)),
        epochs=1,
        batch_size=None,
    )
