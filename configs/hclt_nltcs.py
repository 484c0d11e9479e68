"""Hidden Chow-Liu tree (HCLT) on NLTCS by stepwise EM; any of the 20 binary sets by --data.

Liu & Van den Broeck 2021, arXiv:2106.07564: 12 hidden states for each variable. Here one tree (the source mixes four), each
variable with states of its own, a constant step size and a fixed number of epochs. Published 6.00; about 6.05 in 10 s on two
CPU cores with `python -m scripts.train hclt_nltcs`.
"""

from research.data import Binary
from research.models.circuit import HiddenChowLiu
from research.run import Run
from research.trainers.em import StepwiseEMTrainer


def config() -> Run:
    return Run(
        data=Binary(name='nltcs'),
        trainer=StepwiseEMTrainer(model=HiddenChowLiu(states=12), step_size=0.1),
        epochs=40,
        batch_size=250,
    )
