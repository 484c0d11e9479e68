"""Beta-VAE on 32 x 32 sprites drawn from five known factors, with ten latents.

Higgins et al. 2017 (ICLR). Test pictures, three seeds: MIG 0.24 to 0.33, DCI disentanglement 0.13 to 0.25, FactorVAE score 0.60,
at most 54 nats (k = 10); with beta = 1, 2 or 4 MIG is 0.10 at most (one seed each).
`python -m scripts.train beta_vae_sprites`, then `python -m scripts.evaluate runs/beta_vae_sprites`: 33 CPU seconds to train.
"""

from research.data import Sprites
from research.maths.likelihoods import Bernoulli
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Sprites(side=32),
        trainer=GradientTrainer(
            model=VAE(
                encoder=MLP(hidden=(256, 256)),
                decoder=MLP(hidden=(256, 256)),
                likelihood=Bernoulli(),
                latent=10,
                beta=10.0,
                score_samples=10,
            ),
            learning_rate=1e-3,
        ),
        epochs=15,
        batch_size=128,
    )
