"""Each pixel of scikit-learn's 8x8 digits alone, as a histogram of 17 bins.

No network. Expected: 107.9 nats, as one bin holds one grey level: a uniform within it is the very noise of dequantisation,
which no normal has the shape of. `python -m scripts.train histogram_digits`: 3 s on two CPU cores.
"""

from research.data import Images
from research.models.histogram import Histogram
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='dequantise'),
        trainer=EMTrainer(model=Histogram(bins=17)),
        epochs=1,
        batch_size=None,
    )
