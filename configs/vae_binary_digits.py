"""VAE on binarised 8x8 digits, with a Bernoulli likelihood.

Kingma & Welling 2014, arXiv:1312.6114. `python -m scripts.train vae_binary_digits`: 10 s on two CPU cores.
"""

from research.data import Images
from research.maths.likelihoods import Bernoulli
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='binarise'),
        trainer=GradientTrainer(
            model=VAE(encoder=MLP(hidden=(256,)), decoder=MLP(hidden=(256,)), likelihood=Bernoulli(), latent=16),
            learning_rate=1e-3,
        ),
        epochs=150,
        batch_size=100,
    )
