"""VQ-VAE with finite scalar quantisation on binarised 8x8 digits: 3 positions of 5 x 3 codes, a MADE over them.

Mentzer et al. 2023, arXiv:2309.15505. `python -m scripts.train fsq_digits`: 15 s on two CPU cores.
Test bound 23.1 nats (23.07 to 23.13, 3 seeds; of the codes taken alone 25.0), where each pixel alone has 27.3.
"""

from research.data import Images
from research.latents.quantisers import FSQ
from research.maths.likelihoods import Bernoulli
from research.models.vq_vae import VQVAE, Masked
from research.nets.masked import MADE
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
                grid=(3,),
                channels=2,
                quantiser=FSQ(levels=(5, 3)),
                prior=Masked(net=MADE(hidden=(128,))),
            ),
            learning_rate=1e-3,
            schedule=Cosine(steps=2100),
        ),
        epochs=150,
        batch_size=100,
    )
