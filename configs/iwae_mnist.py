"""IWAE with k = 50 on dynamically binarised MNIST: the one-layer row of Burda et al. 2016, table 1, full protocol.

arXiv:1509.00519: 84.78 nats at 5000 samples. Eight stages of 3^i epochs, i = 0 .. 7, at 1e-3 * 10^(-i/7), batches of 20. Every
one-layer row is this config and two settings: `trainer.model.objective.samples=K` for IWAE-K, `...samples=1` and
`...groups=K` for VAE-K; `python -m scripts.reproduce iwae` trains them. Cost of k = 50: 12 PFLOP, 5 to 7 days on two CPU
cores, so an accelerator; k = 1: 14 hours.
"""

from research.data import Images
from research.maths.bounds import ImportanceWeighted
from research.maths.likelihoods import Bernoulli
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.run import Run
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Adam, Stages

STEPS = 2980  # an epoch: the first 59600 examples in batches of 20
STAGES = 8


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='binarise', valid=400),
        trainer=GradientTrainer(
            model=VAE(
                encoder=MLP(hidden=(200, 200), activation='tanh'),
                decoder=MLP(hidden=(200, 200), activation='tanh'),
                likelihood=Bernoulli(),
                objective=ImportanceWeighted(samples=50),
                latent=50,
                score_samples=5000,
            ),
            learning_rate=1e-3,
            optimiser=Adam(eps=1e-4),
            schedule=Stages(
                starts=tuple(STEPS * sum(3**j for j in range(i)) for i in range(1, STAGES)), decay=10 ** (-1 / 7)
            ),
        ),
        epochs=sum(3**i for i in range(STAGES)),  # 3280
        batch_size=20,
        checkpoint_every=20,
    )
