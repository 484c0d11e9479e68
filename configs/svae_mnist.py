"""Hyperspherical VAE on dynamically binarised MNIST: von Mises-Fisher codes on S^10, full protocol.

Davidson et al. 2018, arXiv:1804.00891: 93.16 +- 0.31 nats at 500 samples, as the reproduction of Pythae quotes them beside its
own 93.13; its script has 784-256-128, ReLU, 11 coordinates, Adam at 1e-3, batches of 64, 500 epochs on all 60000 images.
`python -m scripts.train svae_mnist`, then `python -m scripts.evaluate runs/svae_mnist`.
"""

from research.data import Images
from research.latents.posteriors import VonMisesFisher
from research.latents.priors import UniformSphere
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='binarise'),
        trainer=GradientTrainer(
            model=VAE(
                encoder=MLP(hidden=(256, 128)),
                decoder=MLP(hidden=(128, 256)),
                latent=11,
                posterior=VonMisesFisher(),
                prior=UniformSphere(),
                score_samples=500,
            ),
            learning_rate=1e-3,
        ),
        epochs=500,
        batch_size=64,
        checkpoint_every=20,
    )
