"""Hidden Chow-Liu tree (HCLT) of 12 states on dynamically binarised MNIST by stepwise EM, exact: 120.6 nats.

Liu & Van den Broeck 2021, arXiv:2106.07564. No network. `python -m scripts.train hclt_mnist`: 4 minutes on two CPU cores.
"""

from research.data import Images
from research.models.circuit import HiddenChowLiu
from research.run import Run
from research.trainers.em import StepwiseEMTrainer


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='binarise'),
        trainer=StepwiseEMTrainer(model=HiddenChowLiu(states=12), step_size=0.1),
        epochs=10,
        batch_size=500,
    )
