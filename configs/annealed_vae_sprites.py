"""VAE with a capacity that grows, on 32 x 32 sprites drawn from five known factors, with ten latents.

Burgess et al. 2018, arXiv:1804.03599. Test pictures, three seeds: MIG 0.19 to 0.34, DCI disentanglement 0.15 to 0.28, FactorVAE
score 0.70 to 0.76, at most 53 nats: what `beta_vae_sprites` separates, at a rate of 12 nats instead of 4.5.
`python -m scripts.train annealed_vae_sprites`, then `python -m scripts.evaluate runs/annealed_vae_sprites`: 33 CPU seconds to
train.
"""

from research.data import Sprites
from research.maths.likelihoods import Bernoulli
from research.maths.rates import Capacity
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
                beta=20.0,
                rate=Capacity(nats=12.0, steps=3000),
                score_samples=10,
            ),
            learning_rate=1e-3,
        ),
        epochs=15,
        batch_size=128,
    )
