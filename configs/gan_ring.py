"""GAN on the 2-D ring of eight Gaussians: Srivastava et al. 2017 (VEEGAN), Lin et al. 2018 (PacGAN)."""

from research.data import Toy
from research.models.gan import GAN
from research.nets.mlp import MLP
from research.run import Run
from research.trainers.adversarial import AdversarialTrainer


def config() -> Run:
    return Run(
        data=Toy(name='ring'),
        trainer=AdversarialTrainer(
            model=GAN(
                generator=MLP(hidden=(128, 128), batch_norm=True),
                critic=MLP(hidden=(128, 128), activation='leaky_relu'),
                latent=2,
                output='identity',
            ),
        ),
        epochs=50,
        batch_size=100,
    )
