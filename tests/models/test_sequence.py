"""A recurrent net over chords: its likelihood frame by frame, all sequences enumerated, and what is not there."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from research.models.sequence import SequenceModel
from research.nets.recurrent import Recurrent
from research.trainers.gradient import GradientTrainer
from research.types import Domain

KEY = jax.random.key(0)
TIME, KEYS = 3, 2
BITS = (np.random.default_rng(0).random((6, TIME, KEYS)) < 0.4).astype(np.float32)
BITS[1, 2:], BITS[2, 1:], BITS[3] = -1, -1, -1  # two steps, one, none
EVERY = np.array(list(itertools.product((0, 1), repeat=TIME * KEYS)), np.float32).reshape(-1, TIME, KEYS)
MODEL = SequenceModel(net=Recurrent(cell='gru', width=4), context=0)


def start(model: SequenceModel = MODEL) -> Any:
    """Weights some way from where they begin."""
    params = jax.jit(model.init)(KEY, jnp.asarray(BITS))
    keys = iter(jax.random.split(jax.random.key(1), 20))
    return jax.tree.map(lambda leaf: leaf + 0.7 * jax.random.normal(next(keys), leaf.shape), params)


def test_each_frame_is_scored_given_those_before() -> None:
    """Frame by frame: the net is run on what came before it, and no more."""
    params = start()
    offset, expected = np.asarray(params['constants']['offset'], np.float64), np.zeros(len(BITS))
    for t in range(TIME):
        seen = np.concatenate([np.zeros((len(BITS), 1, KEYS)), np.maximum(BITS[:, :t], 0)], axis=1)
        o = (
            np.asarray(MODEL.net.apply(params['net'], seen.astype(np.float32), (t + 1, KEYS)), np.float64)[:, -1]
            + offset
        )
        log_p = np.where(BITS[:, t] == 1, special.log_expit(o), special.log_expit(-o))
        expected += np.where(BITS[:, t] >= 0, log_p, 0).sum(axis=1)
    found = jax.jit(MODEL.log_prob)(params, BITS, KEY)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found[3] == 0
    loss = MODEL.loss(params, BITS, KEY).loss
    assert float(loss) == pytest.approx(-expected.sum() / (BITS >= 0).any(axis=2).sum(), rel=1e-5)


@pytest.mark.parametrize('cell', ['tanh', 'gru', 'lstm'])
def test_probabilities_sum_to_one_and_samples_fall_as_they_say(cell: Any) -> None:
    """All 64 sequences; 20000 draws by a scan that goes on from what it carries, within four standard errors."""
    model, n = SequenceModel(net=Recurrent(cell=cell, width=4, layers=2), context=0), 20_000
    params = start(model)
    p = np.exp(np.asarray(jax.jit(model.log_prob)(params, EVERY, KEY), np.float64))
    assert p.sum() == pytest.approx(1, abs=1e-5)
    drawn = np.asarray(jax.jit(lambda p: model.sample(p, KEY, n, (TIME, KEYS)))(params)).reshape(n, -1)
    found = np.bincount(drawn.astype(int) @ (1 << np.arange(TIME * KEYS))[::-1], minlength=len(EVERY)) / n
    assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-6).all()


def test_what_is_given_is_not_scored() -> None:
    params, given = start(), SequenceModel(net=MODEL.net, context=1)
    first = MODEL.log_prob(params, np.where(np.arange(TIME)[:, None] < 1, BITS, -1), KEY)
    expected = np.asarray(MODEL.log_prob(params, BITS, KEY)) - first
    np.testing.assert_allclose(given.log_prob(params, BITS, KEY), expected, atol=1e-5)
    assert float(given.loss(params, BITS, KEY).loss) == pytest.approx(float(MODEL.loss(params, BITS, KEY).loss))


def test_noise_on_the_weights_is_anew_for_each_batch_and_not_in_the_score() -> None:
    params, loud = start(), SequenceModel(net=MODEL.net, weight_noise=0.5, context=0)
    losses = {float(loud.loss(params, BITS, jax.random.key(i)).loss) for i in range(4)}
    assert len(losses) == 4
    np.testing.assert_array_equal(loud.log_prob(params, BITS, KEY), MODEL.log_prob(params, BITS, KEY))


def test_a_batch_without_a_step_moves_nothing() -> None:
    """Keys that never sound have finite logits too, and a key that was silent in training may sound."""
    x = np.zeros((4, TIME, KEYS), np.float32)
    trainer = GradientTrainer(model=MODEL)
    state = jax.jit(trainer.init)(KEY, x)
    after, metrics = jax.jit(trainer.step)(state, np.full_like(x, -1), KEY)
    jax.tree.map(np.testing.assert_array_equal, trainer.params(after), trainer.params(state))
    assert float(metrics['loss']) == 0
    assert np.isfinite(MODEL.log_prob(trainer.params(after), x + 1, KEY)).all()


def test_what_it_cannot_take_is_said() -> None:
    assert MODEL.fits(Domain(kind='binary', shape=(160, 88), unit='time step')) is None
    assert 'data.pieces=true' in str(MODEL.fits(Domain(kind='binary', shape=(88,), unit='time step')))
    assert 'not tokens' in str(MODEL.fits(Domain(kind='tokens', shape=(9,), values=3)))
