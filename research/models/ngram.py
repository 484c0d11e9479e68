"""An n-gram model with Witten-Bell interpolation. Witten & Bell 1991, IEEE Trans. Inf. Theory 37. No network anywhere.

p_k(v | c) = (count(c v) + types(c) p_{k-1}(v | c')) / (count(c) + types(c)), p_0 = 1 / values, where c' is c without its
first symbol and types(c) is how many different symbols followed c. A context never seen leaves p_{k-1} as it is.

The counts are a trie of sorted arrays: a gram of length j is the pair (id of its first j - 1 symbols, last symbol), coded
as one integer, and its id is its place among the sorted distinct codes. So any order fits in int32 and a look-up is one
binary search, in parallel for all positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.types import Array, BadInput, Domain, Key, Kind, Metrics, Params, ranged

NOTHING = jnp.iinfo(jnp.int32).max  # the code of a gram that reaches before the text
Level = dict[str, Array]  # codes [capacity] sorted, counts [capacity]; total and types [capacity of the level above]


def look_up(level: Level, parent: Array, symbol: Array, values: int) -> Array:
    """The ids of the grams (parent, symbol), of any shape; -1 where one was never seen."""
    code = jnp.where((parent >= 0) & (symbol >= 0), parent * values + symbol, NOTHING)
    place = jnp.searchsorted(level['codes'], code.reshape(-1)).reshape(code.shape)
    place = jnp.minimum(place, level['codes'].size - 1)
    return jnp.where((level['codes'][place] == code) & (code != NOTHING), place, -1)


def count(parent: Array, symbol: Array, scored: Array, parents: int, capacity: int, values: int) -> Level:
    """One level of the trie from all its grams; those whose last symbol is not `scored` are there, and count 0.

    The bit rides along in the code's lowest place: sorting pairs would take XLA six times as long on CPU.
    """
    code = jnp.where((parent >= 0) & (symbol >= 0), parent * values + symbol, NOTHING).reshape(-1)
    ordered = jnp.sort(code.astype(jnp.uint32) * 2 + scored.reshape(-1).astype(jnp.uint32))
    code, bit = (ordered >> 1).astype(jnp.int32), (ordered & 1).astype(jnp.int32)
    first = jnp.concatenate([jnp.ones(1, bool), code[1:] != code[:-1]])
    rank = jnp.where(code == NOTHING, capacity, jnp.cumsum(first) - 1)
    codes = jnp.full(capacity, NOTHING).at[rank].set(code, mode='drop')
    counts = jnp.zeros(capacity, jnp.int32).at[rank].add(bit, mode='drop')
    above = jnp.where(codes == NOTHING, parents, codes // values)
    total = jnp.zeros(parents, jnp.int32).at[above].add(counts, mode='drop')
    types = jnp.zeros(parents, jnp.int32).at[above].add((counts > 0).astype(jnp.int32), mode='drop')
    return {'codes': codes, 'counts': counts, 'total': total, 'types': types}


def delayed(ids: Array) -> Array:
    """The ids [windows, time] of one position earlier: what was there when the next symbol came."""
    return jnp.concatenate([jnp.full((ids.shape[0], 1), -1, jnp.int32), ids[:, :-1]], axis=1)


@dataclass(frozen=True, kw_only=True)
class NGram:
    """`order` counts the predicted symbol too: 1 is the distribution of single symbols."""

    order: int = ranged(5, at_least=1, at_most=32)
    context: int = ranged(None, at_least=0, from_domain='context')
    values: int = ranged(None, at_least=2, from_domain='values')

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    def fits(self, domain: Domain) -> str | None:
        if domain.kind != 'tokens':
            return f'NGram scores text, not {domain.kind} data'
        if domain.context < self.order - 1:
            return (
                f'order={self.order} looks back {self.order - 1} symbols, and data.context={domain.context} gives fewer'
            )
        return None

    def init(self, key: Key, x: Array) -> Params:
        """Empty counts with room for every gram in `x` [windows, context + length]."""
        if x.size * self.values >= NOTHING:
            raise BadInput(
                f'the text holds {x.size} symbols; an n-gram over {self.values} takes {NOTHING // self.values}'
            )
        statistics = jax.eval_shape(lambda x: self.statistics({}, x)[0], x)
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), statistics)

    def statistics(self, params: Params, x: Array) -> tuple[Params, Metrics]:
        """The trie of all grams that end in `x` [windows, context + length]; those that end in its context count 0."""
        x = x.astype(jnp.int32)
        scored = jnp.broadcast_to(jnp.arange(x.shape[1]) >= self.context, x.shape)
        parent, parents, levels = jnp.zeros_like(x), 1, {}
        for k in range(1, self.order + 1):
            capacity = min(x.size, self.values**k)
            levels[f'{k}'] = count(parent, x, scored, parents, capacity, self.values)
            if k < self.order:
                parent, parents = delayed(look_up(levels[f'{k}'], parent, x, self.values)), capacity
        return levels, {}

    def solve(self, params: Params, statistics: Params) -> Params:
        return statistics

    def size(self, params: Params) -> int:
        """How many different grams were counted, of all lengths."""
        return int(sum((params[f'{k}']['counts'] > 0).sum() for k in range(1, self.order + 1)))

    def refine(self, level: Level, context: Array, symbol: Array, p: Array | float) -> tuple[Array, Array]:
        """The recursion, one order up: p(symbol | context) from that of the shorter context, and the id of the gram.

        `context` holds the ids of contexts (-1: never seen), of a shape that broadcasts with `symbol`.
        """
        gram = look_up(level, context, symbol, self.values)
        total = jnp.where(context >= 0, level['total'][context], 0)
        types = jnp.where(context >= 0, level['types'][context], 0)
        found = jnp.where(gram >= 0, level['counts'][gram], 0)
        return jnp.where(total > 0, (found + types * p) / jnp.maximum(total + types, 1), p), gram

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """Nats of each window's scored symbols given the context before them, [windows]."""
        x = x.astype(jnp.int32)
        p: Array | float = 1 / self.values
        context = jnp.zeros_like(x)
        for k in range(1, self.order + 1):
            p, gram = self.refine(params[f'{k}'], context, x, p)
            context = delayed(gram)
        return jnp.where(x >= 0, jnp.log(p), 0.0)[:, self.context :].sum(axis=1)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, length] symbols, `shape` = (length,), from the beginning of a text on."""
        root = jnp.zeros((n, 1), jnp.int32)
        every = jnp.arange(self.values)[None]  # [1, values]

        def step(contexts: list[Array], i: Array) -> tuple[list[Array], Array]:
            p: Array | float = 1 / self.values
            grams = []
            for k, context in enumerate(contexts, start=1):
                p, gram = self.refine(params[f'{k}'], context, every, p)  # [n, values]
                grams.append(gram)
            symbol = jax.random.categorical(jax.random.fold_in(key, i), jnp.log(p))[:, None]
            return [root] + [jnp.take_along_axis(gram, symbol, axis=1) for gram in grams[:-1]], symbol[:, 0]

        start = [root] + [jnp.full((n, 1), -1, jnp.int32)] * (self.order - 1)
        return jax.lax.scan(step, start, jnp.arange(shape[0]))[1].T
