"""VAE on dynamically binarised MNIST: the one-layer net of Burda et al. 2016, 20 epochs.

arXiv:1509.00519, table 1 (86.76 nats after 3280 epochs of another schedule); these 20 epochs end between 94.5 and 98.5 nats
(k = 50; 95.96 measured). `python -m scripts.train vae_mnist`, then `python -m scripts.evaluate runs/vae_mnist --samples 50`:
2 minutes on two CPU cores.
"""

from research.data import Images
from research.maths.likelihoods import Bernoulli
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.run import Run
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Adam


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='binarise'),
        trainer=GradientTrainer(
            model=VAE(
                encoder=MLP(hidden=(200, 200), activation='tanh'),
                decoder=MLP(hidden=(200, 200), activation='tanh'),
                likelihood=Bernoulli(),
                latent=50,
            ),
            learning_rate=1e-3,
            optimiser=Adam(eps=1e-4),
        ),
        epochs=20,
        batch_size=100,
        checkpoint_every=5,
    )
