"""An autoregressive model of symbols: p(x) = prod_t p(x_t | x_<t), each factor a softmax over a causal net's logits.

The net (Transformer or recurrent) sees the context and the symbols before t; -1 stands for 'nothing there', which is how a text
begins. The data's windows bring `context` symbols that are given and not scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.nets.attention import Transformer
from research.nets.mlp import train_apply
from research.types import Array, Domain, Key, Kind, Net, Objective, Params, ranged


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    net: Net = Transformer()
    window: int = ranged(None, at_least=1, from_domain='positions')  # what the net saw in training, it sees to sample
    context: int = ranged(None, at_least=1, from_domain='context')
    values: int = ranged(None, at_least=2, from_domain='values')

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = True

    def fits(self, domain: Domain) -> str | None:
        if domain.kind != 'tokens':
            return f'LanguageModel scores text, not {domain.kind} data'
        return None if domain.context >= 1 else 'the first symbol needs one before it: set data.context=1'

    def init(self, key: Key, x: Array) -> Params:
        return {'net': self.net.init(key, x[:2, :-1], (x.shape[1] - 1, self.values))}

    def nats(self, logits: Array, x: Array) -> tuple[Array, Array]:
        """Nats [batch, length] of each scored symbol, 0 where there is none, and the mask of those that are there."""
        targets, log_p = x[:, self.context :], jax.nn.log_softmax(logits[:, self.context - 1 :])
        there = targets >= 0
        chosen = jnp.take_along_axis(log_p, jnp.maximum(targets, 0)[..., None], axis=-1)[..., 0]
        return jnp.where(there, -chosen, 0.0), there

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        """Mean nats per symbol."""
        logits, mutable = train_apply(self.net, params['net'], x[:, :-1], (x.shape[1] - 1, self.values), key)
        nats, there = self.nats(logits, x)
        loss = nats.sum() / jnp.maximum(there.sum(), 1)
        return Objective(loss, {'loss': loss}, {'net': mutable})

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """Nats of each window's scored symbols given its context, [windows]."""
        logits = self.net.apply(params['net'], x[:, :-1], (x.shape[1] - 1, self.values))
        return -self.nats(logits, x)[0].sum(axis=1)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, length] symbols, `shape` = (length,), each drawn given the last `window` ones; a text begins after a
        context of nothing, as in the data."""
        window = min(self.window, self.context - 1 + shape[0])

        def step(seen: Array, i: Array) -> tuple[Array, Array]:
            logits = self.net.apply(params['net'], seen, (window, self.values))  # [n, window, values]
            at = i + self.context - 1  # of the last symbol seen
            last = jax.lax.dynamic_index_in_dim(logits, jnp.minimum(at, window - 1), axis=1, keepdims=False)
            symbol = jax.random.categorical(jax.random.fold_in(key, i), last)
            room = jax.lax.dynamic_update_index_in_dim(seen, symbol, jnp.minimum(at + 1, window - 1), axis=1)
            slid = jnp.concatenate([seen[:, 1:], symbol[:, None]], axis=1)
            return jnp.where(at + 1 < window, room, slid), symbol

        start = jnp.full((n, window), -1, jnp.int32)
        return jax.lax.scan(step, start, jnp.arange(shape[0]))[1].T
