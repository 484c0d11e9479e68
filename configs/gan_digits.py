"""GAN on scikit-learn's 8x8 digits: non-saturating loss, dense nets, averaged generator.

Goodfellow et al. 2014, arXiv:1406.2661. `python -m scripts.train gan_digits`: 20 s on two CPU cores.
"""

from research.data import Images
from research.models.gan import GAN
from research.nets.mlp import MLP
from research.run import Run
from research.trainers.adversarial import AdversarialTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='dequantise'),
        trainer=AdversarialTrainer(
            model=GAN(
                generator=MLP(hidden=(256, 256), batch_norm=True),
                critic=MLP(hidden=(256, 256), activation='leaky_relu'),
                latent=32,
            ),
            learning_rate=2e-4,
            critic_learning_rate=2e-4,
            ema=0.995,
        ),
        epochs=300,
        batch_size=100,
    )
