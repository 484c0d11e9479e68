"""Masked autoregressive flow on scikit-learn's 8x8 digits, dequantised: exact, as a mixture's density is.

Papamakarios et al. 2017, arXiv:1705.07057. Widths, depth and epochs were chosen on 300 training examples held out. With the
default `limit` of 5 the scores are as good, but draws of two seeds in three ran away (pixel_frechet 1e3 and 1e7): far out the
scales of five layers multiply.
107.2 to 107.7 nats on the test set over three seeds. `python -m scripts.train maf_digits`: 14 s of CPU time.
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
                bijection=Stack(step=MAF(net=MADE(hidden=(64,), activation='tanh', direct=True), limit=1.0), layers=5),
            ),
            learning_rate=1e-3,
            ema=0.998,
        ),
        epochs=150,
        batch_size=100,
    )
