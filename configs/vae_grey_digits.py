"""VAE on the grey levels of scikit-learn's 8x8 digits, with a categorical likelihood, scored by a bound.

Kingma & Welling 2014, arXiv:1312.6114. `python -m scripts.train vae_grey_digits`: 10 s on two CPU cores. Widths and epochs were
chosen on 200 images held out of train (40 epochs 93.3 nats, 20: 97.1, 80: 96.0, 160: 123.1: it learns the training set by heart).
"""

from research.data import Images
from research.maths.likelihoods import Categorical
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='integer'),
        trainer=GradientTrainer(
            model=VAE(
                encoder=MLP(hidden=(256, 256)),
                decoder=MLP(hidden=(256, 256)),
                likelihood=Categorical(),
                latent=16,
            ),
            learning_rate=1e-3,
        ),
        epochs=40,
        batch_size=100,
    )
