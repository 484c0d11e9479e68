"""Prediction by partial matching, method D. Cleary & Witten 1984; Moffat 1990; Howard 1993, PhD thesis, Brown. No network anywhere.

A symbol is predicted in the longest context, of at most `order` symbols, that was ever followed by anything. If it followed
there, with count n(cv) of n(c), it has method D's share; if not, the model escapes to the context without its first symbol:

    p(v | c) = (2 n(cv) - 1) / 2 n(c),    p(escape | c) = t(c) / 2 n(c)                                                  (1)

with t(c) different followers: each count gives half a count of its first occurrence to the escape. After an escape what followed
in the longer context is excluded (Moffat): its counts are taken out of n and t. It followed in the shorter context too, so
what is left there depends on the longer context alone and is stored with it:

    n(c' | c) = sum of n(c'v) over v that never followed c,    t(c' | c) = t(c') - t(c)                                  (2)

Below the single symbols, those of the alphabet never seen are alike: 1 / (values - t()). A context that has nothing left after
exclusion is passed at no cost, and where the whole alphabet has followed there is nothing to escape to: that mass goes to the
symbols, p = (2 n(cv) - 1) / (2 n - t). So the probabilities of the alphabet add up to one in every context.

As a coder reads, it updates a symbol's count in the context where it was found and in the longer ones (update exclusion): a gram
shorter than the longest then counts once for each symbol that it was new after, `maths.trie.lefts`, which is the continuation
count of Kneser-Ney. This is the model after one reading of the training text: it is not updated while it scores, so that
p(x) is of a fixed model, as those of all others on the bench. Symbols are characters, which are bytes where the text is ASCII.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths import trie
from research.maths.smoothing import at
from research.maths.trie import NOTHING, Level
from research.types import Array, Domain, Key, Kind, Metrics, Params, ranged


@dataclass(frozen=True, kw_only=True)
class PPM:
    """`order` is the length of the longest context, as is usual for PPM: order 5 looks as far back as a 6-gram.

    update_exclusion  counts of shorter contexts as above; without it, every occurrence counts in all of them
    """

    order: int = ranged(12, at_least=0, at_most=32)
    update_exclusion: bool = True
    context: int = ranged(None, at_least=0, from_domain='context')
    values: int = ranged(None, at_least=2, from_domain='values')

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    @property
    def depth(self) -> int:
        """Symbols of the longest gram."""
        return self.order + 1

    def fits(self, domain: Domain) -> str | None:
        if domain.kind != 'tokens':
            return f'PPM scores text, not {domain.kind} data'
        if domain.context < self.order:
            return f'order={self.order} looks back {self.order} symbols, and data.context={domain.context} gives fewer'
        return None

    def init(self, key: Key, x: Array) -> Params:
        """Empty counts with room for every gram in `x` [windows, context + length]."""
        trie.check_room(x.size, self.values)
        params = jax.eval_shape(lambda x: self.solve({}, self.statistics({}, x)[0]), x)
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), params)

    def statistics(self, params: Params, x: Array) -> tuple[Params, Metrics]:
        """The trie of all grams that end in `x` [windows, context + length]; those that end in its context count 0."""
        levels = trie.build(x, self.depth, self.context, self.values)
        return {name: {part: level[part] for part in ('codes', 'counts')} for name, level in levels.items()}, {}

    def solve(self, params: Params, statistics: Params) -> Params:
        """Counts with update exclusion, their sums, and (2) for each context as the longer one."""
        links, solved, parents = trie.suffixes(statistics, self.values), {}, 1
        for k in range(1, self.depth + 1):
            level, name = statistics[f'{k}'], f'{k}'
            counts = level['counts']
            if self.update_exclusion and k < self.depth:
                counts = trie.lefts(level, statistics[f'{k + 1}'], links[f'{k + 1}'])
            solved[name] = {
                'codes': level['codes'],
                'counts': counts,
                **trie.sums(level['codes'], counts, parents, self.values),
            }
            if k > 1:
                solved[name]['rest'] = self.rest(solved[name], solved[f'{k - 1}'], links[name], links[f'{k - 1}'])
            parents = counts.size
        return solved

    def rest(self, level: Level, shorter: Level, link: Array, parent_link: Array) -> Array:
        """n(c' | c) of (2) for each context c of `level` [parents]; its grams are linked to those of `shorter`."""
        excluded = jnp.where(level['counts'] > 0, at(shorter['counts'], link), 0)
        above = jnp.where(level['codes'] == NOTHING, parent_link.size, level['codes'] // self.values)
        taken = jnp.zeros_like(parent_link).at[above].add(excluded, mode='drop')
        return at(shorter['total'], parent_link) - taken

    def size(self, params: Params) -> int:
        """How many different grams were counted, of all lengths."""
        return int(sum((params[f'{k}']['counts'] > 0).sum() for k in range(1, self.depth + 1)))

    def spell(self, params: Params, contexts: list[Array], grams: list[Array]) -> Array:
        """log p of each symbol from the ids of its contexts, of lengths 0 to `order`, and of the grams it makes of them."""
        log_p = jnp.zeros(jnp.broadcast_shapes(contexts[0].shape, grams[0].shape))
        found = jnp.zeros(log_p.shape, bool)
        t_longer: Array | int = 0  # t of the longer context: 0 where it was never followed
        n_left: Array | int = 0
        for k in range(self.depth, 0, -1):
            level, context = params[f'{k}'], contexts[k - 1]
            types = at(level['types'], context)
            n = jnp.where(t_longer > 0, n_left, at(level['total'], context))  # (2)
            t = types - t_longer
            count = at(level['counts'], grams[k - 1])
            here = (count > 0) & ~found
            whole = 2 * n - jnp.where(types == self.values, t, 0)
            share = jnp.where(here, 2 * count - 1, t) / jnp.maximum(whole, 1)  # (1)
            log_p = log_p + jnp.log(jnp.where(found | (t == 0), 1.0, share))
            found, t_longer = found | here, types
            n_left = at(level['rest'], context) if k > 1 else 0
        return jnp.where(found, log_p, log_p - jnp.log(jnp.maximum(self.values - t_longer, 1)))

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """Nats of each window's scored symbols given the context before them, [windows]."""
        x = x.astype(jnp.int32)
        contexts, grams = [jnp.zeros_like(x)], []
        for k in range(1, self.depth + 1):
            grams.append(trie.look_up(params[f'{k}'], contexts[-1], x, self.values))
            contexts.append(trie.delayed(grams[-1]))
        log_p = self.spell(params, contexts, grams)
        return jnp.where(x >= 0, log_p, 0.0)[:, self.context :].sum(axis=1)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, length] symbols, `shape` = (length,), from the beginning of a text on."""
        every = jnp.arange(self.values)[None]  # [1, values]

        def predict(contexts: list[Array]) -> tuple[Array, list[Array]]:
            grams = [trie.look_up(params[f'{k}'], c, every, self.values) for k, c in enumerate(contexts, start=1)]
            return self.spell(params, contexts, grams), grams

        return trie.draw(predict, self.depth, key, n, shape[0])
