"""VAE on the 2-D ring of eight Gaussians: does the bound find all modes?"""

from research.data import Toy
from research.maths.likelihoods import Gaussian
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Toy(name='ring'),
        trainer=GradientTrainer(
            model=VAE(
                encoder=MLP(hidden=(128, 128)),
                decoder=MLP(hidden=(128, 128)),
                likelihood=Gaussian(floor=0.005),
                latent=2,
            ),
        ),
        epochs=20,
        batch_size=100,
    )
