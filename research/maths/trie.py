"""The grams of a text as a trie of sorted arrays, with suffix links: what n-grams and PPM count in.

A gram of length k is the pair (id of its first k - 1 symbols, last symbol), coded as one integer, and its id is its place
among the sorted distinct codes of level k; the root is id 0 of level 0. So any length fits in int32 and a look-up is one
binary search, in parallel for all positions. Ids are below the number of positions, and codes below that times `values`,
whatever the length: that product is the one limit (`check_room`).

The suffix link of a gram is the id of the gram without its first symbol. By it, how many different symbols stood before a gram
(`lefts`) is a count of the links that end in it: the continuation count of Kneser & Ney 1995, and what update exclusion counts
in PPM. Nothing stands before the beginning of a text; the gram that begins it has that as one more left neighbour, so that
every gram that was counted has at least one.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from research.types import Array, BadInput, Key, Params

NOTHING = jnp.iinfo(jnp.int32).max  # the code of a gram that reaches before the text
Level = dict[str, Array]  # codes [capacity] sorted, counts [capacity]; total and types [capacity of the level above]
Predict = Callable[[list[Array]], tuple[Array, list[Array]]]


def check_room(symbols: int, values: int) -> None:
    """Raises BadInput where a text of so many symbols is too long for codes over `values`."""
    if symbols * values >= NOTHING:
        raise BadInput(f'the text holds {symbols} symbols; an n-gram over {values} takes {NOTHING // values}')


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
    return {'codes': codes, 'counts': counts, **sums(codes, counts, parents, values)}


def sums(codes: Array, counts: Array, parents: int, values: int) -> Level:
    """`total` and `types` [parents]: the counts under each context added up, and how many of them are not 0."""
    above = jnp.where(codes == NOTHING, parents, codes // values)
    total = jnp.zeros(parents, jnp.int32).at[above].add(counts, mode='drop')
    types = jnp.zeros(parents, jnp.int32).at[above].add((counts > 0).astype(jnp.int32), mode='drop')
    return {'total': total, 'types': types}


def delayed(ids: Array) -> Array:
    """The ids [windows, time] of one position earlier: what was there when the next symbol came."""
    return jnp.concatenate([jnp.full((ids.shape[0], 1), -1, jnp.int32), ids[:, :-1]], axis=1)


def build(x: Array, depth: int, context: int, values: int) -> Params:
    """{'1': Level, ..., 'depth': Level} of the grams that end in `x` [windows, context + length] (-1: nothing there).

    Those that end in a window's context count 0: another window counts them, or none should.
    """
    x = x.astype(jnp.int32)
    scored = jnp.broadcast_to(jnp.arange(x.shape[1]) >= context, x.shape)
    parent, parents, levels = jnp.zeros_like(x), 1, {}
    for k in range(1, depth + 1):
        capacity = min(x.size, values**k)
        levels[f'{k}'] = count(parent, x, scored, parents, capacity, values)
        if k < depth:
            parent, parents = delayed(look_up(levels[f'{k}'], parent, x, values)), capacity
    return levels


def suffixes(levels: Params, values: int) -> Params:
    """{'1': [capacity of level 1], ...}: the suffix link of every gram, an id of the level above; -1 where no gram is."""
    links: dict[str, Array] = {}
    for k in range(1, len(levels) + 1):
        codes = levels[f'{k}']['codes']
        used = codes != NOTHING
        if k == 1:
            links['1'] = jnp.where(used, 0, -1)
        else:
            parent = jnp.where(used, links[f'{k - 1}'][codes // values], -1)
            links[f'{k}'] = look_up(levels[f'{k - 1}'], parent, codes % values, values)
    return links


def lefts(level: Level, longer: Level, link: Array) -> Array:
    """How many different symbols stood before each gram of `level` [capacity], from the grams one symbol longer and their
    suffix links; the beginning of the text is one such symbol."""
    place = jnp.where(link >= 0, link, level['codes'].size)
    kinds = jnp.zeros_like(level['counts']).at[place].add((longer['counts'] > 0).astype(jnp.int32), mode='drop')
    within = jnp.zeros_like(level['counts']).at[place].add(longer['counts'], mode='drop')
    return kinds + (level['counts'] > within).astype(jnp.int32)


def draw(predict: Predict, depth: int, key: Key, n: int, length: int) -> Array:
    """[n, length] symbols from the beginning of a text on.

    `predict` takes the contexts' ids [n, 1], of lengths 0 to depth - 1, and gives log p [n, values] (up to a constant) and
    the ids [n, values] of the grams that each symbol would make of them.
    """
    root = jnp.zeros((n, 1), jnp.int32)

    def step(contexts: list[Array], i: Array) -> tuple[list[Array], Array]:
        log_p, grams = predict(contexts)
        symbol = jax.random.categorical(jax.random.fold_in(key, i), log_p)[:, None]
        return [root] + [jnp.take_along_axis(gram, symbol, axis=1) for gram in grams[:-1]], symbol[:, 0]

    start = [root] + [jnp.full((n, 1), -1, jnp.int32)] * (depth - 1)
    return jax.lax.scan(step, start, jnp.arange(length))[1].T
