"""Three smoothings of one trie against their equations written with dictionaries, and against nltk.lm."""

from __future__ import annotations

import functools
import itertools
from collections import Counter, defaultdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.data.text import windows
from research.engine import override
from research.maths.smoothing import FALLBACK, AddK, KneserNey, Smoothing, WittenBell, discounts
from research.models.ngram import NGram

KEY = jax.random.key(0)
VALUES, CONTEXT = 5, 5
RNG = np.random.default_rng(0)
TEXT = tuple(int(v) for v in RNG.choice(4, 150, p=[0.5, 0.3, 0.15, 0.05]))  # symbol 4 is never seen
STRANGE = tuple(int(v) for v in RNG.integers(0, VALUES, 60))
SMOOTHINGS = [AddK(k=0.3), WittenBell(), KneserNey(), KneserNey(discount=0.6)]

smoothings = pytest.mark.parametrize('smoothing', SMOOTHINGS, ids=['add_k', 'witten_bell', 'kneser_ney', 'fixed'])
Gram = tuple[int, ...]


class Recursion:
    """The equations of `maths.smoothing` as they stand there."""

    def __init__(self, text: Gram, order: int, smoothing: Smoothing) -> None:
        self.smoothing, self.seen = smoothing, Counter[Gram]()
        before: dict[Gram, set[int | None]] = defaultdict(set)
        for end in range(1, len(text) + 1):
            for start in range(max(end - order, 0), end):
                self.seen[text[start:end]] += 1
                before[text[start:end]].add(text[start - 1] if start else None)
        self.a = {gram: n if len(gram) == order else len(before[gram]) for gram, n in self.seen.items()}
        self.d = {k: self.discounts(k) for k in range(1, order + 1)}

    def discounts(self, length: int) -> list[float]:
        """(4)."""
        if isinstance(self.smoothing, KneserNey) and self.smoothing.discount is not None:
            return [self.smoothing.discount] * 3
        n = Counter(a for gram, a in self.a.items() if len(gram) == length)
        if not n[1] or not n[2]:
            return list(FALLBACK)
        y = n[1] / (n[1] + 2 * n[2])
        found = [i - (i + 1) * y * n[i + 1] / n[i] if n[i] else -1.0 for i in (1, 2, 3)]
        return [d if 0 < d <= i else FALLBACK[i - 1] for i, d in enumerate(found, start=1)]

    def discount(self, gram: Gram) -> float:
        a = self.a.get(gram, 0)
        return self.d[len(gram)][min(a, 3) - 1] if a else 0.0

    def p(self, symbol: int, context: Gram) -> float:
        lower = self.p(symbol, context[1:]) if context else 1 / VALUES
        gram, after = (*context, symbol), [(*context, v) for v in range(VALUES)]
        n, types = sum(self.seen[g] for g in after), sum(self.seen[g] > 0 for g in after)
        if not n:
            return lower
        if isinstance(self.smoothing, AddK):
            return (self.seen[gram] + self.smoothing.k) / (n + self.smoothing.k * VALUES)
        if isinstance(self.smoothing, WittenBell):
            return (self.seen[gram] + types * lower) / (n + types)
        left = sum(self.discount(g) for g in after) * lower
        return (self.a.get(gram, 0) - self.discount(gram) + left) / sum(self.a.get(g, 0) for g in after)


def model(order: int, smoothing: Smoothing, values: int = VALUES) -> NGram:
    return NGram(order=order, smoothing=smoothing, context=CONTEXT, values=values)


@functools.cache
def counting(order: int, smoothing: Smoothing, values: int) -> Any:
    ours = model(order, smoothing, values)
    return jax.jit(lambda x: ours.solve({}, ours.statistics({}, x)[0]))


@functools.cache
def fitted(text: Gram, order: int, smoothing: Smoothing, values: int = VALUES) -> Any:
    x = jnp.asarray(windows(np.array(text, np.int16), 0, len(text), 16, CONTEXT))
    return counting(order, smoothing, values)(x)


@functools.cache
def score(order: int, smoothing: Smoothing, values: int = VALUES) -> Any:
    return jax.jit(model(order, smoothing, values).log_prob)


def each(text: Gram, params: Any, order: int, smoothing: Smoothing, values: int = VALUES) -> np.ndarray:
    """log p of every symbol of the text given those before it: windows of one symbol."""
    x = windows(np.array(text, np.int16), 0, len(text), 1, CONTEXT)
    return np.asarray(score(order, smoothing, values)(params, jnp.asarray(x), KEY))


def everywhere(text: Gram, order: int) -> list[tuple[int, Gram]]:
    """Each symbol of a text and its context."""
    return [(text[i], text[max(0, i - order + 1) : i]) for i in range(len(text))]


@smoothings
@pytest.mark.parametrize('order', [1, 4])
def test_every_position_of_every_order_equals_the_recursion(smoothing: Smoothing, order: int) -> None:
    """On the training text and on one with a symbol, and contexts, that were never seen; from the texts' beginnings on."""
    oracle, params = Recursion(TEXT, order, smoothing), fitted(TEXT, order, smoothing)
    for text in (TEXT, STRANGE):
        expected = [oracle.p(*place) for place in everywhere(text, order)]
        np.testing.assert_allclose(each(text, params, order, smoothing), np.log(expected), rtol=1e-4, atol=1e-5)


@smoothings
def test_probabilities_of_the_alphabet_add_up_to_one_in_any_context(smoothing: Smoothing) -> None:
    contexts = np.array(list(itertools.product(range(-1, VALUES), repeat=3)))
    x = np.full((len(contexts) * VALUES, CONTEXT + 1), -1)
    x[:, -4:-1], x[:, -1] = np.repeat(contexts, VALUES, axis=0), np.tile(np.arange(VALUES), len(contexts))
    p = np.exp(np.asarray(score(4, smoothing)(fitted(TEXT, 4, smoothing), jnp.asarray(x), KEY))).reshape(-1, VALUES)
    assert (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)


def test_discounts_are_those_of_the_counts_of_counts() -> None:
    """n = 4, 3, 2, 1: Y = 0.4, D = 1 - 0.8 * 3/4, 2 - 1.2 * 2/3, 3 - 1.6 * 1/2."""
    counts = jnp.array([1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 9, 0, 0])
    np.testing.assert_allclose(discounts(counts), [0.4, 1.2, 2.2], rtol=1e-6)


@pytest.mark.parametrize(
    ('counts', 'expected'),
    [
        ([2, 2, 3, 4], FALLBACK),  # n_1 = 0
        ([1, 1, 3, 4], FALLBACK),  # n_2 = 0
        ([0, 0, 0, 0], FALLBACK),  # nothing at all
        ([1, 2, 2, 4], (0.2, 2.0, 1.5)),  # n_3 = 0: the third alone is replaced
        ([1, 2, 2, 3, 3, 3, 3, 3, 3, 3], (0.2, 1.0, 3.0)),  # D(2) = 2 - 0.6 * 7/2 is below 0
    ],
)
def test_discounts_that_cannot_be_estimated_are_replaced(counts: list[int], expected: tuple[float, ...]) -> None:
    np.testing.assert_allclose(discounts(jnp.array(counts)), expected, rtol=1e-6)


@smoothings
@pytest.mark.parametrize(
    'text', [(0,), (2, 2, 2, 2, 2, 2), (0, 1, 2, 3), (3, 1)], ids=['one', 'constant', 'once', 'two']
)
def test_the_shortest_texts_have_an_answer(smoothing: Smoothing, text: Gram) -> None:
    params, oracle = fitted(text, 3, smoothing), Recursion(text, 3, smoothing)
    found = each(STRANGE, params, 3, smoothing)
    assert np.isfinite(found).all()
    expected = [oracle.p(*place) for place in everywhere(STRANGE, 3)]
    np.testing.assert_allclose(found, np.log(expected), rtol=1e-4, atol=1e-5)


def test_no_probability_is_zero_where_float32_ends() -> None:
    few = AddK(k=1e-36)
    nats = each((0, 1), fitted((0,) * 30_000, 1, few), 1, few)
    assert nats[0] == pytest.approx(0)
    assert nats[1] == pytest.approx(np.log(1e-37))


def reference(kind: Any, order: int, padding: tuple[str, ...] = (), **fields: Any) -> Any:
    from nltk.util import everygrams

    tokens = [*padding, *map(str, TEXT)]
    lm = kind(order, **fields)
    lm.fit([list(everygrams(tokens, max_len=order))], vocabulary_text=list('01234'))
    return lm


def their_scores(lm: Any, order: int) -> list[float]:
    places = everywhere(TEXT, order) + everywhere(STRANGE, order)
    return [lm.unmasked_score(str(symbol), tuple(map(str, context))) for symbol, context in places]


def our_scores(order: int, smoothing: Smoothing) -> np.ndarray:
    params = fitted(TEXT, order, smoothing)
    return np.exp(np.concatenate([each(text, params, order, smoothing) for text in (TEXT, STRANGE)]))


def test_kneser_ney_equals_nltk(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one discount, a symbol before the text, and single symbols mixed with 1 / values as here."""
    order = 4
    lm_module = pytest.importorskip('nltk.lm')
    lm = reference(lm_module.KneserNeyInterpolated, order, padding=('<s>',), discount=0.6)
    whole = [lm.estimator.unigram_score(v) for v in '01234']
    kinds = sum(len(followers) for followers in lm.counts[2].values())
    discounted = {
        v: p - 0.6 * (p > 0) / kinds + 0.6 * sum(q > 0 for q in whole) / kinds / 5
        for v, p in zip('01234', whole, strict=True)
    }
    monkeypatch.setattr(lm.estimator, 'unigram_score', discounted.get)
    np.testing.assert_allclose(our_scores(order, KneserNey(discount=0.6)), their_scores(lm, order), rtol=1e-5)


def test_witten_bell_equals_nltk(monkeypatch: pytest.MonkeyPatch) -> None:
    """With single symbols mixed with 1 / values as here: nltk has their frequencies alone."""
    order = 4
    lm_module = pytest.importorskip('nltk.lm')
    lm = reference(lm_module.WittenBellInterpolated, order)
    seen, n = lm.counts.unigrams, len(TEXT)
    mixed = {v: (seen[v] + len(seen) / 5) / (n + len(seen)) for v in '01234'}
    monkeypatch.setattr(lm.estimator, 'unigram_score', mixed.get)
    np.testing.assert_allclose(our_scores(order, WittenBell()), their_scores(lm, order), rtol=1e-5)


def test_add_k_equals_nltk_where_the_context_was_seen() -> None:
    """nltk counts the unknown word as one symbol more, and gives every symbol 1 / values where a context was not seen."""
    lm_module = pytest.importorskip('nltk.lm')
    lm = reference(functools.partial(lm_module.Lidstone, 0.3), 3)
    expected = [lm.unmasked_score(str(symbol), tuple(map(str, context))) for symbol, context in everywhere(TEXT, 3)]
    params = fitted(TEXT, 3, AddK(k=0.3), VALUES + 1)
    np.testing.assert_allclose(np.exp(each(TEXT, params, 3, AddK(k=0.3), VALUES + 1)), expected, rtol=1e-5)


@pytest.mark.parametrize('smoothing', [AddK(k=0.3), KneserNey()], ids=['add_k', 'kneser_ney'])
def test_samples_follow_the_conditional_probabilities(smoothing: Smoothing) -> None:
    """The sixth symbol given the two before it, by a chi-squared test in each context that came up often."""
    ours, oracle = model(3, smoothing), Recursion(TEXT, 3, smoothing)
    drawn = np.asarray(jax.jit(lambda params: ours.sample(params, KEY, 4000, (6,)))(fitted(TEXT, 3, smoothing)))
    tested = 0
    for context in {(int(a), int(b)) for a, b in drawn[:, 3:5]}:
        rows = drawn[(drawn[:, 3] == context[0]) & (drawn[:, 4] == context[1]), 5]
        if len(rows) >= 200:
            expected = len(rows) * np.array([oracle.p(v, context) for v in range(VALUES)])
            assert stats.chisquare(np.bincount(rows, minlength=VALUES), expected).pvalue > 1e-4
            tested += 1
    assert tested >= 3


def test_a_config_written_before_there_was_a_choice_is_witten_bell() -> None:
    old = {'class': 'research.models.ngram.NGram', 'order': 4, 'context': 5, 'values': 5}
    assert override.from_json(old, 'card.json') == model(4, WittenBell())
