"""PPM against a reader with dictionaries that walks down the contexts as the papers say, and its special cases by hand."""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter, defaultdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.data import Text, tfds
from research.data.text import windows
from research.models.ppm import PPM
from research.types import BadInput, Domain

KEY = jax.random.key(0)
VALUES, ORDER, CONTEXT = 5, 3, 4
RNG = np.random.default_rng(0)
TEXT = tuple(int(v) for v in RNG.choice(4, 150, p=[0.5, 0.3, 0.15, 0.05]))  # symbol 4 is never seen
WHOLE = tuple(int(v) for v in RNG.choice(5, 150, p=[0.4, 0.3, 0.1, 0.1, 0.1]))  # all are, and after '0' too
STRANGE = tuple(int(v) for v in RNG.integers(0, VALUES, 60))
Gram = tuple[int, ...]

exclusions = pytest.mark.parametrize('exclusion', [True, False], ids=['update_exclusion', 'all_updates'])


class Reader:
    """Reads a text symbol by symbol and updates its counts, then says what comes next."""

    def __init__(self, text: Gram, exclusion: bool, order: int = ORDER, values: int = VALUES) -> None:
        self.after: dict[Gram, Counter[int]] = defaultdict(Counter)
        self.order, self.values = order, values
        for end, symbol in enumerate(text):
            for length in range(min(end, order), -1, -1):
                found = self.after[text[end - length : end]]
                novel = not found[symbol]
                found[symbol] += 1
                if exclusion and not novel:
                    break

    def p(self, symbol: int, context: Gram) -> float:
        p, excluded = 1.0, set[int]()
        for length in range(min(len(context), self.order), -1, -1):
            counts = self.after.get(context[len(context) - length :], Counter())
            left = {v: n for v, n in counts.items() if n and v not in excluded}
            if not left:
                continue
            n, t = sum(left.values()), len(left)
            closed = len(excluded) + t == self.values  # the alphabet ends here: nothing to escape to
            whole = 2 * n - t if closed else 2 * n
            if symbol in left:
                return p * (2 * left[symbol] - 1) / whole
            p *= t / whole
            excluded |= set(left)
        return p / (self.values - len(excluded))


def model(exclusion: bool = True, order: int = ORDER) -> PPM:
    return PPM(order=order, update_exclusion=exclusion, context=CONTEXT, values=VALUES)


@functools.cache
def counting(exclusion: bool, order: int) -> Any:
    ours = model(exclusion, order)
    return jax.jit(lambda x: ours.solve({}, ours.statistics({}, x)[0]))


@functools.cache
def fitted(text: Gram, exclusion: bool = True, length: int = 16, order: int = ORDER) -> Any:
    x = jnp.asarray(windows(np.array(text, np.int16), 0, len(text), length, CONTEXT))
    return counting(exclusion, order)(x)


@functools.cache
def score(order: int = ORDER) -> Any:
    return jax.jit(model(order=order).log_prob)


def each(text: Gram, params: Any, order: int = ORDER) -> np.ndarray:
    """log p of every symbol of the text given those before it: windows of one symbol."""
    x = windows(np.array(text, np.int16), 0, len(text), 1, CONTEXT)
    return np.asarray(score(order)(params, jnp.asarray(x), KEY))


def expected(reader: Reader, text: Gram) -> list[float]:
    return [math.log(reader.p(text[i], text[max(0, i - reader.order) : i])) for i in range(len(text))]


@exclusions
@pytest.mark.parametrize('text', [TEXT, WHOLE], ids=['a_symbol_unseen', 'all_seen'])
def test_every_position_equals_the_reader(text: Gram, exclusion: bool) -> None:
    """On the training text and on one with symbols and contexts that were never seen; from the texts' beginnings on."""
    reader, params = Reader(text, exclusion), fitted(text, exclusion)
    for scored in (text, STRANGE):
        np.testing.assert_allclose(each(scored, params), expected(reader, scored), rtol=1e-4, atol=1e-5)


def test_order_zero_is_the_symbols_alone() -> None:
    np.testing.assert_allclose(
        each(STRANGE, fitted(TEXT, order=0), 0), expected(Reader(TEXT, True, 0), STRANGE), rtol=1e-5
    )


@pytest.mark.parametrize('text', [TEXT, WHOLE], ids=['a_symbol_unseen', 'all_seen'])
def test_probabilities_of_the_alphabet_add_up_to_one_in_any_context(text: Gram) -> None:
    contexts = np.array(list(itertools.product(range(-1, VALUES), repeat=3)))
    x = np.full((len(contexts) * VALUES, CONTEXT + 1), -1)
    x[:, -4:-1], x[:, -1] = np.repeat(contexts, VALUES, axis=0), np.tile(np.arange(VALUES), len(contexts))
    p = np.exp(np.asarray(score()(fitted(text), jnp.asarray(x), KEY))).reshape(-1, VALUES)
    assert (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)


def test_escapes_by_hand() -> None:
    """After 0 1 0 2 0 1: '0' was followed by 1 twice and by 2 once; 0, 1 and 2 themselves were new once or after others."""
    reader, params = Reader((0, 1, 0, 2, 0, 1), True, 1), fitted((0, 1, 0, 2, 0, 1), order=1)
    nats = each((0, 1), params, 1)
    assert nats[1] == pytest.approx(math.log(3 / 6), rel=1e-5)
    escape = 2 / 6
    assert each((0, 0), params, 1)[1] == pytest.approx(math.log(escape * (2 * 3 - 1) / (2 * 3)), rel=1e-5)
    assert each((0, 4), params, 1)[1] == pytest.approx(math.log(escape * 1 / (2 * 3) / 2), rel=1e-5)
    assert reader.after[()] == {0: 3, 1: 1, 2: 1}


@pytest.mark.parametrize(
    'text', [(0,), (2, 2, 2, 2, 2, 2), (0, 1, 2, 3), (3, 1)], ids=['one', 'constant', 'once', 'two']
)
def test_the_shortest_texts_have_an_answer(text: Gram) -> None:
    found = each(STRANGE, fitted(text))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected(Reader(text, True), STRANGE), rtol=1e-4, atol=1e-5)


def test_many_escapes_do_not_underflow() -> None:
    found = each((0,) * 4 + (1,), fitted((0,) * 40_000))
    assert found[-1] == pytest.approx(-math.log(2 * (40_000 - ORDER)) - math.log(4), rel=1e-4)


@pytest.mark.parametrize('length', [1, 150])
def test_windows_of_any_length_count_the_same(length: int) -> None:
    np.testing.assert_allclose(each(STRANGE, fitted(TEXT, True, length)), each(STRANGE, fitted(TEXT)), rtol=1e-6)


def test_a_window_scores_the_sum_of_its_symbols_and_nothing_for_its_padding() -> None:
    x = windows(np.array(STRANGE, np.int16), 0, 60, 32, CONTEXT)
    assert (x[-1] == -1).any()
    total = np.asarray(jax.jit(model().log_prob)(fitted(TEXT), jnp.asarray(x), KEY))
    np.testing.assert_allclose(total.sum(), each(STRANGE, fitted(TEXT)).sum(), rtol=1e-5)


def test_its_size_is_the_number_of_grams() -> None:
    grams = {TEXT[i : i + k] for k in range(1, ORDER + 2) for i in range(len(TEXT) - k + 1)}
    assert model().size(fitted(TEXT)) == len(grams)


def test_samples_follow_the_conditional_probabilities() -> None:
    """The sixth symbol given the two before it, by a chi-squared test in each context that came up often."""
    ours, reader = model(order=2), Reader(TEXT, True, 2)
    drawn = np.asarray(jax.jit(lambda params: ours.sample(params, KEY, 5000, (6,)))(fitted(TEXT, order=2)))
    assert drawn.shape == (5000, 6)
    tested = 0
    for context in {(int(a), int(b)) for a, b in drawn[:, 3:5]}:
        rows = drawn[(drawn[:, 3] == context[0]) & (drawn[:, 4] == context[1]), 5]
        if len(rows) >= 200:
            wanted = len(rows) * np.array([reader.p(v, context) for v in range(VALUES)])
            assert stats.chisquare(np.bincount(rows, minlength=VALUES), wanted).pvalue > 1e-4
            tested += 1
    assert tested >= 5


def test_what_it_cannot_count_is_said() -> None:
    text = Domain(kind='tokens', shape=(8,), values=5, context=2, unit='character')
    assert PPM(order=2, context=2, values=5).fits(text) is None
    assert 'order=3 looks back 3' in str(PPM(order=3, context=2, values=5).fits(text))
    assert 'binary' in str(PPM().fits(Domain(kind='binary', shape=(2,))))
    with pytest.raises(BadInput, match='takes 7158'):
        jax.eval_shape(lambda: PPM(order=1, context=1, values=30_000).init(KEY, jnp.zeros((100, 1000), jnp.int16)))


@pytest.mark.skipif(
    not tfds.available('tiny_shakespeare'), reason='TFDS_DATA_DIR is not set or has no tiny_shakespeare'
)
def test_order_twelve_on_a_part_of_tiny_shakespeare_equals_the_reader() -> None:
    """20000 characters read, 1000 scored."""
    data = Text(name='tiny_shakespeare', length=1000, context=12).load()
    ours = PPM(order=12, context=12, values=data.domain.values)
    x, scored = np.asarray(data.train.x[:20]), np.asarray(data.test.x[:1])
    params = jax.jit(lambda x: ours.solve({}, ours.statistics({}, x)[0]))(jnp.asarray(x))
    reader = Reader(tuple(map(int, x[:, 12:].ravel())), True, 12, data.domain.values)
    window = tuple(map(int, scored[0]))
    wanted = sum(math.log(reader.p(window[i], window[i - 12 : i])) for i in range(12, len(window)))
    assert jax.jit(ours.log_prob)(params, jnp.asarray(scored), KEY)[0] == pytest.approx(wanted, rel=1e-5)
