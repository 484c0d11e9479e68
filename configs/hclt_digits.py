"""Hidden Chow-Liu tree (HCLT) of 16 states on binarised 8x8 digits, by stepwise EM.

Liu & Van den Broeck 2021, arXiv:2106.07564. No network; any part of an image has an exact probability given any other part.
States, lean and epochs chosen on the last 200 training images, never on test: 23.7 nats on those, where a mixture of 50
products of Bernoullis has 22.8. `python -m scripts.train hclt_digits`: half a minute on two CPU cores.
"""

from research.data import Images
from research.models.circuit import HiddenChowLiu
from research.run import Run
from research.trainers.em import StepwiseEMTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='binarise'),
        trainer=StepwiseEMTrainer(model=HiddenChowLiu(states=16, lean=0.5), step_size=0.1),
        epochs=120,
        batch_size=100,
    )
