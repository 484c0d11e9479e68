"""What the watch says of training that goes wrong, that it says nothing of training that does not, and what is done then."""

from __future__ import annotations

import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from research.data import Images, Text, Toy
from research.engine import fit, loop, watch
from research.engine.plan import Plan
from research.engine.watch import Limits, Watch, spread, wrong
from research.maths import preprocess
from research.maths.adversarial import GradientPenalty, Hinge, Wasserstein
from research.maths.bounds import ImportanceWeighted
from research.maths.likelihoods import Bernoulli, Gaussian
from research.models.gan import GAN
from research.models.language import LanguageModel
from research.models.mixture import GaussianMixture
from research.models.vae import VAE
from research.nets.attention import Transformer
from research.nets.mlp import MLP
from research.trainers.adversarial import AdversarialTrainer
from research.trainers.em import EMTrainer
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Adam, Sgd
from tests.engine import bowl

DIGITS, BITS = Images(name='digits', values='dequantise'), Images(name='digits', values='binarise')
RING = Toy(name='ring', train=2000, test=100)
ADAM = Adam()
SMALL, NORMED = MLP(hidden=(32,)), MLP(hidden=(32,), batch_norm=True)


def planned(source: Any, trainer: Any, steps: int, batch_size: int = 50) -> Plan:
    data = source.load()

    def transform(x: Any, key: Any) -> Any:
        return preprocess.prepare(x, data.values, data.levels, key)

    x = np.asarray(data.train.x)
    return Plan(trainer, transform, x, -(-steps // (len(x) // batch_size)), batch_size, 0)


def vae(likelihood: Any, learning_rate: float = 1e-3, optimiser: Any = ADAM, **fields: Any) -> GradientTrainer:
    nets = {'encoder': SMALL, 'decoder': SMALL}
    model = VAE(likelihood=likelihood, **({'latent': 4} | nets | fields))
    return GradientTrainer(model=model, learning_rate=learning_rate, optimiser=optimiser)


def gan(trainer: dict[str, Any] | None = None, **fields: Any) -> AdversarialTrainer:
    model = GAN(**({'generator': NORMED, 'critic': MLP(hidden=(32,), activation='leaky_relu'), 'latent': 8} | fields))
    return AdversarialTrainer(model=model, **(trainer or {}))


def points(trainer: dict[str, Any] | None = None, **fields: Any) -> AdversarialTrainer:
    return gan(trainer, output='identity', **fields)


FAILURES = {
    'NaN or infinity: .*; it began in the .* pass: ': lambda: planned(DIGITS, vae(Gaussian(), 100.0, Sgd()), 400),
    'posterior collapse: none of 4 latent units is active': lambda: planned(
        DIGITS, vae(Gaussian(), 1e-2, beta=100.0), 400
    ),
    'generator collapse: two samples are': lambda: planned(
        DIGITS, gan({'learning_rate': 1.0, 'critic_learning_rate': 1e-3}), 400
    ),
    'critic saturation: its loss is': lambda: planned(
        DIGITS, gan({'learning_rate': 1e-8, 'critic_learning_rate': 1e-2}), 400
    ),
}


@pytest.mark.parametrize('what', FAILURES)
def test_a_failure_is_found_within_200_steps(what: str) -> None:
    plan = FAILURES[what]()
    with pytest.raises(fit.Diverged, match=f'^{what}') as stop:
        fit.fit(plan, None, watch=Watch(), quiet=True)
    found = re.search(r'epoch (\d+), step (\d+)', str(stop.value))
    assert found is not None
    assert (int(found[1]) - 1) * plan.steps + int(found[2]) <= 200


LANGUAGE = LanguageModel(net=Transformer(layers=1, heads=2, width=16, window=15), window=15, context=1, values=128)
HEALTHY = {
    'vae_digits': (DIGITS, vae(Gaussian())),
    'vae_digits_slow': (DIGITS, vae(Gaussian(), 1e-4)),
    'vae_ring': (RING, vae(Gaussian(floor=0.005), latent=2, optimiser=Adam(clip=1.0))),
    'vae_bits': (BITS, vae(Bernoulli())),
    'iwae_bits': (BITS, vae(Bernoulli(), objective=ImportanceWeighted(samples=5))),
    'gan_digits': (DIGITS, gan({'ema': 0.995})),
    'gan_digits_hinge': (DIGITS, gan({'critic_steps': 2}, adversary=Hinge())),
    'gan_ring': (RING, points()),
    'wgan_gp_ring': (RING, points(adversary=Wasserstein(), penalty=GradientPenalty())),
    'mixture_gradient': (DIGITS, GradientTrainer(model=GaussianMixture(components=10), learning_rate=1e-2)),
    'mixture_em': (RING, EMTrainer(model=GaussianMixture(components=10))),
    'transformer': (Text(name='python_reference', length=15), GradientTrainer(model=LANGUAGE, learning_rate=3e-3)),
}


@pytest.mark.parametrize('name', HEALTHY)
def test_no_alarm_of_a_healthy_run(name: str) -> None:
    fit.fit(planned(*HEALTHY[name], 500), None, watch=Watch(), quiet=True)


def test_the_spread_is_the_mean_distance_of_two_examples() -> None:
    x = np.random.default_rng(0).normal(size=(7, 2, 3)).astype(np.float32)
    flat = x.reshape(7, -1)
    distances = [np.linalg.norm(a - b) for i, a in enumerate(flat) for b in flat[:i]]
    assert float(spread(jnp.asarray(x))) == pytest.approx(np.mean(distances), rel=1e-5)
    assert float(spread(jnp.full((5, 3), 7.0))) == 0


def looked(**figures: float) -> dict[str, str]:
    """What looks wrong, where the figures of the look before were a bit better."""
    memory = {'figures': {k: 1.1 * v for k, v in figures.items()}, 'first': 5.0, 'best': 1.0}
    return wrong(figures, memory, Limits())


def test_each_limit() -> None:
    code = {'units': 8.0, 'examples': 256.0}
    assert 'posterior' in looked(code_variance=9e-4, active_units=0, **code)
    assert not looked(code_variance=2e-3, active_units=0, **code)
    assert 'diversity' in looked(diversity=0.004)
    assert not looked(diversity=0.006)
    assert 'critic' in looked(critic_loss=1e-3, real_logit=6.0, fake_logit=-6.0)
    assert not looked(critic_loss=1e-3, real_logit=0.5, fake_logit=0.0)  # it does not tell them apart
    assert not looked(critic_loss=-50.0, real_logit=30.0, fake_logit=-20.0)  # a Wasserstein loss is minus the gap
    assert 'loss' in looked(loss=502.0)
    assert not looked(loss=500.0)
    assert not looked(loss=502.0, critic_loss=1.0)  # a generator's loss is no measure


def test_what_is_low_and_rises_recovers() -> None:
    memory = {'figures': {'diversity': 0.003}, 'first': None, 'best': None}
    assert not wrong({'diversity': 0.0031}, memory, Limits())
    assert wrong({'diversity': 0.0029}, memory, Limits())
    memory['figures'] = {'diversity': 0.00001}
    assert wrong({'diversity': 0.00002}, memory, Limits())  # far below, a standstill is no better


def test_it_sees_the_same_however_an_epoch_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    def looks(piece: int) -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = []
        with monkeypatch.context() as patch:
            patch.setattr(loop.Loop, 'pace', lambda self, last: setattr(self, 'piece', piece))
            patch.setattr(watch, 'wrong', lambda now, memory, limits: seen.append(now | {'at': memory['at']}) or {})
            fit.fit(bowl.plan(epochs=6), None, watch=Watch(Limits(every=10, grace=0)), quiet=True)
        return seen

    seen = looks(1000)
    assert [look['at'] for look in seen] == [[1, 4], [3, 2], [4, 6]]
    assert all(look['loss'] > 0 for look in seen)
    assert seen == looks(1)
