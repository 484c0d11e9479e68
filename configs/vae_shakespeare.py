"""VAE over windows of tinyshakespeare: a GRU that is told a latent, with word dropout: at most 1.836 nats per character.

Bowman et al. 2016, arXiv:1511.06349. The file that trains on images, on text by config alone: symbols in, categorical out. Three
epochs, k = 10; the 5-gram beside it (ngram_shakespeare) has 1.669, exact. As in the paper a decoder that reads well leaves z all
but unused: of 117.8 nats a window the rate is 0.18. With `--set trainer.model.decoder.word_dropout=0.6` it is 1.04, and the bound
2.023.
`python -m scripts.train vae_shakespeare`: a minute on two CPU cores.
"""

from research.data import Text
from research.maths.likelihoods import Categorical
from research.maths.sequences import Sequence
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.nets.sequential import RecurrentDecoder
from research.run import Run
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Adam


def config() -> Run:
    return Run(
        data=Text(name='tiny_shakespeare', length=64),
        trainer=GradientTrainer(
            model=VAE(
                encoder=MLP(hidden=(256,)),
                decoder=RecurrentDecoder(width=128, word_dropout=0.2),
                likelihood=Sequence(of=Categorical()),
                latent=16,
                warm_up=300,
            ),
            learning_rate=3e-3,
            optimiser=Adam(clip=1.0),
        ),
        epochs=3,
        batch_size=100,
    )
