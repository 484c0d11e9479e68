"""VQ-VAE on binarised 8x8 digits: 4 positions of 8 codes, a Transformer over them.

van den Oord et al. 2017, arXiv:1711.00937. `python -m scripts.train vq_vae_digits`: 35 s on two CPU cores.
Test bound 22.8 nats (22.75 to 22.83, 3 seeds; of the codes taken alone 24.4), where each pixel alone has 27.3.
"""

from research.data import Images
from research.latents.quantisers import Codebook
from research.maths.likelihoods import Bernoulli
from research.models.vq_vae import VQVAE, Causal
from research.nets.attention import Transformer
from research.nets.mlp import MLP
from research.run import Run
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Cosine


def config() -> Run:
    return Run(
        data=Images(name='digits', values='binarise'),
        trainer=GradientTrainer(
            model=VQVAE(
                encoder=MLP(hidden=(256,)),
                decoder=MLP(hidden=(256,)),
                likelihood=Bernoulli(),
                grid=(4,),
                channels=8,
                quantiser=Codebook(codes=8),
                prior=Causal(net=Transformer(layers=1, heads=4, width=64, window=4)),
            ),
            learning_rate=1e-3,
            schedule=Cosine(steps=2100),
        ),
        epochs=150,
        batch_size=100,
    )
