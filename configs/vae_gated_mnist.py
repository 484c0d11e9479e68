"""VAE with gated layers on dynamically binarised MNIST: the one-level net of Tomczak & Welling 2018, standard prior.

arXiv:1705.07120: 84.45 +- 0.12 nats with 5000 samples, as later measured by Norouzi, Fleet & Norouzi 2020 (arXiv:2004.04795). The
protocol: the first 50000 images train, binarised anew for each batch, batches of 100, Adam at 5e-4, the weight of the rate
rising to 1 over the first 100 epochs, log-variances clipped to [-6, 2], at most 2000 epochs, ended once 50 have not bettered the
validation bound (`--set epochs=N` here: there is no such end), each array's gradient divided by its norm before Adam. Known
deviations: the KL divergence is in closed form (theirs is one draw), the decoder starts at the pixels' means, and its probabilities
are not clipped. Cost: an epoch takes 4 s on two CPU cores, so
2000 epochs two hours.
"""

from research.data import Images
from research.latents.posteriors import Diagonal
from research.models.vae import VAE
from research.nets.gated import GatedMLP
from research.run import Run
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Adam


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='binarise', valid=10_000),
        trainer=GradientTrainer(
            model=VAE(
                encoder=GatedMLP(hidden=(300, 300)),
                decoder=GatedMLP(hidden=(300, 300)),
                latent=40,
                posterior=Diagonal(limits=(-6.0, 2.0)),
                warm_up=50_000,
                score_samples=5000,
            ),
            learning_rate=5e-4,
            optimiser=Adam(normalise=True),
        ),
        epochs=2000,
        batch_size=100,
        checkpoint_every=20,
    )
