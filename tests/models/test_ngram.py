"""The trie of sorted arrays against Witten and Bell's recursion written with dictionaries, and the published figures."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.data import Text, tfds
from research.data.text import windows
from research.models.ngram import NGram
from research.types import BadInput, Domain
from scripts.benchmarks import ngram as benchmark

KEY = jax.random.key(0)
VALUES, ORDER, CONTEXT = 5, 4, 5
RNG = np.random.default_rng(0)
TEXT = RNG.choice(4, 150, p=[0.5, 0.3, 0.15, 0.05])  # symbol 4 is never seen
STRANGE = RNG.integers(0, VALUES, 60)


class Recursion:
    """p_k(v | c) = (count(c v) + types(c) p_{k-1}(v | c')) / (count(c) + types(c)), as the paper says it."""

    def __init__(self, text: np.ndarray) -> None:
        self.after: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for end in range(len(text)):
            for length in range(min(end, ORDER - 1) + 1):
                self.after[tuple(text[end - length : end])][int(text[end])] += 1

    def p(self, symbol: int, context: tuple[int, ...]) -> float:
        lower = self.p(symbol, context[1:]) if context else 1 / VALUES
        found = self.after.get(context)
        if not found:
            return lower
        return (found[symbol] + len(found) * lower) / (sum(found.values()) + len(found))


def fitted(text: np.ndarray, length: int = 16, order: int = ORDER, context: int = CONTEXT) -> Any:
    model = NGram(order=order, context=context, values=VALUES)
    x = jnp.asarray(windows(text.astype(np.int16), 0, len(text), length, context))
    return jax.jit(lambda x: model.statistics({}, x)[0])(x)


def each(text: np.ndarray, params: Any, order: int) -> np.ndarray:
    """log p of every symbol of the text given those before it: windows of one symbol."""
    model = NGram(order=order, context=CONTEXT, values=VALUES)
    return np.asarray(
        model.log_prob(params, jnp.asarray(windows(text.astype(np.int16), 0, len(text), 1, CONTEXT)), KEY)
    )


@pytest.fixture(scope='module')
def trie() -> Any:
    return fitted(TEXT)


@pytest.mark.parametrize('order', [1, 2, 3, 4])
def test_every_position_of_every_order_equals_the_recursion(trie: Any, order: int) -> None:
    """On the training text and on one with a symbol, and contexts, that were never seen; from the texts' beginnings on."""
    oracle = Recursion(TEXT)
    for text in (TEXT, STRANGE):
        ids = [int(v) for v in text]
        expected = [oracle.p(ids[i], tuple(ids[max(0, i - order + 1) : i])) for i in range(len(ids))]
        np.testing.assert_allclose(each(text, trie, order), np.log(expected), rtol=1e-4, atol=1e-5)


def test_probabilities_of_the_alphabet_add_up_to_one_in_any_context(trie: Any) -> None:
    model, contexts = NGram(order=ORDER, context=CONTEXT, values=VALUES), RNG.integers(-1, VALUES, (50, CONTEXT))
    x = np.concatenate([np.repeat(contexts, VALUES, axis=0), np.tile(np.arange(VALUES), 50)[:, None]], axis=1)
    p = np.exp(np.asarray(model.log_prob(trie, jnp.asarray(x), KEY))).reshape(50, VALUES)
    assert (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)


def used(level: dict[str, jax.Array]) -> list[list[int]]:
    """What a level counts, without the room it has left and the grams that only stand in a context."""
    counts = np.asarray(level['counts'])
    return [np.asarray(level['codes'])[counts > 0].tolist(), counts[counts > 0].tolist()]


@pytest.mark.parametrize(('length', 'context'), [(1, 3), (7, 3), (150, 5)])
def test_windows_of_any_length_and_context_count_the_same(trie: Any, length: int, context: int) -> None:
    other = fitted(TEXT, length, context=context)
    assert all(used(trie[k]) == used(other[k]) for k in ('1', '2'))  # ids of longer grams depend on the room, so:
    np.testing.assert_allclose(each(STRANGE, other, ORDER), each(STRANGE, trie, ORDER), rtol=1e-6)
    for k in range(1, ORDER + 1):
        assert int(other[f'{k}']['counts'].sum()) == len(TEXT) - k + 1


def test_a_window_scores_the_sum_of_its_symbols_and_nothing_for_its_padding(trie: Any) -> None:
    model, x = NGram(order=ORDER, context=CONTEXT, values=VALUES), windows(STRANGE.astype(np.int16), 0, 60, 32, CONTEXT)
    assert (x[-1] == -1).any()
    total = np.asarray(model.log_prob(trie, jnp.asarray(x), KEY))
    np.testing.assert_allclose(total.sum(), each(STRANGE, trie, ORDER).sum(), rtol=1e-5)


def test_a_text_too_long_for_its_codes_is_refused() -> None:
    model = NGram(order=2, context=1, values=30_000)
    with pytest.raises(BadInput, match=r'71582|71583'):
        jax.eval_shape(lambda: model.init(KEY, jnp.zeros((100, 1000), jnp.int16)))


def test_what_it_cannot_count_is_said() -> None:
    text = Domain(kind='tokens', shape=(8,), values=5, context=2, unit='character')
    assert NGram(order=3, context=2, values=5).fits(text) is None
    assert 'order=4 looks back 3' in str(NGram(order=4, context=2, values=5).fits(text))
    assert 'binary' in str(NGram().fits(Domain(kind='binary', shape=(2,))))


def test_samples_follow_the_conditional_probabilities(trie: Any) -> None:
    """The ninth symbol given the two before it, by a chi-squared test in each context that came up often."""
    model, oracle = NGram(order=3, context=CONTEXT, values=VALUES), Recursion(TEXT)
    drawn = np.asarray(jax.jit(lambda params: model.sample(params, KEY, 4000, (9,)))(trie))
    assert drawn.shape == (4000, 9)
    tested = 0
    for context in {(int(a), int(b)) for a, b in drawn[:, 6:8]}:
        rows = drawn[(drawn[:, 6] == context[0]) & (drawn[:, 7] == context[1]), 8]
        if len(rows) >= 200:
            expected = len(rows) * np.array([oracle.p(v, context) for v in range(VALUES)])
            assert stats.chisquare(np.bincount(rows, minlength=VALUES), expected).pvalue > 1e-4
            tested += 1
    assert tested >= 3


def test_a_text_begins_as_its_first_symbol_alone_would(trie: Any) -> None:
    """Nothing is before the first symbol, so it is drawn from p(v), whatever the order."""
    model, oracle = NGram(order=ORDER, context=CONTEXT, values=VALUES), Recursion(TEXT)
    first = np.asarray(jax.jit(lambda params: model.sample(params, KEY, 5000, (1,)))(trie))[:, 0]
    expected = 5000 * np.array([oracle.p(v, ()) for v in range(VALUES)])
    assert stats.chisquare(np.bincount(first, minlength=VALUES), expected).pvalue > 1e-4


def test_a_text_of_no_symbols_is_nothing_and_certain(trie: Any) -> None:
    model = NGram(order=ORDER, context=CONTEXT, values=VALUES)
    assert model.sample(trie, KEY, 3, (0,)).shape == (3, 0)
    np.testing.assert_array_equal(model.log_prob(trie, jnp.zeros((2, CONTEXT), jnp.int32), KEY), 0)


def test_both_sides_of_the_benchmark_give_the_same() -> None:
    pytest.importorskip('nltk')
    count, query = benchmark.ours(TEXT, STRANGE, VALUES)
    theirs = benchmark.their_query(benchmark.their_count(TEXT, VALUES), STRANGE, VALUES)
    np.testing.assert_allclose(query(count()), theirs, atol=1e-5)


@pytest.mark.skipif(
    not tfds.available('tiny_shakespeare'), reason='TFDS_DATA_DIR is not set or has no tiny_shakespeare'
)
def test_tiny_shakespeare_gives_the_published_figures() -> None:
    """Orders 1 to 5 from one trie of order 5: its first levels are the tries of the lower orders."""
    data = Text(name='tiny_shakespeare', length=1024, context=7).load()
    model = NGram(order=5, context=7, values=data.domain.values)
    params = jax.jit(lambda x: model.statistics({}, x)[0])(jnp.asarray(data.train.x))
    published = {1: 3.3473, 2: 2.4858, 3: 2.0492, 4: 1.7738, 5: 1.6688}
    x = jnp.asarray(data.test.x)
    symbols = int((data.test.x[:, 7:] >= 0).sum())
    assert symbols == 111_540
    for order, nats in published.items():
        part = NGram(order=order, context=7, values=data.domain.values)
        log_p = np.asarray(jax.jit(part.log_prob)(params, x, KEY), np.float64)
        assert -log_p.sum() / symbols == pytest.approx(nats, abs=0.0005)
