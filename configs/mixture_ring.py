"""Mixture of Gaussians by EM on the 2-D ring of eight Gaussians, whose entropy is known: an oracle of -4.293 nats.

Dempster, Laird & Rubin 1977. Components start at random examples, and eight of them miss a mode in two runs of three; a
hundred miss one in 1.3e-5 of all (8 (7/8)^100). `--set data.name=grid --set trainer.model.components=300 --set epochs=60`
for the grid of 25, 0.0653 nats. `python -m scripts.train mixture_ring`: 5 s on two CPU cores.
"""

from research.data import Toy
from research.models.mixture import GaussianMixture
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Toy(name='ring', test=200_000),
        trainer=EMTrainer(model=GaussianMixture(components=100, variance_floor=1e-6)),
        epochs=50,
        batch_size=None,
    )
