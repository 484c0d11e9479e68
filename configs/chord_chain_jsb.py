"""Markov chain over whole chords of the JSB chorales, Witten-Bell on top of persistent keys. No network.

`--set trainer.model.order=1` counts chords alone, `trainer.model.base.memory=false` leans on independent keys.
"""

from research.data import Music
from research.models.chord_chain import ChordChain
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(data=Music(pieces=True), trainer=EMTrainer(model=ChordChain()), epochs=1, batch_size=None)
