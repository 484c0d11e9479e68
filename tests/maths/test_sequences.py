"""A sequence scores what is there and not given, position by position, and says what it is no likelihood of."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.maths.likelihoods import Bernoulli, Categorical, Gaussian, misfit
from research.maths.sequences import Sequence
from research.types import Domain

TEXT = Sequence(of=Categorical(levels=3), context=1, positions=4)
ROLL = Sequence(of=Bernoulli(), context=0, positions=2)
SYMBOLS = jnp.array([[-1, 0, 2, 1, 2], [1, 1, 0, -1, -1]])
CHORDS = jnp.array([[[1.0, 0.0], [0.0, 0.0], [-1.0, -1.0]], [[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]])


def drawn(shape: tuple[int, ...]) -> jax.Array:
    return jax.random.normal(jax.random.key(0), shape)


def test_symbols_that_are_there_and_not_given_are_scored() -> None:
    outputs = drawn((2, 5, 3))
    log_p = np.asarray(jax.nn.log_softmax(outputs))
    expected = [log_p[0, [1, 2, 3, 4], [0, 2, 1, 2]].sum(), log_p[1, [1, 2], [1, 0]].sum()]
    np.testing.assert_allclose(TEXT.log_prob(outputs, SYMBOLS), expected, rtol=1e-5)
    one = drawn((1, 5, 3))  # constant outputs, as a model without a net has them
    np.testing.assert_allclose(
        TEXT.log_prob(one, SYMBOLS), TEXT.log_prob(jnp.repeat(one, 2, axis=0), SYMBOLS), rtol=1e-6
    )


def test_frames_that_are_there_are_scored() -> None:
    outputs = drawn((2, 3, 2))
    expected = [Bernoulli().log_prob(outputs[:1, :2], CHORDS[:1, :2]), Bernoulli().log_prob(outputs[1:], CHORDS[1:])]
    np.testing.assert_allclose(ROLL.log_prob(outputs, CHORDS), jnp.concatenate(expected), rtol=1e-5)


def test_constant_outputs_are_frequencies_of_what_is_there() -> None:
    symbols = TEXT.solve(TEXT.statistics(SYMBOLS, jnp.zeros(5)), 0.5, jnp.zeros(5))
    assert symbols.shape == TEXT.shape((5,))
    np.testing.assert_allclose(jnp.exp(symbols), np.tile([2.5, 3.5, 2.5], (5, 1)), rtol=1e-5)
    keys = ROLL.solve(ROLL.statistics(CHORDS, jnp.zeros((3, 2))), 1.0, jnp.zeros((3, 2)))
    np.testing.assert_allclose(jax.nn.sigmoid(keys), np.tile([4 / 7, 3 / 7], (3, 1)), rtol=1e-5)  # of five frames


def test_what_is_drawn_is_what_is_scored_and_nothing_is_seen_as_zeros() -> None:
    assert TEXT.window == 4
    assert TEXT.sample(drawn((2, 5, 3)), jax.random.key(1)).shape == (2, 4)
    np.testing.assert_array_equal(TEXT.embed(SYMBOLS)[0, 0], 0)
    np.testing.assert_array_equal(ROLL.embed(CHORDS)[0, 2], 0)
    np.testing.assert_array_equal(TEXT.mean(jnp.array([[[0.0, 2.0, 1.0]]])), [[1]])


@pytest.mark.parametrize(
    ('likelihood', 'domain', 'words'),
    [
        (TEXT, Domain(kind='integer', shape=(5,), values=3), 'an example here is neither'),
        (ROLL, Domain(kind='binary', shape=(2,), unit='time step'), 'an example here is neither'),
        (Sequence(of=Gaussian()), Domain(kind='tokens', shape=(5,), values=3), 'Gaussian scores real or unit data'),
        (TEXT, Domain(kind='tokens', shape=(5,), values=4), 'levels=3, and the data have 4'),
        (
            Categorical(levels=3),
            Domain(kind='tokens', shape=(5,), values=3),
            r'set likelihood=Sequence\(of=Categorical',
        ),
        (Bernoulli(), Domain(kind='binary', shape=(3, 2), unit='time step'), r'set likelihood=Sequence\(of=Bernoulli'),
    ],
)
def test_a_misfit_is_said_in_words(likelihood: Sequence, domain: Domain, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(misfit(likelihood, domain))


def test_what_fits_is_let_pass() -> None:
    assert misfit(TEXT, Domain(kind='tokens', shape=(5,), values=3, context=1)) is None
    assert misfit(ROLL, Domain(kind='binary', shape=(3, 2), unit='time step')) is None
    assert misfit(Bernoulli(), Domain(kind='binary', shape=(2,), unit='time step')) is None
