"""A VQ-VAE small enough to enumerate: its bound is one, closes, and it draws what it scores."""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from configs import fsq_digits
from research.engine import fit
from research.latents.quantisers import FSQ, Codebook
from research.maths.likelihoods import Gaussian
from research.models.vq_vae import VQVAE, Causal, Masked, use
from research.nets.attention import Transformer
from research.nets.masked import MADE
from research.nets.mlp import MLP
from research.run import prepare
from research.trainers.gradient import GradientTrainer
from research.types import BadInput, Domain

KEY = jax.random.key(0)
NET = MLP(hidden=(8,))
X = (jax.random.uniform(KEY, (24, 3)) < 0.4).astype(jnp.float32)
EVERY = jnp.asarray(list(itertools.product([0.0, 1.0], repeat=3)), jnp.float32)
CAUSAL = Causal(net=Transformer(layers=1, heads=2, width=8, window=2))
TINY: dict[str, VQVAE] = {
    'codebook': VQVAE(
        encoder=NET, decoder=NET, grid=(2,), channels=2, quantiser=Codebook(codes=4, decay=0.9), prior=CAUSAL
    ),
    'fsq': VQVAE(
        encoder=NET, decoder=NET, grid=(2, 1), channels=2, quantiser=FSQ(levels=(3, 2)), prior=Masked(net=MADE(hidden=(8,)))
    ),
}  # fmt: skip
each = pytest.mark.parametrize('model', TINY.values(), ids=TINY.keys())
MASKED = dataclasses.replace(TINY['codebook'], prior=Masked(net=MADE(hidden=(8,))))
quick = pytest.mark.parametrize('model', [MASKED, TINY['fsq']], ids=['codebook', 'fsq'])


def started(model: VQVAE) -> Any:
    """Parameters away from their small beginnings, so that every code matters."""
    params = jax.jit(model.init)(KEY, X)
    own = params.pop('quantiser', None)
    params = jax.tree.map(lambda leaf: 3 * leaf if leaf.ndim > 1 else leaf, params)
    return params | ({'quantiser': own} if own else {})


def exact(model: VQVAE, params: Any, x: jax.Array) -> np.ndarray:
    """log p(x) by summing over every grid of codes."""
    grids = jnp.asarray(list(itertools.product(range(model.values), repeat=model.positions)))

    def one(grid: jax.Array) -> jax.Array:
        return model.joint(params, x, jnp.broadcast_to(grid, (x.shape[0], model.positions)))

    return logsumexp(np.asarray(jax.jit(jax.vmap(one))(grids), np.float64), axis=0)


@each
def test_the_bound_is_below_log_p_and_closes(model: VQVAE) -> None:
    """Its exp is unbiased, so 400 means of 20 draws find p(x) within four standard errors; their logarithms are below, by
    less than half of what the codes taken alone are."""
    params, truth = started(model), exact(model, started(model), EVERY)
    assert logsumexp(truth) == pytest.approx(0, abs=1e-4)  # p adds up to one
    alone = np.asarray(jax.jit(dataclasses.replace(model, score_samples=0).log_prob)(params, EVERY, KEY))
    taken = jax.jit(model.codes)(params, EVERY)
    np.testing.assert_allclose(alone, jax.jit(model.joint)(params, EVERY, taken), rtol=1e-5)
    assert (alone < truth).all()
    several = dataclasses.replace(model, score_samples=20, score_chunk=7)
    keys = jax.random.split(KEY, 400)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: several.log_prob(params, EVERY, key)))(keys), np.float64)
    assert (drawn >= alone - 1e-5).all()
    ratios = np.exp(drawn - truth)
    assert (np.abs(ratios.mean(axis=0) - 1) < 4 * ratios.std(axis=0) / np.sqrt(400) + 1e-4).all()
    assert (drawn.mean(axis=0) < truth + 1e-4).all()
    assert (drawn.mean(axis=0) > alone + 0.5 * (truth - alone)).all()


@each
def test_it_draws_what_it_scores(model: VQVAE) -> None:
    params, n = started(model), 20_000
    p = np.exp(exact(model, params, EVERY))
    drawn = np.asarray(jax.jit(lambda params, key: model.sample(params, key, n, (3,)))(params, KEY)).astype(int)
    found = np.bincount(drawn @ [4, 2, 1], minlength=8) / n
    assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-6).all()


@each
def test_the_loss_is_minus_the_bound_of_the_codes_alone_and_what_the_quantiser_asks(model: VQVAE) -> None:
    params = started(model)
    result = jax.jit(model.loss)(params, X, KEY)
    bound = jax.jit(dataclasses.replace(model, score_samples=0).log_prob)(params, X, KEY)
    metrics = result.metrics
    assert float(result.loss) == pytest.approx(float(metrics['commitment'] - bound.mean()), rel=1e-4)
    assert float(metrics['loss'] + metrics['prior_loss']) == pytest.approx(float(result.loss), rel=1e-5)
    assert float(metrics['distortion'] + metrics['commitment']) == pytest.approx(float(metrics['loss']), rel=1e-5)


@quick
def test_the_prior_moves_neither_encoder_nor_decoder(model: VQVAE) -> None:
    """Another prior, the same gradient of the autoencoder; and it does learn."""
    params = started(model)
    other = params | {'prior': jax.tree.map(lambda leaf: leaf + 0.3, params['prior'])}
    gradient = jax.jit(jax.grad(lambda params: model.loss(params, X, KEY).loss, allow_int=True))
    first, second = gradient(params), gradient(other)
    for name in ('encoder', 'decoder'):
        jax.tree.map(np.testing.assert_array_equal, first[name], second[name])
        assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(first[name])) > 1e-3
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(first['prior'])) > 1e-3


def test_the_codebook_moves_on_in_training_and_its_average_is_kept() -> None:
    trainer = GradientTrainer(model=MASKED, ema=0.5)
    state = jax.jit(trainer.init)(KEY, X)
    before = state.mutable['quantiser']['batch_stats']
    state, _ = jax.jit(trainer.step)(state, X, KEY)
    after, averaged = state.mutable['quantiser']['batch_stats'], trainer.params(state)['quantiser']['batch_stats']
    assert float(jnp.abs(after['sums'] - before['sums']).max()) > 1e-3
    for name in ('counts', 'sums'):
        np.testing.assert_allclose(averaged[name], (before[name] + after[name]) / 2, rtol=1e-5, atol=1e-6)
    assert 'quantiser' not in state.params or not jax.tree.leaves(state.params['quantiser'])  # nothing to descend


def test_use_of_codes() -> None:
    found = use(jnp.asarray([[0, 0], [3, 3]]), 8)
    assert float(found['perplexity']) == pytest.approx(2.0)
    assert float(found['used']) == pytest.approx(0.25)
    assert float(use(jnp.arange(8)[None], 8)['perplexity']) == pytest.approx(8.0)


@quick
def test_a_reconstruction_is_the_mean_of_the_codes_taken(model: VQVAE) -> None:
    params = started(model)
    mean = np.asarray(jax.jit(model.reconstruct)(params, X))
    outputs = model.decode(params, model.codes(params, X), (3,))
    np.testing.assert_allclose(mean, 1 / (1 + np.exp(-np.asarray(outputs))), rtol=1e-4, atol=1e-6)


BITS = Domain(kind='binary', shape=(3,))


@pytest.mark.parametrize(
    ('fields', 'said'),
    [
        ({'quantiser': FSQ(levels=(3, 3, 3))}, 'quantiser.levels=3,3,3 are of 3 channels: set channels to that, not 2'),
        ({'grid': (3,)}, 'prior.net.window=2 is less than the 3 positions of the grid'),
        ({'grid': ()}, 'grid is empty'),
        ({'prior': Causal(net=MADE())}, 'prior=Causal takes a Transformer or Recurrent net, not MADE'),  # type: ignore[arg-type]
        ({'prior': Masked(net=Transformer())}, 'prior=Masked takes a MADE or NADE net, not Transformer'),  # type: ignore[arg-type]
        ({'likelihood': Gaussian()}, 'Gaussian scores real or unit data'),
    ],
)
def test_what_does_not_go_together_is_said(fields: dict[str, Any], said: str) -> None:
    model = TINY['codebook']
    assert model.fits(BITS) is None
    assert re.search(re.escape(said), str(dataclasses.replace(model, **fields).fits(BITS)))


def test_a_batch_goes_through_in_one_part() -> None:
    run = fsq_digits.config()
    run = dataclasses.replace(run, trainer=dataclasses.replace(run.trainer, accumulate=2))
    with pytest.raises(BadInput, match='accumulate=2'):
        prepare(run, run.data.load())


def test_it_learns_digits() -> None:
    """A tenth of the config's epochs at three times its rate are enough to better each pixel alone."""
    run = fsq_digits.config()
    data, trainer = run.data.load(), dataclasses.replace(run.trainer, learning_rate=3e-3, schedule=None)
    run, plan = prepare(dataclasses.replace(run, trainer=trainer, epochs=15), data)
    params = trainer.params(fit.fit(plan, None, quiet=True))
    x = jnp.asarray(np.asarray(data.test.x), jnp.float32)
    bound = jax.jit(dataclasses.replace(trainer.model, score_samples=20).log_prob)(params, x, KEY)
    p = (np.asarray(plan.transform(jnp.asarray(plan.x), KEY)).sum(axis=0) + 1) / (len(plan.x) + 2)
    alone = np.where(np.asarray(x) > 0, np.log(p), np.log1p(-p)).reshape(len(x), -1).sum(axis=1)
    assert float(bound.mean()) > alone.mean() + 1
