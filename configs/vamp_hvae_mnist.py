"""Two-level VAE with a VampPrior on dynamically binarised MNIST: the row of Tomczak & Welling 2018, full protocol.

arXiv:1705.07120; 81.56 +- 0.09 nats at 5000 samples, as Exemplar-VAE quotes it. hvae_mnist with K = 500 pseudo-inputs over z2; 60 to
90 s an epoch on two CPU cores, so an accelerator.
"""

import dataclasses

from configs import hvae_mnist
from research.latents.priors import VampPrior
from research.run import Run


def config() -> Run:
    run = hvae_mnist.config()
    model = dataclasses.replace(run.trainer.model, prior=VampPrior(inputs=500, start='noise'))
    return dataclasses.replace(run, trainer=dataclasses.replace(run.trainer, model=model))
