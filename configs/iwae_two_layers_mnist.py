"""IWAE with two stochastic layers, k = 50, on dynamically binarised MNIST: Burda et al. 2016, table 1, full protocol.

arXiv:1509.00519: 82.90 nats at 5000 samples. q(z1 | x) 784-200-200-100, q(z2 | z1) 100-100-100-50, p(z1 | z2) and p(x | z1) mirrored, tanh.
Schedule, optimiser and the settings for other rows are those of iwae_mnist. Cost of k = 50: 15 PFLOP, a week on two CPU cores, so an
accelerator.
"""

import dataclasses

from configs import iwae_mnist
from research.maths.bounds import ImportanceWeighted
from research.models.hierarchical_vae import HierarchicalVAE
from research.nets.mlp import MLP
from research.run import Run

OUTER, INNER = MLP(hidden=(200, 200), activation='tanh'), MLP(hidden=(100, 100), activation='tanh')


def config() -> Run:
    run = iwae_mnist.config()
    model = HierarchicalVAE(
        structure='chain',
        encoder=OUTER,
        second_encoder=INNER,
        top_decoder=INNER,
        decoder=OUTER,
        objective=ImportanceWeighted(samples=50),
        latent=50,
        lower_latent=100,
        score_samples=5000,
    )
    return dataclasses.replace(run, trainer=dataclasses.replace(run.trainer, model=model))
