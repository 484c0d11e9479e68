"""Markov chain over whole chords of the JSB chorales, leaning on persistent keys: 6.1134 nats per time step. No network.

Witten-Bell, all 4725 test steps. The validation pieces chose order 2 and the base: orders 1, 2 and 3 gave 7.238, 6.077 and 6.089,
and on independent keys (`trainer.model.base.memory=false`) 7.439, 6.264 and 6.276. Over the 4648 steps after the first of
each piece, `--set data.context=1`, 6.1301. `python -m scripts.train chord_chain_jsb`: 10 s on two busy CPU cores.
"""

from research.data import Music
from research.models.chord_chain import ChordChain
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(data=Music(pieces=True), trainer=EMTrainer(model=ChordChain()), epochs=1, batch_size=None)
