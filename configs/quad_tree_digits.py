"""Quad-tree circuit of 16 units a region on the grey levels of scikit-learn's 8x8 digits, by EM.

Loconte et al. 2024, arXiv:2409.07953. No network; any part of an image has an exact probability given any other part. Number of
units, pseudo-counts and iterations chosen on the last 280 training images, never on test. Expected: 90.6 nats, of grey
levels (90.5 and 90.7 from two seeds; `categorical_mixture_digits` has 98.0). `python -m scripts.train quad_tree_digits`: seconds on
two CPU cores.
"""

from research.data import Images
from research.models.quad_tree import QuadTree
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='integer'),
        trainer=EMTrainer(model=QuadTree(states=16, smoothing=1.0, leaf_smoothing=0.3)),
        epochs=80,
        batch_size=None,
    )
