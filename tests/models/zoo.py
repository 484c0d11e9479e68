"""Every model of the bench at toy size, each with a trainer and data: what the conformance suite walks over.

A new model is added here with one entry; `test_conformance.py` fails where a file of `research/models` has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from research.latents.autoregressive import IAF, MAF
from research.latents.bijections import Planar, RealNVP, Stack
from research.latents.flowing import Flowing
from research.latents.posteriors import FullCovariance, VonMisesFisher
from research.latents.priors import AfterTheFact, Density, UniformSphere, VampPrior
from research.latents.quantisers import FSQ, Codebook
from research.maths.adversarial import GradientPenalty, Hinge, NonSaturating, Wasserstein
from research.maths.bounds import CIWAE, ELBO, PIWAE, ImportanceWeighted
from research.maths.emissions import CategoricalEmission
from research.maths.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretisedLogistic,
    DiscretisedLogisticMixture,
    Gaussian,
)
from research.maths.rates import Capacity, FreeBits
from research.maths.regularisers import DIP, MMD, TotalCorrelation
from research.maths.sequences import Sequence
from research.maths.smoothing import AddK, KneserNey
from research.models.adversarial_autoencoder import AdversarialAutoencoder
from research.models.autoencoder import Autoencoder
from research.models.autoregressive import Autoregressive
from research.models.chord_chain import ChordChain
from research.models.chow_liu import ChowLiu
from research.models.circuit import HiddenChowLiu
from research.models.factor_analysers import FactorAnalysers
from research.models.factor_vae import FactorVAE
from research.models.flow import Flow
from research.models.gan import GAN
from research.models.hierarchical_vae import HierarchicalVAE
from research.models.histogram import Histogram
from research.models.hmm import HMM
from research.models.independent import Independent
from research.models.kernel_density import KernelDensity
from research.models.language import LanguageModel
from research.models.linear_dynamical_system import LinearDynamicalSystem
from research.models.mixture import BernoulliMixture, CategoricalMixture, GaussianMixture
from research.models.nearest_copy import NearestCopy
from research.models.ngram import NGram
from research.models.persistence import Persistence
from research.models.ppca import PPCA
from research.models.ppm import PPM
from research.models.quad_tree import QuadTree
from research.models.rbm import RBM
from research.models.sequence import SequenceModel
from research.models.tree_mixture import TreeMixture
from research.models.vae import VAE
from research.models.vae_gan import VAEGAN
from research.models.vq_vae import VQVAE, Causal, Masked
from research.nets import dcgan
from research.nets.attention import Transformer
from research.nets.convolutional import Decoder, Encoder
from research.nets.masked import MADE, NADE
from research.nets.mlp import MLP
from research.nets.recurrent import Recurrent
from research.nets.residual import ResidualDecoder, ResidualEncoder
from research.nets.sequential import RecurrentDecoder, RecurrentEncoder, TransformerDecoder
from research.trainers.adversarial import AdversarialTrainer
from research.trainers.em import EMTrainer, StepwiseEMTrainer
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Sgd
from research.types import Domain

ROWS = 64
SMALL = MLP(hidden=(8,))
SYMBOLS = Sequence(of=Categorical(levels=3), context=1, positions=3)
SMALL_IAF = IAF(net=MADE(hidden=(8,)))


@dataclass(frozen=True)
class Case:
    """A trainer with its model, data it fits [ROWS, ...], and their domain. A `variant` is a model with another part, whose way
    through the engine another case goes: it is spared the slow tests of that."""

    trainer: Any
    x: np.ndarray
    domain: Domain
    batch_size: int = 16
    variant: bool = False

    @property
    def model(self) -> Any:
        return self.trainer.model


def binary(dims: int = 3) -> tuple[np.ndarray, Domain]:
    """Correlated bits."""
    rng = np.random.default_rng(0)
    first = rng.random((ROWS, 1)) < 0.6
    x = np.where(rng.random((ROWS, dims)) < 0.8, first, ~first)
    return x.astype(np.float32), Domain(kind='binary', shape=(dims,))


def integer(levels: int = 3) -> tuple[np.ndarray, Domain]:
    x = np.random.default_rng(1).integers(0, levels, (ROWS, 2)).astype(np.int32)
    x[:, 1] = np.minimum(x[:, 0] + x[:, 1] // 2, levels - 1)
    return x, Domain(kind='integer', shape=(2,), values=levels)


def real() -> tuple[np.ndarray, Domain]:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(ROWS, 2)) * 0.3 + rng.choice([-1.0, 1.0], size=(ROWS, 1))
    return x.astype(np.float32), Domain(kind='real', shape=(2,))


def images() -> tuple[np.ndarray, Domain]:
    """Bars on 8x8 images, in [0, 1]."""
    rng = np.random.default_rng(4)
    x = np.zeros((ROWS, 8, 8, 1), np.float32)
    x[np.arange(ROWS), rng.integers(0, 8, ROWS)] = 1.0
    return x, Domain(kind='unit', shape=(8, 8, 1), modality='image')


def tokens(length: int = 3, values: int = 3, context: int = 1) -> tuple[np.ndarray, Domain]:
    x = np.random.default_rng(3).integers(0, values, (ROWS, context + length)).astype(np.int32)
    x[:, :context] = -1
    return x, Domain(kind='tokens', shape=(context + length,), values=values, unit='character', context=context)


def vae(likelihood: Any, **fields: Any) -> GradientTrainer:
    model = VAE(encoder=SMALL, decoder=SMALL, likelihood=likelihood, latent=2, score_samples=20, **fields)
    return GradientTrainer(model=model, learning_rate=0.01)


def convolutional(encoder: Any, decoder: Any, likelihood: Any) -> GradientTrainer:
    return GradientTrainer(
        model=VAE(encoder=encoder, decoder=decoder, likelihood=likelihood, latent=2, score_samples=20)
    )


def hierarchical(structure: Any, **fields: Any) -> GradientTrainer:
    nets: dict[str, Any] = dict.fromkeys(('encoder', 'second_encoder', 'top_decoder', 'decoder'), SMALL)
    sizes: dict[str, Any] = {'latent': 2, 'lower_latent': 3, 'score_samples': 20}
    return GradientTrainer(model=HierarchicalVAE(structure=structure, **nets, **sizes, **fields), learning_rate=0.01)


def vq_vae(quantiser: Any, prior: Any, likelihood: Any) -> GradientTrainer:
    model = VQVAE(
        encoder=SMALL, decoder=SMALL, likelihood=likelihood, grid=(2,), channels=2, quantiser=quantiser, prior=prior,
        score_samples=20,
    )  # fmt: skip
    return GradientTrainer(model=model, learning_rate=0.01)


def autoencoder(**fields: Any) -> GradientTrainer:
    return GradientTrainer(model=Autoencoder(encoder=SMALL, decoder=SMALL, latent=2, **fields))


def gan(adversary: Any, **fields: Any) -> AdversarialTrainer:
    batch_norm = MLP(hidden=(8,), batch_norm=True)
    return AdversarialTrainer(
        model=GAN(generator=batch_norm, critic=SMALL, adversary=adversary, latent=2, output='identity', **fields),
        critic_steps=2,
        ema=0.9,
    )


AFTER = AfterTheFact(density=GaussianMixture(components=2))
CASES: dict[str, Case] = {
    'vae_bernoulli': Case(vae(Bernoulli()), *binary()),
    'vae_categorical': Case(vae(Categorical(levels=3)), *integer()),
    'vae_discretised': Case(vae(DiscretisedLogistic(levels=3)), *integer()),
    'vae_gaussian': Case(vae(Gaussian()), *real()),
    'vae_mixture_of_logistics': Case(vae(DiscretisedLogisticMixture(levels=3, components=2)), *integer(), variant=True),
    'vae_convolutional': Case(
        convolutional(Encoder(widths=(2, 3), hidden=(8,)), Decoder(widths=(3, 2), hidden=(8,)), ContinuousBernoulli()),
        *images(),
        variant=True,
    ),
    'vae_residual': Case(
        convolutional(
            ResidualEncoder(widths=(2, 3), hidden=(8,)), ResidualDecoder(widths=(3, 2), hidden=(8,)), Bernoulli()
        ),
        *images(),
        variant=True,
    ),
    'vae_full_covariance': Case(vae(Bernoulli(), posterior=FullCovariance()), *binary(), variant=True),
    'vae_recurrent': Case(
        GradientTrainer(
            model=VAE(
                encoder=RecurrentEncoder(width=4),
                decoder=RecurrentDecoder(width=4, word_dropout=0.2),
                likelihood=SYMBOLS,
                latent=2,
                score_samples=20,
            ),
            learning_rate=0.01,
        ),
        *tokens(),
        variant=True,
    ),
    'vae_transformer': Case(
        GradientTrainer(
            model=VAE(
                encoder=SMALL,
                decoder=TransformerDecoder(layers=1, heads=2, width=8, window=4),
                likelihood=SYMBOLS,
                latent=2,
                score_samples=20,
            ),
            learning_rate=0.01,
        ),
        *tokens(),
        variant=True,
    ),
    'vae_planar': Case(
        vae(Bernoulli(), posterior=Flowing(bijection=Stack(step=Planar(), layers=2))), *binary(), variant=True
    ),
    'vae_iaf': Case(
        vae(Bernoulli(), posterior=Flowing(bijection=Stack(step=SMALL_IAF, layers=2), context=3)),
        *binary(),
        variant=True,
    ),
    'vae_spherical': Case(
        GradientTrainer(
            model=VAE(
                encoder=SMALL,
                decoder=SMALL,
                latent=3,
                posterior=VonMisesFisher(),
                prior=UniformSphere(),
                score_samples=1,  # what training betters is the ELBO: with more draws a decoder at random scores well
            ),
            learning_rate=0.01,
        ),
        *binary(),
        variant=True,
    ),
    'vae_vamp': Case(vae(Bernoulli(), prior=VampPrior(inputs=4)), *binary(), variant=True),
    'vae_mixture_prior': Case(
        vae(Gaussian(), prior=Density(model=GaussianMixture(components=2))), *real(), variant=True
    ),
    'vae_after_the_fact': Case(vae(Bernoulli(), prior=AfterTheFact(density=GaussianMixture(components=1))), *binary()),
    'vae_warm_up': Case(vae(Bernoulli(), rate=FreeBits(nats=0.05), warm_up=5), *binary(), variant=True),
    'vae_capacity': Case(vae(Bernoulli(), rate=Capacity(nats=0.05, steps=5)), *binary()),
    'vae_tc': Case(vae(Bernoulli(), regulariser=TotalCorrelation(weight=0.5)), *binary(), variant=True),
    'vae_dip': Case(vae(Bernoulli(), regulariser=DIP(kind='II', diagonal=1.0)), *binary(), variant=True),
    'vae_mmd': Case(vae(Bernoulli(), regulariser=MMD(weight=1.0)), *binary(), variant=True),
    'vae_stl': Case(vae(Bernoulli(), objective=ELBO(gradient='stl')), *binary(), variant=True),
    'iwae_dreg': Case(
        vae(Bernoulli(), objective=ImportanceWeighted(samples=3, gradient='dreg')), *binary(), variant=True
    ),
    'piwae': Case(vae(Bernoulli(), objective=PIWAE(samples=2, groups=2)), *binary(), variant=True),
    'ciwae': Case(vae(Bernoulli(), objective=CIWAE(samples=3, mix=0.3)), *binary(), variant=True),
    'hierarchical_vae_chain': Case(
        hierarchical('chain', objective=ImportanceWeighted(samples=3)), *binary(), variant=True
    ),
    'hierarchical_vae_skip': Case(hierarchical('skip', prior=VampPrior(inputs=4), warm_up=5), *binary()),
    'vq_vae': Case(
        vq_vae(
            Codebook(codes=3),
            Causal(net=Transformer(layers=1, heads=2, width=8, window=2)),
            Categorical(levels=3),
        ),
        *integer(),
    ),
    'vq_vae_gaussian': Case(
        vq_vae(Codebook(codes=3), Masked(net=MADE(hidden=(8,))), Gaussian()), *real(), variant=True
    ),
    'fsq': Case(
        vq_vae(FSQ(levels=(3, 2)), Masked(net=MADE(hidden=(8,))), Categorical(levels=3)), *integer(), variant=True
    ),
    'rae_l2': Case(autoencoder(code_weight=0.1, smooth='l2', prior=AFTER), *binary()),
    'rae_gradient': Case(
        autoencoder(code_weight=0.1, smooth='gradient', decoder_weight=1e-3, prior=AFTER), *binary(), variant=True
    ),
    'wae_mmd': Case(autoencoder(regulariser=MMD(weight=1.0)), *binary(), variant=True),
    'adversarial_autoencoder': Case(
        AdversarialTrainer(model=AdversarialAutoencoder(autoencoder=autoencoder().model, critic=SMALL), ema=0.9),
        *binary(),
    ),
    'factor_vae': Case(
        AdversarialTrainer(
            model=FactorVAE(vae=vae(Bernoulli()).model, critic=SMALL, gamma=1.0, score_samples=20),
            learning_rate=1e-3,
            ema=0.5,
        ),
        *binary(),
    ),
    'vae_gan': Case(
        AdversarialTrainer(
            model=VAEGAN(encoder=SMALL, decoder=SMALL, features=SMALL, feature_size=4, latent=2, output='identity')
        ),
        *real(),
    ),
    'vae_of_k': Case(vae(Bernoulli(), objective=ImportanceWeighted(samples=1, groups=3)), *binary()),
    'iwae': Case(vae(Bernoulli(), objective=ImportanceWeighted(samples=3)), *binary()),
    'miwae': Case(vae(Gaussian(), objective=ImportanceWeighted(samples=3, groups=2)), *real()),
    'gan': Case(gan(NonSaturating()), *real()),
    'gan_hinge': Case(gan(Hinge()), *real()),
    'wgan_gp': Case(gan(Wasserstein(), penalty=GradientPenalty()), *real()),
    'dcgan': Case(
        AdversarialTrainer(
            model=GAN(generator=dcgan.Generator(width=4), critic=dcgan.Critic(width=4), latent=2), ema=0.9
        ),
        *images(),
    ),
    'independent_bernoulli': Case(EMTrainer(model=Independent(likelihood=Bernoulli())), *binary()),
    'independent_continuous_bernoulli': Case(
        EMTrainer(model=Independent(likelihood=ContinuousBernoulli())), *images(), variant=True
    ),
    'independent_categorical': Case(EMTrainer(model=Independent(likelihood=Categorical(levels=3))), *integer()),
    'independent_gaussian': Case(EMTrainer(model=Independent(likelihood=Gaussian())), *real()),
    'gaussian_mixture': Case(EMTrainer(model=GaussianMixture(components=2, variance_floor=1e-2)), *real()),
    'gaussian_mixture_restarts': Case(
        EMTrainer(model=GaussianMixture(components=2, variance_floor=1e-2), restarts=3, tolerance=1e-6), *real()
    ),
    'gaussian_mixture_gradient': Case(GradientTrainer(model=GaussianMixture(components=2)), *real()),
    'gaussian_mixture_spherical': Case(
        EMTrainer(model=GaussianMixture(components=2, covariance='spherical', variance_floor=1e-2)), *real()
    ),
    'gaussian_mixture_tied': Case(
        EMTrainer(model=GaussianMixture(components=2, covariance='tied', start='k-means++', variance_floor=1e-2)),
        *real(),
    ),
    'gaussian_mixture_full': Case(
        EMTrainer(model=GaussianMixture(components=2, covariance='full', variance_floor=1e-2)), *real()
    ),
    'gaussian_mixture_full_gradient': Case(
        GradientTrainer(model=GaussianMixture(components=2, covariance='full')), *real()
    ),
    'categorical_mixture': Case(EMTrainer(model=CategoricalMixture(components=2, values=3)), *integer()),
    'factor_analysers': Case(EMTrainer(model=FactorAnalysers(components=2, factors=1)), *real()),
    'factor_analysers_gradient': Case(
        GradientTrainer(model=FactorAnalysers(components=2, factors=1, noise='diagonal')), *real()
    ),
    'ppca': Case(EMTrainer(model=PPCA(factors=1)), *real()),
    'kernel_density': Case(EMTrainer(model=KernelDensity(bandwidths=(0.3, 0.1), block=10)), *real(), batch_size=ROWS),
    'histogram': Case(EMTrainer(model=Histogram(bins=4)), *images()),
    'nearest_copy': Case(EMTrainer(model=NearestCopy()), *real(), batch_size=ROWS),
    'bernoulli_mixture': Case(EMTrainer(model=BernoulliMixture(components=2)), *binary()),
    'bernoulli_mixture_gradient': Case(GradientTrainer(model=BernoulliMixture(components=2)), *binary()),
    'chow_liu': Case(EMTrainer(model=ChowLiu(alpha=0.1)), *binary(), batch_size=ROWS),
    'hidden_chow_liu': Case(EMTrainer(model=HiddenChowLiu(states=2)), *binary()),
    'hidden_chow_liu_stepwise': Case(StepwiseEMTrainer(model=HiddenChowLiu(states=2)), *binary()),
    'hidden_chow_liu_gradient': Case(GradientTrainer(model=HiddenChowLiu(states=2), learning_rate=0.03), *binary()),
    'hidden_chow_liu_mixture': Case(EMTrainer(model=HiddenChowLiu(states=2, trees=2, lean=0.5)), *binary()),
    'hidden_chow_liu_ramp': Case(
        StepwiseEMTrainer(model=HiddenChowLiu(states=2, trees=2), step_size=0.9, final_step_size=0.1, ramp=5), *binary()
    ),
    'hidden_chow_liu_mixture_gradient': Case(
        GradientTrainer(model=HiddenChowLiu(states=2, trees=2), learning_rate=0.03), *binary()
    ),
    'tree_mixture': Case(EMTrainer(model=TreeMixture(components=3)), *binary(5)),
    'quad_tree': Case(EMTrainer(model=QuadTree(states=2, values=3)), *integer()),
    'quad_tree_stepwise': Case(StepwiseEMTrainer(model=QuadTree(states=2, values=0)), *binary()),
    'quad_tree_gradient': Case(GradientTrainer(model=QuadTree(states=2, values=3), learning_rate=0.03), *integer()),
    'hmm': Case(EMTrainer(model=HMM(states=2, emission=CategoricalEmission(levels=3), context=1)), *tokens()),
    'persistence': Case(EMTrainer(model=Persistence(context=0)), *binary()),
    'chord_chain': Case(
        EMTrainer(model=ChordChain(context=0, base=Persistence(context=0))), *binary(), batch_size=ROWS
    ),
    'recurrent_tanh': Case(
        GradientTrainer(model=SequenceModel(net=Recurrent(cell='tanh', width=4), context=0), learning_rate=0.03),
        *binary(),
    ),
    'recurrent_gru': Case(
        GradientTrainer(model=SequenceModel(net=Recurrent(cell='gru', width=4), context=0), learning_rate=0.03),
        *binary(),
    ),
    'recurrent_lstm': Case(
        GradientTrainer(
            model=SequenceModel(net=Recurrent(cell='lstm', width=4), weight_noise=0.01, context=0), learning_rate=0.03
        ),
        *binary(),
    ),
    'lds': Case(EMTrainer(model=LinearDynamicalSystem(states=2, variance_floor=1e-2)), *real()),
    'lds_gradient': Case(GradientTrainer(model=LinearDynamicalSystem(states=2)), *real()),
    'flow_maf': Case(GradientTrainer(model=Flow(bijection=Stack(step=MAF(net=MADE(hidden=(8,))), layers=2))), *real()),
    'flow_iaf': Case(GradientTrainer(model=Flow(bijection=SMALL_IAF)), *real(), variant=True),
    'flow_real_nvp': Case(GradientTrainer(model=Flow(bijection=RealNVP(net=SMALL))), *real(), variant=True),
    'flow_planar': Case(GradientTrainer(model=Flow(bijection=Stack(step=Planar(), layers=2))), *real(), variant=True),
    'made': Case(GradientTrainer(model=Autoregressive(net=MADE(hidden=(8,))), learning_rate=0.03), *binary()),
    'nade': Case(GradientTrainer(model=Autoregressive(net=NADE(hidden=8, chunk=2)), learning_rate=0.03), *binary()),
    'rbm': Case(
        GradientTrainer(
            model=RBM(hidden=2, visible=3, chains=64, scale=0.3, sample_steps=100), learning_rate=0.3, optimiser=Sgd()
        ),
        *binary(),
    ),
    'ngram': Case(EMTrainer(model=NGram(order=2, context=1, values=3)), *tokens(), batch_size=ROWS),
    'ngram_add_k': Case(
        EMTrainer(model=NGram(order=2, smoothing=AddK(k=0.5), context=1, values=3)), *tokens(), batch_size=ROWS
    ),
    'ngram_kneser_ney': Case(
        EMTrainer(model=NGram(order=2, smoothing=KneserNey(), context=1, values=3)), *tokens(), batch_size=ROWS
    ),
    'ppm': Case(EMTrainer(model=PPM(order=1, context=1, values=3)), *tokens(), batch_size=ROWS),
    'transformer': Case(
        GradientTrainer(
            model=LanguageModel(net=Transformer(layers=1, heads=2, width=8, window=4), window=4, context=1, values=3)
        ),
        *tokens(),
    ),
    'transformer_dropout': Case(
        GradientTrainer(
            model=LanguageModel(
                net=Transformer(layers=1, heads=2, width=8, window=4, dropout=0.2), window=4, context=1, values=3
            )
        ),
        *tokens(),
    ),
    'gru': Case(GradientTrainer(model=LanguageModel(net=Recurrent(width=8), window=4, context=1, values=3)), *tokens()),
}
