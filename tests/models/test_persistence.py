"""Each key a chain of its own: against sums over all sequences, and against the chorales' own figure."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from research.data import Music
from research.engine import score
from research.models.persistence import Persistence
from research.types import Domain

KEY = jax.random.key(0)
TIME, KEYS = 3, 2
RNG = np.random.default_rng(0)
BITS = (RNG.random((6, TIME, KEYS)) < 0.4).astype(np.float32)
BITS[1, 2:], BITS[2, 1:], BITS[3], BITS[4, :1] = -1, -1, -1, -1  # two steps, one, none, two behind a gap
EVERY = np.array(list(itertools.product((0, 1), repeat=TIME * KEYS)), np.float32).reshape(-1, TIME, KEYS)
MODEL = Persistence(context=0)


def fitted(model: Persistence = MODEL, x: np.ndarray = BITS) -> Any:
    begun = model.init(KEY, jnp.asarray(x))
    return jax.jit(lambda x: model.solve(begun, model.statistics(begun, x)[0]))(x)


def test_it_counts_and_scores_as_a_loop_does() -> None:
    """The last entry that is there, over gaps, and nothing before the first."""
    counts = np.full((3, 2, KEYS), 0.5)
    gapped = BITS.copy()
    gapped[0, 1] = -1
    pairs = []
    for n, k in itertools.product(range(len(gapped)), range(KEYS)):
        before = 2
        for value in gapped[n, :, k].astype(int):
            if value >= 0:
                counts[before, value, k] += 1
                pairs.append((n, before, value, k))
                before = value
    p, expected = counts / counts.sum(axis=1, keepdims=True), np.zeros(len(gapped))
    for n, before, value, k in pairs:
        expected[n] += np.log(p[before, value, k])
    params = fitted(x=gapped)
    np.testing.assert_allclose(special.expit(np.asarray(params['outputs'])), p[:, 1], rtol=1e-5)
    np.testing.assert_allclose(MODEL.log_prob(params, gapped, KEY), expected, rtol=1e-5)
    assert expected[3] == 0


def test_probabilities_sum_to_one_for_every_length() -> None:
    params = fitted()
    for length in (1, 2, TIME):
        x = np.unique(np.where(np.arange(TIME)[:, None] < length, EVERY, -1), axis=0)
        assert np.exp(np.asarray(MODEL.log_prob(params, x, KEY), np.float64)).sum() == pytest.approx(1, abs=1e-5)


def test_without_memory_every_step_stands_alone() -> None:
    alone = Persistence(memory=False, context=0)
    params = fitted(alone)
    ones, there = (BITS == 1).sum(axis=(0, 1)), (BITS >= 0).sum(axis=(0, 1))
    p = (ones + 0.5) / (there + 1)
    np.testing.assert_allclose(special.expit(np.asarray(params['outputs'])), np.tile(p, (3, 1)), rtol=1e-5)


OBSERVED = np.array([[True, False], [False, False], [False, True]])


def test_marginals_and_conditionals_are_those_of_all_completions() -> None:
    """20000 completions of four missing bits against their 16 exact probabilities, within four standard errors."""
    params, x, n = fitted(), BITS[:1], 20_000
    possible = EVERY[((x == EVERY) | ~OBSERVED).all(axis=(1, 2))]
    joint = np.exp(np.asarray(MODEL.log_prob(params, possible, KEY), np.float64))
    for hidden in (x, np.where(OBSERVED, x, -1), np.where(OBSERVED, x, 1 - x)):
        found = jax.jit(MODEL.log_marginal)(params, hidden, OBSERVED)
        np.testing.assert_allclose(found, np.log(joint.sum()), rtol=1e-5)
    whole = np.ones_like(OBSERVED)
    np.testing.assert_allclose(
        jax.jit(MODEL.log_marginal)(params, BITS, whole), MODEL.log_prob(params, BITS, KEY), atol=1e-5
    )
    drawn = np.asarray(jax.jit(MODEL.conditional)(params, np.repeat(x, n, axis=0), OBSERVED, KEY))
    found = (drawn[:, None] == possible).all(axis=(2, 3)).mean(axis=0)
    p = joint / joint.sum()
    assert found.sum() == pytest.approx(1)
    assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-6).all()


def test_samples_fall_as_they_are_scored() -> None:
    params, n = fitted(), 20_000
    p = np.exp(np.asarray(MODEL.log_prob(params, EVERY, KEY), np.float64))
    drawn = np.asarray(jax.jit(lambda p: MODEL.sample(p, KEY, n, (TIME, KEYS)))(params)).reshape(n, -1)
    found = np.bincount(drawn.astype(int) @ (1 << np.arange(TIME * KEYS))[::-1], minlength=len(EVERY)) / n
    assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-6).all()


def test_what_is_given_is_not_scored() -> None:
    params, given = fitted(), Persistence(context=1)
    first = MODEL.log_prob(params, np.where(np.arange(TIME)[:, None] < 1, BITS, -1), KEY)
    expected = np.asarray(MODEL.log_prob(params, BITS, KEY)) - first
    np.testing.assert_allclose(given.log_prob(params, BITS, KEY), expected, atol=1e-5)
    assert given.log_prob(params, BITS, KEY)[2] == 0  # one step, which is given


def test_keys_that_never_change_and_data_without_a_step_are_defined() -> None:
    for x in (np.zeros((3, 4, 2), np.float32), np.ones((3, 4, 2), np.float32), np.full((3, 4, 2), -1, np.float32)):
        params = fitted(x=x)
        assert np.isfinite(params['outputs']).all()
        assert np.isfinite(MODEL.log_prob(params, 1 - np.abs(x), KEY)).all()


def test_what_it_cannot_take_is_said() -> None:
    assert MODEL.fits(Domain(kind='binary', shape=(160, 88), unit='time step')) is None
    assert 'data.pieces=true' in str(MODEL.fits(Domain(kind='binary', shape=(88,), unit='time step')))
    assert 'not real' in str(MODEL.fits(Domain(kind='real', shape=(3, 2))))


def test_the_chorales_figure(likeness_dir: str) -> None:
    """10.4907 nats per time step over the 4648 steps after the first, smoothing 0.5; and without memory over all 11.0602."""
    for context, memory, expected in ((1, True, 10.4907), (0, False, 11.0602)):
        data = Music(pieces=True, context=context).load(likeness_dir)
        model = Persistence(context=context, memory=memory)
        nats = -np.asarray(jax.jit(model.log_prob)(fitted(model, data.train.x), data.test.x, KEY), np.float64)
        assert nats.sum() / score.units(data.test.x, data.domain).sum() == pytest.approx(expected, abs=5e-5)
