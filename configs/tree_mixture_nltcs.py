"""Mixture of trees on NLTCS by EM; any of the 20 binary sets by --data.

Meila & Jordan 2000: each component has the Chow-Liu tree of the examples it answers for. 20 components, 30 iterations; a
single tree has 6.759. `python -m scripts.train tree_mixture_nltcs`: 6.00, in less than a minute on two CPU cores.
"""

from research.data import Binary
from research.models.tree_mixture import TreeMixture
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Binary(name='nltcs'),
        trainer=EMTrainer(model=TreeMixture(components=20, alpha=1.0)),
        epochs=30,
        batch_size=None,
    )
