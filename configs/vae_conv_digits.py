"""VAE with convolutions on scikit-learn's 8x8 digits, dequantised, with a continuous Bernoulli.

Kingma & Welling 2014, arXiv:1312.6114; Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845. 99.97 nats per image (k = 100, one seed).
`python -m scripts.train vae_conv_digits`: 14 s of training on two CPU cores, as long again to compile.
"""

from research.data import Images
from research.maths.likelihoods import ContinuousBernoulli
from research.models.vae import VAE
from research.nets.convolutional import Decoder, Encoder
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Images(name='digits', values='dequantise'),
        trainer=GradientTrainer(
            model=VAE(
                encoder=Encoder(widths=(16, 32), hidden=(128,)),
                decoder=Decoder(widths=(32, 16), hidden=(128,)),
                likelihood=ContinuousBernoulli(),
                latent=16,
            ),
            learning_rate=1e-3,
        ),
        epochs=100,
        batch_size=100,
    )
