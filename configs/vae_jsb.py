"""VAE on single chords of the JSB chorales: the file that trains on images, on piano rolls by config alone.

Each time step is an example of 88 keys; the order of steps is not modelled. `python -m scripts.train vae_jsb`: 30 s.
"""

from research.data import Music
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Music(name='jsb_chorales'),
        trainer=GradientTrainer(
            model=VAE(encoder=MLP(hidden=(200, 200)), decoder=MLP(hidden=(200, 200)), latent=16),
        ),
        epochs=20,
        batch_size=100,
    )
