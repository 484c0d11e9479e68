"""Chow-Liu tree on NLTCS: 6.759045 nats; any of the 20 binary sets by --data.

Chow & Liu 1968; alpha = 1 on every cell of a pair, fitted on the training split alone, root at the first variable. A second
or two for most sets. `python -m scripts.train chow_liu_nltcs --data plants` gives 16.524015.
"""

from research.data import Binary
from research.models.chow_liu import ChowLiu
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(data=Binary(name='nltcs'), trainer=EMTrainer(model=ChowLiu()), epochs=1, batch_size=None)
