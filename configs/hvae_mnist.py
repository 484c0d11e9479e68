"""Two-level VAE on dynamically binarised MNIST: the row of Tomczak & Welling 2018 with a standard prior, full protocol.

arXiv:1705.07120; 82.39 +- 0.11 nats at 5000 samples, as Exemplar-VAE quotes it. q(z2 | x) q(z1 | x, z2) and p(z2) p(z1 | z2)
p(x | z1, z2), 40 latents each, gated layers, 100 epochs of warm-up. The rest as in vae_gated_mnist; 25 s an epoch on two CPU cores.
"""

from research.data import Images
from research.latents.posteriors import Diagonal
from research.models.hierarchical_vae import HierarchicalVAE
from research.nets.gated import GatedMLP, GatedPair
from research.run import Run
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Adam


def config() -> Run:
    return Run(
        data=Images(name='mnist', values='binarise', valid=10_000),
        trainer=GradientTrainer(
            model=HierarchicalVAE(
                structure='skip',
                encoder=GatedMLP(hidden=(300, 300)),
                second_encoder=GatedPair(each=300, hidden=(300,)),
                top_decoder=GatedMLP(hidden=(300, 300)),
                decoder=GatedPair(each=300, hidden=(300,)),
                posterior=Diagonal(limits=(-6.0, 2.0)),
                latent=40,
                lower_latent=40,
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
