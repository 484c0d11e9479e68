"""Mixture of four hidden Chow-Liu trees (HCLT) on NLTCS by stepwise EM; any of the 20 binary sets by --data.

Liu & Van den Broeck 2021, arXiv:2106.07564: 12 hidden states for each variable, four trees. Here each variable has states of
its own, training begins near the Chow-Liu tree, and the step size falls from 0.9 to 0.1 over 40 epochs: settings found on the
validation splits of accidents, baudio, bnetflix, dna and jester. `python -m scripts.train hclt_nltcs`: published 6.00, and
6.00 here in half a minute on two CPU cores. Sets of fewer than 4000 examples want a smaller batch_size: an eighth of them.
"""

from research.data import Binary
from research.models.circuit import HiddenChowLiu
from research.run import Run
from research.trainers.em import StepwiseEMTrainer


def config() -> Run:
    return Run(
        data=Binary(name='nltcs'),
        trainer=StepwiseEMTrainer(
            model=HiddenChowLiu(states=12, trees=4, smoothing=0.01, lean=0.5),
            step_size=0.9,
            final_step_size=0.1,
            ramp=40,
        ),
        epochs=40,
        batch_size=500,
    )
