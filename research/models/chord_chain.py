"""A Markov chain over whole chords, with Witten-Bell interpolation. Witten & Bell 1991, IEEE Trans. Inf. Theory 37. No network.

A chord c is a whole row of bits, one of 2^88 for a piano. What followed the chords b before it is counted, and each order leans
on the one below, down to a model of the keys that gives every row of bits a probability:

    p_k(c | b) = (count(b c) + types(b) p_{k-1}(c | b')) / (count(b) + types(b))                                     (1)
    p_0(c | b) = prod_d p(c_d | b_d)                                                                                (2)

where b' is b without its first chord and types(b) is how many different chords followed b. A b never seen leaves p_{k-1} as it
is, so each p_k sums to one over all rows. `order` counts the chord itself: 1 is the distribution of single chords, 2 the chain.
Eq. 2 is the `base`, persistence of each key (`persistence`), or with `base.memory` false the keys alone.

It is the n-gram (`ngram`) whose alphabet is not known before, and too large for a number: a chord is its bits in words of 32, a
table of what was counted is sorted by words, and a look-up is one binary search. An example is [time, ...], filled up with -1
before or behind; a row that lacks a bit is no step at all. Parts of a row cannot be summed out of counts of whole
rows but by going through all of them, so there is no `conditional`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.models.persistence import NOTHING, Persistence, delayed, last, misfit, steps
from research.types import Array, Domain, Key, Kind, Metrics, Params, ranged

WORD, FULL = 32, 0xFFFFFFFF
Level = dict[
    str, Array
]  # rows [capacity, words] sorted, counts [capacity]; total and types [capacity of the level above]


def pack(bits: Array) -> Array:
    """Rows of bits [..., keys] as words [..., keys / 32, rounded up] uint32."""
    words = -(-bits.shape[-1] // WORD)
    wide = jnp.pad(bits > 0, [(0, 0)] * (bits.ndim - 1) + [(0, words * WORD - bits.shape[-1])])
    powers = jnp.uint32(1) << jnp.arange(WORD, dtype=jnp.uint32)
    return (wide.reshape(*wide.shape[:-1], words, WORD) * powers).sum(axis=-1, dtype=jnp.uint32)


def unpack(words: Array, keys: int) -> Array:
    """The bits [..., keys] int32 again."""
    bits = (words[..., None] >> jnp.arange(WORD, dtype=jnp.uint32)) & 1
    return bits.reshape(*words.shape[:-1], -1)[..., :keys].astype(jnp.int32)


def count(rows: Array, exists: Array, capacity: int) -> Level:
    """The different rows of [n, words] that exist, in order, and how often each comes; what is left is FULL and counts 0."""
    order = jnp.lexsort((*rows.T[::-1], ~exists))
    rows, exists = rows[order], exists[order]
    new = jnp.concatenate([jnp.ones(1, bool), (rows[1:] != rows[:-1]).any(axis=1)])
    rank = jnp.where(exists, jnp.cumsum(new) - 1, capacity)
    table = jnp.full((capacity, rows.shape[1]), FULL, jnp.uint32).at[rank].set(rows, mode='drop')
    return {'rows': table, 'counts': jnp.zeros(capacity, jnp.int32).at[rank].add(1, mode='drop')}


def followers(level: Level, parent: Array, parents: int) -> Level:
    """The level with what followed each of its contexts: how much, and how many different chords."""
    there = level['counts'] > 0
    at = jnp.where(there, parent, parents)
    total = jnp.zeros(parents, jnp.int32).at[at].add(level['counts'], mode='drop')
    types = jnp.zeros(parents, jnp.int32).at[at].add(there.astype(jnp.int32), mode='drop')
    return level | {'total': total, 'types': types}


def find(level: Level, rows: Array, exists: Array) -> Array:
    """The places of rows [..., words] in the table, -1 where one is not there: the first that is not less, by halving."""
    table = level['rows']

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) // 2
        there, less = table[jnp.minimum(middle, len(table) - 1)], jnp.zeros(low.shape, bool)
        for w in reversed(range(table.shape[1])):
            less = (there[..., w] < rows[..., w]) | ((there[..., w] == rows[..., w]) & less)
        right = less & (low < high)
        return jnp.where(right, middle + 1, low), jnp.where(right, high, middle)

    start = jnp.zeros(exists.shape, jnp.int32)
    place = jax.lax.fori_loop(0, len(table).bit_length(), halve, (start, start + len(table)))[0]
    place = jnp.minimum(place, len(table) - 1)
    same = (table[place] == rows).all(axis=-1) & (level['counts'][place] > 0)
    return jnp.where(exists & same, place, -1)


@dataclass(frozen=True, kw_only=True)
class ChordChain:
    order: int = ranged(2, at_least=1, at_most=32)
    base: Persistence = Persistence()
    context: int = ranged(None, at_least=0, from_domain='context')

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    def fits(self, domain: Domain) -> str | None:
        return misfit('ChordChain', domain)

    def init(self, key: Key, x: Array) -> Params:
        """Empty counts with room for every chord in `x`, and keys that are coins."""
        empty = jax.eval_shape(lambda x: self.levels(whole(steps(x))), x)
        return {'base': self.base.init(key, x)} | jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), empty)

    def levels(self, x: Array) -> dict[str, Level]:
        """The counts of all grams of chords in x [batch, time, keys], those of the context too."""
        words, exists = pack(x), (x >= 0).all(axis=2)
        flat, n = words.reshape(-1, words.shape[-1]), exists.size
        level = followers(count(flat, exists.reshape(-1), n), jnp.zeros(n, jnp.int32), 1)
        chord = gram = find(level, words, exists)
        found = {'1': level}
        for k in range(2, self.order + 1):
            before = earlier(gram, exists)
            rows, here = pairs(before, chord), (before >= 0) & (chord >= 0)
            level = count(rows.reshape(n, 2), here.reshape(n), n)
            found[f'{k}'] = followers(level, level['rows'][:, 0].astype(jnp.int32), n)
            gram = find(level, rows, here)
        return found

    def statistics(self, params: Params, x: Array) -> tuple[Params, Metrics]:
        x = whole(steps(x))
        return {'base': self.base.statistics(params['base'], x)[0]} | self.levels(x), {}

    def solve(self, params: Params, statistics: Params) -> Params:
        return statistics | {'base': self.base.solve(params['base'], statistics['base'])}

    def size(self, params: Params) -> int:
        """How many different grams were counted, of all lengths, and the base's numbers."""
        grams = sum((params[f'{k}']['counts'] > 0).sum() for k in range(1, self.order + 1))
        return int(grams) + params['base']['outputs'].size

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats of each sequence, given its context where it has one: eq. 1 in logarithms, order by order."""
        x = whole(steps(x))
        words, exists = pack(x), (x >= 0).all(axis=2)
        log_p = self.base.nats(params['base'], x).sum(axis=2)  # [batch, time], eq. 2
        chord = gram = find(params['1'], words, exists)
        context = jnp.zeros_like(chord)
        for k in range(1, self.order + 1):
            level = params[f'{k}']
            if k > 1:
                context = earlier(gram, exists)
                gram = find(level, pairs(context, chord), (context >= 0) & (chord >= 0))
            total, types = (jnp.where(context >= 0, level[name][context], 0) for name in ('total', 'types'))
            counted = jnp.log(jnp.where(gram >= 0, level['counts'][gram], 0).astype(jnp.float32))
            mixed = jnp.logaddexp(counted, jnp.log(types.astype(jnp.float32)) + log_p)
            log_p = jnp.where(total > 0, mixed - jnp.log(jnp.maximum(total + types, 1)), log_p)
        return jnp.where(exists, log_p, 0.0)[:, self.context :].sum(axis=1)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape], `shape` = (time, ...): sequences of full length, from the beginning on."""
        keys = params['base']['outputs'].shape[1]
        everywhere = jnp.ones(n, bool)

        def step(carry: tuple[Array, list[Array]], i: Array) -> tuple[tuple[Array, list[Array]], Array]:
            """A chord from the base, in whose place each order, the longest last, may put one of those that it counted."""
            before, contexts = carry
            key_base, *key_levels = jax.random.split(jax.random.fold_in(key, i), self.order + 1)
            now = self.base.draw(params['base'], before, key_base)
            for k, (context, key_level) in enumerate(zip(contexts, key_levels, strict=True), start=1):
                place, taken = follow(params[f'{k}'], context, key_level)
                chord = place if k == 1 else params[f'{k}']['rows'][place, 1].astype(jnp.int32)
                now = jnp.where(taken[:, None], unpack(params['1']['rows'][chord], keys), now)
            chord = gram = find(params['1'], pack(now), everywhere)
            after = [contexts[0]]
            for k, context in enumerate(contexts[1:], start=2):
                after.append(gram)
                gram = find(params[f'{k}'], pairs(context, chord), (context >= 0) & (chord >= 0))
            return (now, after), now

        start = [jnp.zeros(n, jnp.int32)] + [jnp.full(n, -1)] * (self.order - 1)
        begun = (jnp.full((n, keys), NOTHING), start)
        drawn = jax.lax.scan(step, begun, jnp.arange(shape[0]))[1]
        return drawn.swapaxes(0, 1).reshape(n, *shape).astype(jnp.float32)


def whole(x: Array) -> Array:
    """x [batch, time, keys] with -1 all over a row that lacks anything."""
    return jnp.where((x >= 0).all(axis=2, keepdims=True), x, -1)


def earlier(gram: Array, exists: Array) -> Array:
    """The gram that ended at the step before, [batch, time]: less than 0 where it was never seen, or nothing is before."""
    return delayed(last(jnp.where(exists, gram + 1, -1))) - 1


def pairs(context: Array, chord: Array) -> Array:
    """Rows [..., 2] of a table of grams: the id of what came before, and that of the chord."""
    return jnp.stack([context, chord], axis=-1).astype(jnp.uint32)


def follow(level: Level, context: Array, key: Key) -> tuple[Array, Array]:
    """A place of the table drawn as what followed `context` [n], and whether eq. 1 takes it or the order below, [n]."""
    key_take, key_place = jax.random.split(key)
    total, types = (jnp.where(context >= 0, level[name][context], 0) for name in ('total', 'types'))
    taken = jax.random.uniform(key_take, context.shape) * (total + types) < total
    nth = jnp.minimum((jax.random.uniform(key_place, context.shape) * total).astype(jnp.int32), total - 1)
    before = jnp.cumsum(level['total'])[context] - total  # rows are sorted by their context
    place = jnp.searchsorted(jnp.cumsum(level['counts']), before + nth, side='right')
    return jnp.minimum(place, len(level['counts']) - 1), taken & (total > 0)
