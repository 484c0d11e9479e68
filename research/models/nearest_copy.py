"""The training set, drawn from again: the control for memorisation (Meehan, Chaudhuri & Dasgupta 2020). No network anywhere.

It is no model of p(x), and has no density. Any measure of samples that it beats real models by does not see copying.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.types import Array, Domain, Key, Metrics, Params


@dataclass(frozen=True, kw_only=True)
class NearestCopy:
    """Every draw is one of the training examples, each as likely as any. One pass over all the data."""

    network: ClassVar[bool] = False

    def fits(self, domain: Domain) -> str | None:
        return None if domain.kind != 'tokens' else 'NearestCopy draws whole examples, and text is one long one'

    def init(self, key: Key, x: Array) -> Params:
        return {'examples': jnp.zeros_like(x)}

    def statistics(self, params: Params, x: Array) -> tuple[Params, Metrics]:
        return {'examples': x}, {}

    def solve(self, params: Params, statistics: Params) -> Params:
        return statistics

    def size(self, params: Params) -> int:
        """All that it remembers."""
        return int(params['examples'].size)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        chosen = jax.random.randint(key, (n,), 0, params['examples'].shape[0])
        return params['examples'][chosen].reshape(n, *shape)
