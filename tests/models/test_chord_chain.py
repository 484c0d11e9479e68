"""The chain over chords against a dictionary of counts, and against sums over all sequences of chords."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.models import chord_chain
from research.models.chord_chain import ChordChain
from research.models.persistence import Persistence
from research.types import Domain

KEY = jax.random.key(0)
TIME, KEYS = 3, 2
RNG = np.random.default_rng(1)
BITS = (RNG.random((12, TIME, KEYS)) < 0.3).astype(np.float32)
BITS[1, 2:], BITS[2, 1:], BITS[3], BITS[4, :1], BITS[5, 1] = -1, -1, -1, -1, -1  # two steps, one, none, late, a gap
BITS[(BITS == 1).all(axis=2)] = 0  # one chord of the four is never heard
EVERY = np.array(list(itertools.product((0, 1), repeat=TIME * KEYS)), np.float32).reshape(-1, TIME, KEYS)


def chain(order: int = 2, memory: bool = True, context: int = 0) -> ChordChain:
    return ChordChain(order=order, base=Persistence(memory=memory, context=context), context=context)


def fitted(model: ChordChain, x: np.ndarray = BITS) -> Any:
    def fit(x: jax.Array) -> Any:
        begun = model.init(KEY, x)
        return model.solve(begun, model.statistics(begun, x)[0])

    return jax.jit(fit)(jnp.asarray(x))


def chords(piece: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(row) for row in piece.astype(int) if (row >= 0).all()]


def reference(model: ChordChain, params: Any, train: np.ndarray, piece: np.ndarray) -> float:
    """Eq. 1 by dictionaries."""
    counts: list[Counter[Any]] = [Counter() for _ in range(model.order + 1)]
    for one in train:
        heard = chords(one)
        for k in range(1, model.order + 1):
            counts[k].update(tuple(heard[i - k + 1 : i + 1]) for i in range(k - 1, len(heard)))
    total, heard = 0.0, chords(piece)
    base = np.asarray(model.base.nats(params['base'], chord_chain.whole(chord_chain.steps(jnp.asarray(piece)[None]))))
    base = base[0][(piece >= 0).all(axis=1)].sum(axis=1)
    for i in range(len(heard)):
        p = float(np.exp(base[i]))
        for k in range(1, min(model.order, i + 1) + 1):
            before = tuple(heard[i - k + 1 : i])
            after = {gram: n for gram, n in counts[k].items() if gram[:-1] == before}
            if after:
                p = (after.get((*before, heard[i]), 0) + len(after) * p) / (sum(after.values()) + len(after))
        total += np.log(p)
    return total


@pytest.mark.parametrize(('order', 'memory'), [(1, False), (2, True), (3, True)])
def test_it_is_a_dictionary_of_counts(order: int, memory: bool) -> None:
    model = chain(order, memory)
    params = fitted(model)
    pieces = np.concatenate([BITS, EVERY[::5]])
    expected = [reference(model, params, BITS, piece) for piece in pieces]
    np.testing.assert_allclose(jax.jit(model.log_prob)(params, pieces, KEY), expected, rtol=1e-4, atol=1e-6)
    assert expected[3] == 0
    heard = [chords(piece) for piece in BITS]
    grams = {tuple(h[i : i + k]) for h in heard for k in range(1, order + 1) for i in range(len(h) - k + 1)}
    assert model.size(params) == len(grams) + 3 * KEYS


@pytest.mark.parametrize(('order', 'memory'), [(2, True), (3, False)])
def test_probabilities_sum_to_one_and_samples_fall_as_they_say(order: int, memory: bool) -> None:
    """Over all 64 sequences of four chords, one of them never heard; 20000 draws, within four standard errors."""
    model, n = chain(order, memory), 20_000
    params = fitted(model)
    p = np.exp(np.asarray(jax.jit(model.log_prob)(params, EVERY, KEY), np.float64))
    assert p.sum() == pytest.approx(1, abs=1e-5)
    assert (p > 0).all()
    drawn = np.asarray(jax.jit(lambda p: model.sample(p, KEY, n, (TIME, KEYS)))(params)).reshape(n, -1)
    found = np.bincount(drawn.astype(int) @ (1 << np.arange(TIME * KEYS))[::-1], minlength=len(EVERY)) / n
    assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-6).all()


def test_chords_of_more_than_one_word_are_told_apart() -> None:
    """88 keys are three words; rows that differ in one bit anywhere, all ones and all zeros among them."""
    rows = np.concatenate([np.eye(88), np.zeros((1, 88)), np.ones((1, 88)), 1 - np.eye(88)]).astype(np.int32)
    words = chord_chain.pack(jnp.asarray(rows))
    assert words.shape == (178, 3)
    np.testing.assert_array_equal(chord_chain.unpack(words, 88), rows)
    twice = jnp.concatenate([words, words[::2]])
    level = jax.jit(lambda w: chord_chain.count(w, jnp.ones(len(w), bool), 300))(twice)
    found = np.asarray(chord_chain.find(level, words, jnp.ones(178, bool)))
    assert sorted(found) == list(range(178))
    np.testing.assert_array_equal(level['counts'][found], np.where(np.arange(178) % 2, 1, 2))
    full = jnp.full(
        (1, 1), chord_chain.FULL, jnp.uint32
    )  # what an empty place holds is found only where it was counted
    empty = chord_chain.count(full, jnp.zeros(1, bool), 4)
    assert chord_chain.find(empty, full, jnp.ones(1, bool))[0] == -1
    one = chord_chain.count(full, jnp.ones(1, bool), 4)
    assert chord_chain.find(one, full, jnp.ones(1, bool))[0] == 0


def test_a_row_that_lacks_a_bit_is_no_step() -> None:
    model, x = chain(), BITS.copy()
    score = jax.jit(model.log_prob)
    params = fitted(model)
    x[0, 1, 0] = -1
    without = BITS.copy()
    without[0, 1] = -1
    np.testing.assert_allclose(score(params, x, KEY), score(params, without, KEY))


def test_what_is_given_is_not_scored() -> None:
    whole, given = chain(), chain(context=1)
    params = fitted(whole)
    first = jax.jit(whole.log_prob)(params, np.where(np.arange(TIME)[:, None] < 1, BITS, -1), KEY)
    expected = np.asarray(jax.jit(whole.log_prob)(params, BITS, KEY)) - first
    np.testing.assert_allclose(jax.jit(given.log_prob)(params, BITS, KEY), expected, atol=1e-5)


def test_data_without_a_step_leave_coins() -> None:
    """Nothing was counted: every order leaves the base as it is, and the base gives each bit one half."""
    model = chain(3)
    params = fitted(model, np.full((2, TIME, KEYS), -1, np.float32))
    np.testing.assert_allclose(jax.jit(model.log_prob)(params, EVERY, KEY), TIME * KEYS * np.log(0.5), rtol=1e-5)
    drawn = np.asarray(jax.jit(lambda p: model.sample(p, KEY, 50, (TIME, KEYS)))(params))
    assert set(np.unique(drawn)) == {0.0, 1.0}


def test_what_it_cannot_take_is_said() -> None:
    assert chain().fits(Domain(kind='binary', shape=(160, 88), unit='time step')) is None
    assert 'data.pieces=true' in str(chain().fits(Domain(kind='binary', shape=(88,), unit='time step')))
