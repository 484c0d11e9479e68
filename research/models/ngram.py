"""An n-gram model, smoothed in one of three ways. Shannon 1948; Witten & Bell 1991; Chen & Goodman 1999. No network anywhere.

p(x) = prod_t p(x_t | the order - 1 symbols before it). What p is for a context that was seen once, or never, is the field
`smoothing`: Witten-Bell, (modified) Kneser-Ney or add-k, recursions over the order that `maths.smoothing` gives in equations.
All leave a context that was never seen to the shorter one, and mix in 1 / values in the end, so that no symbol is
impossible; below 1e-37, where float32 ends, a probability is scored as that.

The counts are a trie of sorted arrays (`maths.trie`): any order fits in int32, and a look-up is one binary search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths import trie
from research.maths.smoothing import Smoothing, WittenBell
from research.maths.trie import Level
from research.types import Array, Domain, Key, Kind, Metrics, Params, ranged

LEAST = 1e-37


@dataclass(frozen=True, kw_only=True)
class NGram:
    """`order` counts the predicted symbol too: 1 is the distribution of single symbols."""

    order: int = ranged(5, at_least=1, at_most=32)
    smoothing: Smoothing = WittenBell()
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
        trie.check_room(x.size, self.values)
        params = jax.eval_shape(lambda x: self.solve({}, self.statistics({}, x)[0]), x)
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), params)

    def statistics(self, params: Params, x: Array) -> tuple[Params, Metrics]:
        """The trie of all grams that end in `x` [windows, context + length]; those that end in its context count 0."""
        return trie.build(x, self.order, self.context, self.values), {}

    def solve(self, params: Params, statistics: Params) -> Params:
        return self.smoothing.solve(statistics, self.values)

    def size(self, params: Params) -> int:
        """How many different grams were counted, of all lengths."""
        return int(sum((params[f'{k}']['counts'] > 0).sum() for k in range(1, self.order + 1)))

    def refine(self, level: Level, context: Array, symbol: Array, p: Array | float) -> tuple[Array, Array]:
        """The recursion, one order up: p(symbol | context) from that of the shorter context, and the id of the gram.

        `context` holds the ids of contexts (-1: never seen), of a shape that broadcasts with `symbol`.
        """
        gram = trie.look_up(level, context, symbol, self.values)
        return self.smoothing.refine(level, context, gram, p, self.values), gram

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """Nats of each window's scored symbols given the context before them, [windows]."""
        x = x.astype(jnp.int32)
        p: Array | float = 1 / self.values
        context = jnp.zeros_like(x)
        for k in range(1, self.order + 1):
            p, gram = self.refine(params[f'{k}'], context, x, p)
            context = trie.delayed(gram)
        log_p = jnp.log(jnp.maximum(p, LEAST))
        return jnp.where(x >= 0, log_p, 0.0)[:, self.context :].sum(axis=1)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, length] symbols, `shape` = (length,), from the beginning of a text on."""
        every = jnp.arange(self.values)[None]  # [1, values]

        def predict(contexts: list[Array]) -> tuple[Array, list[Array]]:
            p: Array | float = 1 / self.values
            grams = []
            for k, context in enumerate(contexts, start=1):
                p, gram = self.refine(params[f'{k}'], context, every, p)  # [n, values]
                grams.append(gram)
            return jnp.log(p), grams

        return trie.draw(predict, self.order, key, n, shape[0])
