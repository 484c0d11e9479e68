"""A normal around every training example of scikit-learn's 8x8 digits, bandwidth by leave-one-out.

Parzen 1962; Duin 1976. No network. Expected: 147.8 nats at bandwidth 0.14: one width for all pixels suits few of them.
`python -m scripts.train kernel_density_digits`: 3 s on two CPU cores.
"""

from research.data import Images
from research.models.kernel_density import KernelDensity
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='dequantise'),
        trainer=EMTrainer(model=KernelDensity()),
        epochs=1,
        batch_size=None,
    )
