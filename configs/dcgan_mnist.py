"""DCGAN on MNIST, 28x28: Radford et al. 2016, arXiv:1511.06434.

`python -m scripts.train dcgan_mnist`: 2 minutes an epoch on two CPU cores.
"""

from research.data import Images
from research.models.gan import GAN
from research.nets.dcgan import Critic, Generator
from research.run import Run
from research.trainers.adversarial import AdversarialTrainer


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='scale'),
        trainer=AdversarialTrainer(
            model=GAN(generator=Generator(width=64), critic=Critic(width=64), latent=128),
            ema=0.999,
        ),
        epochs=5,
        batch_size=64,
        checkpoint_every=1,
    )
