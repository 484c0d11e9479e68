"""VAE on one of the 20 binary sets, scored by a bound; `--set data.name=plants` takes another than nltcs.

Kingma & Welling 2014, arXiv:1312.6114. `python -m scripts.train vae_binary`: 1 minute on two CPU cores;
at most 6.02 nats on nltcs.
"""

from research.data.binary import Binary
from research.maths.likelihoods import Bernoulli
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Binary(name='nltcs'),
        trainer=GradientTrainer(
            model=VAE(
                encoder=MLP(hidden=(200, 200)),
                decoder=MLP(hidden=(200, 200)),
                likelihood=Bernoulli(),
                latent=20,
                score_samples=1000,
                score_chunk=100,
            ),
            learning_rate=1e-3,
        ),
        epochs=50,
        batch_size=100,
    )
