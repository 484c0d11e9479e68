"""Which part of a VAE matters? One base, one part exchanged at a time, on one table.

    python -m experiments.vae_family --out runs/vae_family                        # all: a quarter of an hour on two cores
    python -m experiments.vae_family --only vae,iwae,vamp --seeds 3               # some, over three seeds

The base is the config vae_digits: scikit-learn's digits, dequantised, a learned Gaussian scale. A variant that scores has to beat
independent pixels by 3 nats of its bound; one that cannot (WAE, RAE, AAE, VAE-GAN) has to draw samples nearer to the test
images, by maximum mean discrepancy on pixels, than one normal with a full covariance does. The table says which do not. Each is a
run folder: `python -m scripts.report runs/vae_family` shows samples and curves.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from experiments.is_it_a_neural_network import DONE, make_room
from research import run as runs
from research.latents.autoregressive import IAF, MAF
from research.latents.bijections import Planar, RealNVP, Stack
from research.latents.flowing import Flowing
from research.latents.posteriors import FullCovariance, VonMisesFisher
from research.latents.priors import AfterTheFact, Density, UniformSphere, VampPrior
from research.maths.bounds import CIWAE, ELBO, PIWAE, ImportanceWeighted
from research.maths.likelihoods import Gaussian
from research.maths.rates import Capacity, FreeBits
from research.maths.regularisers import DIP, MMD, TotalCorrelation
from research.models.adversarial_autoencoder import AdversarialAutoencoder
from research.models.autoencoder import Autoencoder
from research.models.factor_vae import FactorVAE
from research.models.flow import Flow
from research.models.hierarchical_vae import HierarchicalVAE
from research.models.independent import Independent
from research.models.mixture import GaussianMixture
from research.models.vae import VAE
from research.models.vae_gan import VAEGAN
from research.nets.masked import MADE
from research.nets.mlp import MLP
from research.report import leaderboard
from research.report.leaderboard import Column
from research.run import Run
from research.trainers.adversarial import AdversarialTrainer
from research.trainers.em import EMTrainer
from research.trainers.gradient import GradientTrainer
from research.types import BadInput
from scripts import cli, configs

LEAD = 3.0  # nats by which a bound has to beat independent pixels
NET = MLP(hidden=(256, 256))
MIX = GaussianMixture(components=20, variance_floor=1e-3)
MASKED = MADE(hidden=(64,))
SECOND = VAE(encoder=MLP(hidden=(128,)), decoder=MLP(hidden=(128,)), likelihood=Gaussian(), latent=16)


def vae(**parts: Any) -> Any:
    base: dict[str, Any] = {'encoder': NET, 'decoder': NET, 'likelihood': Gaussian(), 'latent': 16}
    return VAE(**(base | parts))


def autoencoder(**parts: Any) -> Any:
    return Autoencoder(encoder=NET, decoder=NET, likelihood=Gaussian(floor=0.05), latent=8, **parts)


def hierarchical(**parts: Any) -> Any:
    names = ('encoder', 'second_encoder', 'top_decoder', 'decoder')
    nets: dict[str, Any] = dict.fromkeys(names, MLP(hidden=(128, 128)))
    return HierarchicalVAE(likelihood=Gaussian(), latent=8, lower_latent=16, **nets, **parts)


MODELS: dict[str, Callable[[], Any]] = {
    'vae': vae,
    'beta_vae': lambda: vae(beta=2.0),
    'warm_up': lambda: vae(warm_up=500),
    'free_bits': lambda: vae(rate=FreeBits(nats=0.1)),
    'capacity': lambda: vae(rate=Capacity(nats=25.0, steps=1000), beta=10.0),
    'stl': lambda: vae(objective=ELBO(gradient='stl')),
    'iwae': lambda: vae(objective=ImportanceWeighted(samples=8)),
    'iwae_dreg': lambda: vae(objective=ImportanceWeighted(samples=8, gradient='dreg')),
    'miwae': lambda: vae(objective=ImportanceWeighted(samples=4, groups=2)),
    'piwae': lambda: vae(objective=PIWAE(samples=4, groups=2)),
    'ciwae': lambda: vae(objective=CIWAE(samples=8, mix=0.05)),
    'beta_tcvae': lambda: vae(regulariser=TotalCorrelation(weight=1.0)),
    'factor_vae': lambda: FactorVAE(vae=vae(), critic=NET, gamma=1.0),
    'dip_vae_1': lambda: vae(regulariser=DIP(kind='I', off_diagonal=1.0, diagonal=1.0)),
    'dip_vae_2': lambda: vae(regulariser=DIP(kind='II', off_diagonal=1.0, diagonal=1.0)),
    'info_vae': lambda: vae(regulariser=MMD(weight=10.0)),
    'full_covariance': lambda: vae(posterior=FullCovariance()),
    'planar': lambda: vae(posterior=Flowing(bijection=Stack(step=Planar(), layers=4), context=16)),
    'iaf': lambda: vae(posterior=Flowing(bijection=Stack(step=IAF(net=MASKED), layers=2), context=32)),
    'spherical': lambda: vae(posterior=VonMisesFisher(), prior=UniformSphere()),
    'mixture_prior': lambda: vae(prior=Density(model=MIX)),
    'vamp': lambda: vae(prior=VampPrior(inputs=50)),
    'maf_prior': lambda: vae(prior=Density(model=Flow(bijection=Stack(step=MAF(net=MASKED), layers=2)))),
    'then_mixture': lambda: vae(prior=AfterTheFact(density=MIX)),
    'then_maf': lambda: vae(prior=AfterTheFact(density=Flow(bijection=Stack(step=MAF(net=MASKED), layers=2)))),
    'two_stage': lambda: vae(prior=AfterTheFact(density=SECOND)),
    'hierarchical': hierarchical,
    'hierarchical_vamp': lambda: hierarchical(prior=VampPrior(inputs=50)),
    'maf': lambda: Flow(bijection=Stack(step=MAF(net=MASKED), layers=3)),
    'real_nvp': lambda: Flow(bijection=Stack(step=RealNVP(net=MLP(hidden=(64,))), layers=3)),
    'wae_mmd': lambda: autoencoder(regulariser=MMD(weight=30.0)),
    'rae_l2': lambda: autoencoder(code_weight=0.5, smooth='l2', decoder_weight=1e-3, prior=AfterTheFact(density=MIX)),
    'rae_gradient': lambda: autoencoder(
        code_weight=0.5, smooth='gradient', decoder_weight=1e-3, prior=AfterTheFact(density=MIX)
    ),
    'aae': lambda: AdversarialAutoencoder(autoencoder=autoencoder(), critic=NET, weight=5.0),
    'vae_gan': lambda: VAEGAN(encoder=NET, decoder=NET, latent=16, feature_weight=10.0),
}
BASELINES: dict[str, Callable[[], Any]] = {
    'independent': lambda: EMTrainer(model=Independent(likelihood=Gaussian())),
    'one_normal': lambda: EMTrainer(model=GaussianMixture(components=1, covariance='full')),
}
ADVERSARIAL = (FactorVAE, AdversarialAutoencoder, VAEGAN)


def build(name: str, seed: int) -> Run:
    """The base with this model in its place."""
    base: Run = dataclasses.replace(configs.build('vae_digits'), seed=seed)
    if name in BASELINES:
        return dataclasses.replace(base, trainer=BASELINES[name](), epochs=2, batch_size=None)
    model = MODELS[name]()
    if isinstance(model, ADVERSARIAL):
        trainer: Any = AdversarialTrainer(model=model, learning_rate=1e-3, critic_learning_rate=5e-4)
    else:
        trainer = GradientTrainer(model=model, learning_rate=1e-3)
    return dataclasses.replace(base, trainer=trainer)


class Figures(NamedTuple):
    """Nats per example in grey levels, None where it cannot score; the distance of samples; seconds of training."""

    nats: float | None
    kind: str
    distance: float
    seconds: float


def figures(name: str, seed: int, folder: Path) -> Figures:
    """Train and score, unless that is done; a run that was stopped goes on."""
    if not (folder / DONE).is_file():
        run = build(name, seed)
        told = 'Baseline.' if name in BASELINES else f'vae_digits with another part: {name}.'
        runs.train(run, folder, config=name, summary=told, resume=True, quiet=not sys.stderr.isatty())
        runs.evaluate_folder(folder, None, 'test', None)
        (folder / DONE).touch()
    found = leaderboard.read(folder).results
    nll, distance = found.get(('test_nll', 'test')), found['pixel_mmd', 'test'].value
    seconds = found['training_seconds', 'train'].value
    return Figures(None if nll is None else nll.value, '' if nll is None else str(nll.kind), distance, seconds)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def short(found: dict[str, list[Figures]]) -> list[str]:
    """Sentences on the variants that do not do what they have to, over all seeds; none where the baselines are missing."""
    least = mean([f.nats for f in found['independent'] if f.nats is not None]) - LEAD
    nearest = mean([f.distance for f in found['one_normal']])
    told = []
    for name, each in found.items():
        scores, distance = [f.nats for f in each if f.nats is not None], mean([f.distance for f in each])
        if name in BASELINES:
            continue
        if scores and mean(scores) > least:
            told.append(f'{name} scores {mean(scores):.1f} nats and had to reach {least:.1f}.')
        if not scores and distance > nearest:
            told.append(f'{name} draws samples at {distance:.5f} and had to be nearer than {nearest:.5f}.')
    return told


def table(found: dict[str, list[Figures]]) -> str:
    """A line for each variant, the best bound first; what cannot score comes after, by the distance of its samples."""

    def nats(name: str) -> float | None:
        scores = [f.nats for f in found[name] if f.nats is not None]
        return mean(scores) if scores else None

    def distance(name: str) -> float:
        return mean([f.distance for f in found[name]])

    def place(name: str) -> tuple[bool, float]:
        score = nats(name)
        return score is None, distance(name) if score is None else score

    order = sorted(found, key=place)
    scores = [nats(name) for name in order]
    kinds = ['<= ' if found[name][0].kind == 'bound' else '' for name in order]
    base = nats('independent')
    columns = {
        'nats': ['' if s is None else f'{kind}{s:.2f}' for s, kind in zip(scores, kinds, strict=True)],
        'ahead of independent': ['' if s is None or base is None else f'{base - s:.2f}' for s in scores],
        'pixel MMD': [f'{distance(name):.5f}' for name in order],
        'seconds': [f'{mean([f.seconds for f in found[name]]):.1f}' for name in order],
    }
    names = Column(key='name', head='', cells=tuple(order), numeric=False)
    shown = [Column(key=head, head=head, cells=tuple(cells)) for head, cells in columns.items()]
    return '\n'.join(leaderboard.aligned([names, *shown]))


def chosen(names: list[str]) -> list[str]:
    for name in names:
        if name not in MODELS:
            raise BadInput(f'--only {name}: expected some of {", ".join(MODELS)}')
    return [*BASELINES, *names]


def main(argv: list[str]) -> int:
    options = flags.FLAGS
    out, names = Path(options.out), chosen(options.only or list(MODELS))
    make_room(out, options.resume)
    found: dict[str, list[Figures]] = {name: [] for name in names}
    for seed in range(options.seeds):
        for name in names:
            began = time.perf_counter()
            found[name].append(figures(name, seed, out / name / str(seed)))
            last = found[name][-1]
            score = 'cannot score' if last.nats is None else f'{last.nats:.2f} nats'
            print(f'{name:<20} seed {seed}  {score:>14}  {time.perf_counter() - began:6.1f} s', flush=True)
    told = [table(found), *short(found)]
    (out / 'table.txt').write_text('\n'.join(told) + '\n', encoding='utf-8')
    print('', *told, sep='\n')
    return 0


def define_flags() -> None:
    flags.DEFINE_string('out', 'runs/vae_family', 'Folder for the runs and the table, table.txt.')
    flags.DEFINE_list('only', [], f'Some of {", ".join(MODELS)}; all where not given.')
    flags.DEFINE_integer('seeds', 1, 'How many seeds of each.', lower_bound=1)
    flags.DEFINE_bool('resume', False, 'Go on with what is in --out.')


if __name__ == '__main__':
    define_flags()
    cli.run(main)
