"""How the counts of a text become probabilities: the smoothing of n-grams, one order at a time.

Each is a recursion: p(v | c) from the counts of c and from p(v | c'), c' being c without its first symbol, down to 1 / values
below the single symbols. A context never seen leaves p(v | c') as it is. With n counts, and t(c) different symbols after c:

    add-k         p(v | c) = (n(cv) + k) / (n(c) + k values); the lower orders serve for contexts never seen alone      (1)
    Witten-Bell   p(v | c) = (n(cv) + t(c) p(v | c')) / (n(c) + t(c))                         Witten & Bell 1991         (2)
    Kneser-Ney    p(v | c) = (a(cv) - D(a(cv)) + g(c) p(v | c')) / a(c)                       Kneser & Ney 1995          (3)

In (3), a counts how often at the highest order, and below it how many different symbols stood before (`maths.trie.lefts`); a(c)
is their sum over v, and g(c) the sum of the discounts taken there. Discounts are three for each order, from its counts of
counts n_i, how many grams have a = i ("modified" Kneser-Ney, interpolated: Chen & Goodman 1999, Comput. Speech Lang. 13):

    Y = n_1 / (n_1 + 2 n_2),   D(i) = i - (i + 1) Y n_(i+1) / n_i   for i = 1, 2, 3 and more                             (4)

Where n_1 or n_2 is 0 (a short text; single symbols, of which few are rare) all three are 1/2, 1 and 3/2, KenLM's fallback; a D(i)
that has n_i = 0 or lies outside (0, i] is replaced by its own. So every discount is above 0, and so is every probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp

from research.maths import trie
from research.maths.trie import NOTHING, Level
from research.types import Array, Params, ranged

FALLBACK = (0.5, 1.0, 1.5)


def at(values: Array, ids: Array) -> Array:
    """values[ids], and 0 where an id is -1."""
    return jnp.where(ids >= 0, values[ids], 0)


@dataclass(frozen=True, kw_only=True)
class AddK:
    """(1): `k` further counts of every symbol. Lidstone; Laplace for k = 1."""

    k: float = ranged(1.0, above=0)

    def solve(self, levels: Params, values: int) -> Params:
        return levels

    def refine(self, level: Level, context: Array, gram: Array, p: Array | float, values: int) -> Array:
        """p(symbol | context) from that of the shorter context; `context` and `gram` hold ids, -1 what was never seen."""
        total = at(level['total'], context)
        return jnp.where(total > 0, (at(level['counts'], gram) + self.k) / (total + self.k * values), p)


@dataclass(frozen=True, kw_only=True)
class WittenBell:
    """(2)."""

    def solve(self, levels: Params, values: int) -> Params:
        return levels

    def refine(self, level: Level, context: Array, gram: Array, p: Array | float, values: int) -> Array:
        total, types, found = at(level['total'], context), at(level['types'], context), at(level['counts'], gram)
        return jnp.where(total > 0, (found + types * p) / jnp.maximum(total + types, 1), p)


@dataclass(frozen=True, kw_only=True)
class KneserNey:
    """(3). `discount` is one for all counts and orders in place of (4).

    With it, this is nltk.lm.KneserNeyInterpolated but for two things: nltk takes no discount from single symbols, so that one
    never seen has probability 0, and leaves out what stands at the beginning of a text unless it is given a symbol before it.
    """

    discount: float | None = ranged(None, above=0, at_most=1, optional=True)

    def solve(self, levels: Params, values: int) -> Params:
        """What (3) needs of every order: a, its sums, the discounts and the mass they leave to the order below."""
        links, solved = trie.suffixes(levels, values), {}
        for k in range(1, len(levels) + 1):
            level, last = levels[f'{k}'], k == len(levels)
            codes, parents = level['codes'], level['total'].size
            a = level['counts'] if last else trie.lefts(level, levels[f'{k + 1}'], links[f'{k + 1}'])
            taken = discounts(a) if self.discount is None else jnp.full(3, self.discount, jnp.float32)
            above = jnp.where(codes == NOTHING, parents, codes // values)
            left = jnp.zeros(parents).at[above].add(discount_of(taken, a), mode='drop')
            total = trie.sums(codes, a, parents, values)['total']
            solved[f'{k}'] = {'codes': codes, 'counts': a, 'total': total, 'left': left, 'discounts': taken}
        return solved

    def refine(self, level: Level, context: Array, gram: Array, p: Array | float, values: int) -> Array:
        total, left, a = at(level['total'], context), at(level['left'], context), at(level['counts'], gram)
        mass = a - discount_of(level['discounts'], a) + left * p
        return jnp.where(total > 0, mass / jnp.maximum(total, 1), p)


def discounts(a: Array) -> Array:
    """(4), [3], from all the counts of one order."""
    n = jnp.stack([(a == i).sum() for i in (1, 2, 3, 4)]).astype(jnp.float32)
    i, fallback = jnp.arange(1.0, 4.0), jnp.array(FALLBACK)
    y = n[0] / jnp.maximum(n[0] + 2 * n[1], 1)
    found = i - (i + 1) * y * n[1:] / jnp.maximum(n[:3], 1)
    usable = (n[0] > 0) & (n[1] > 0) & (n[:3] > 0) & (found > 0) & (found <= i)
    return jnp.where(usable, found, fallback)


def discount_of(taken: Array, a: Array) -> Array:
    """D(a), 0 for what was never seen."""
    return jnp.where(a > 0, taken[jnp.clip(a, 1, 3) - 1], 0.0)


Smoothing = AddK | WittenBell | KneserNey
