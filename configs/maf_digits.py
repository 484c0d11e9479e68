"""Masked autoregressive flow on scikit-learn's 8x8 digits, dequantised: exact, as a mixture's density is.

Papamakarios et al. 2017, arXiv:1705.07057. Five layers with one hidden layer each; widths, depth and epochs were chosen on 300
training examples held out. `python -m scripts.train maf_digits`.
"""

from research.data import Images
from research.latents.autoregressive import MAF
from research.latents.bijections import Stack
from research.models.flow import Flow
from research.nets.masked import MADE
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='dequantise'),
        trainer=GradientTrainer(
            model=Flow(
                bijection=Stack(step=MAF(net=MADE(hidden=(64,), activation='tanh', direct=True)), layers=5),
            ),
            learning_rate=1e-3,
            ema=0.998,
        ),
        epochs=150,
        batch_size=100,
    )
