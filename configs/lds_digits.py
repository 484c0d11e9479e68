"""Linear dynamical system on scikit-learn's 8x8 digits: an image as a sequence of its eight rows, by EM.

Kalman 1960; Ghahramani & Hinton 1996. No network. One law for all rows, so that it knows nothing of top and bottom but where it
starts. `python -m scripts.train lds_digits`.
"""

from research.data import Images
from research.models.linear_dynamical_system import LinearDynamicalSystem
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='dequantise'),
        trainer=EMTrainer(model=LinearDynamicalSystem(states=16, variance_floor=4e-4)),
        epochs=100,
        batch_size=None,
    )
