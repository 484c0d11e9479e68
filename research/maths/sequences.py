"""Likelihoods of sequences: another likelihood, position by position, where there is something to score.

The first axis of an event is time. A position that is given (`context`, the leading ones) is not scored, nor is one that holds
-1: nothing is there, before a text begins and after it ends. Constant outputs are shared by all positions, so what is fitted is
the frequency of each symbol or key, whenever it comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from research.maths.events import Limits, Statistics, sum_event
from research.types import Array, Domain, Key, ranged


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """`of`: Categorical for symbols [batch, time], Bernoulli for frames [batch, time, keys]."""

    of: Any
    context: int = ranged(None, at_least=0, from_domain='context')
    positions: int = ranged(None, at_least=0, from_domain='positions')

    @property
    def kinds(self) -> tuple[str, ...]:
        kinds: tuple[str, ...] = self.of.kinds
        return kinds

    @property
    def seen(self) -> Limits:
        limits: Limits = self.of.seen
        return limits

    @property
    def symbols(self) -> bool:
        """Whether a position holds a symbol, not a frame."""
        return 'tokens' in self.of.kinds

    @property
    def window(self) -> int:
        """Scored positions in one example."""
        return self.positions + 1 - self.context

    def embed(self, x: Array) -> Array:
        """Nothing is all zeros."""
        embedded: Array = self.of.embed(x if self.symbols else jnp.maximum(x, 0).astype(jnp.float32))
        return embedded

    def shape(self, event: tuple[int, ...]) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.of.shape(event)
        return shape

    def log_prob(self, outputs: Array, x: Array) -> Array:
        """[batch] nats of what is scored and there."""
        outputs = jnp.broadcast_to(outputs, (*x.shape, *outputs.shape[x.ndim :]))[:, self.context :]
        x = x[:, self.context :]
        # one variable an example: likelihoods sum over events
        each = self.of.log_prob(outputs.reshape(-1, *outputs.shape[x.ndim :]), jnp.maximum(x, 0).reshape(-1))
        return sum_event(jnp.where(x >= 0, each.reshape(x.shape), 0.0))

    def sample(self, outputs: Array, key: Key) -> Array:
        """[batch, window, ...]: the scored positions."""
        drawn: Array = self.of.sample(outputs[:, self.context :], key)
        return drawn

    def mean(self, outputs: Array) -> Array:
        """Of symbols, which have none, the likeliest."""
        mean: Array = outputs.argmax(axis=-1) if self.symbols else self.of.mean(outputs)
        return mean

    def statistics(self, x: Array, centre: Array) -> Statistics:
        flat = x.reshape(-1, *x.shape[2:])  # [batch * time, ...]
        if self.symbols:
            counted: Statistics = self.of.statistics(flat, centre)  # nothing is no symbol, and counts for none
            return counted
        return {
            'count': (flat >= 0).sum(axis=0, dtype=jnp.float32),
            'sum': jnp.maximum(flat, 0).sum(axis=0, dtype=jnp.float32),
        }

    def solve(self, statistics: Statistics, smoothing: float, centre: Array) -> Array:
        """The same at each position: [positions + 1, ...]."""
        constant = self.of.solve(statistics, smoothing, centre)
        return jnp.broadcast_to(constant, (self.positions + 1, *constant.shape))

    def misfit(self, domain: Domain) -> str | None:
        """Why data that `of` could score are no sequences."""
        if timed(domain):
            return None
        return 'Sequence scores windows of text or pieces of music, and an example here is neither'


def timed(domain: Domain) -> bool:
    """Whether the first axis of an example is time, and -1 stands where nothing is."""
    return domain.kind == 'tokens' or (domain.unit == 'time step' and len(domain.shape) > 1)
