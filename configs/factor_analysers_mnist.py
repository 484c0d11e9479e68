"""Mixture of 150 factor analysers of 5 factors on MNIST, by EM.

Richardson & Weiss 2018 (arXiv:1805.12462): 150 components of 5 factors with diagonal noise, there by Adam at 2e-5, 6000
batches of 512 raw images in [0, 1] from a k-means start; here by EM, 30 passes, on dequantised images. The floor, near the
variance of dequantisation, is for pixels that are always black. `python -m scripts.train factor_analysers_mnist`: one minute on
two CPU cores. Expected: 2119.0 nats a test image, 3.90 bits per dimension (5 passes, 12 s: 2126.5).
"""

from research.data import Images
from research.models.factor_analysers import FactorAnalysers
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='dequantise'),
        trainer=EMTrainer(model=FactorAnalysers(components=150, factors=5, noise='diagonal', variance_floor=1e-5)),
        epochs=30,
        batch_size=1000,
    )
