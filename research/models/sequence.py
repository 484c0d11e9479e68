"""A recurrent net over chords: p(x) = prod_t prod_k p(x_tk | x_<t), exact and fitted by gradient.

Chung, Gulcehre, Cho & Bengio 2014 (arXiv:1412.3555), after Boulanger-Lewandowski et al. 2012 (arXiv:1206.6392): the net has
seen the frames before t and gives one logit for each key, and given those the keys of a frame are independent,

    log p(x) = sum_t sum_k [x_tk o_tk - log(1 + e^{o_tk})],    o_t = net(0, x_1, .., x_{t-1}) + b                    (1)

with silence before the first frame. b starts at the logits of how often each key sounds, and stays there: the net learns what
is beyond that. Training may add noise to the weights, anew for each batch (Graves 2011), as Chung et al. do.

An example is [time, ...], filled up with -1 behind its end. An entry that is not there is not scored, and the net takes it for
silence. The loss is in nats per time step, over all steps of the batch that hold anything: also the `context`, which a score
takes as given, so that samples know how to begin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from research.models.persistence import misfit
from research.nets.mlp import train_apply
from research.nets.recurrent import Recurrent
from research.types import Array, Domain, Key, Kind, Objective, Params, ranged


@dataclass(frozen=True, kw_only=True)
class SequenceModel:
    """`weight_noise` is the standard deviation of what is added to each weight in training; `smoothing` pseudo-counts keep b
    finite where a key never or always sounds."""

    net: Recurrent = Recurrent()
    weight_noise: float = ranged(0.0, at_least=0)
    smoothing: float = ranged(1.0, above=0)
    context: int = ranged(None, at_least=0, from_domain='context')

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = True

    def fits(self, domain: Domain) -> str | None:
        return misfit('SequenceModel', domain)

    def init(self, key: Key, x: Array) -> Params:
        x = frames(x)
        ones, there = (x == 1).sum(axis=(0, 1)), (x >= 0).sum(axis=(0, 1))
        offset = jnp.log(ones + self.smoothing) - jnp.log(there - ones + self.smoothing)
        return {'net': self.net.init(key, delayed(x[:2]), x.shape[1:]), 'constants': {'offset': offset}}

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        """Mean nats per time step, all steps of the batch pooled."""
        key_noise, key_net = jax.random.split(key)
        x = frames(x)
        net = noisy(params['net'], self.weight_noise, key_noise)
        raw, mutable = train_apply(self.net, net, delayed(x), x.shape[1:], key_net)
        loss = self.nats(raw + params['constants']['offset'], x).sum() / jnp.maximum((x >= 0).any(axis=2).sum(), 1)
        return Objective(loss, {'loss': loss}, {'net': mutable})

    def nats(self, outputs: Array, x: Array) -> Array:
        """Minus eq. 1, entry by entry, 0 where nothing is: [batch, time, keys]."""
        return jnp.where(x >= 0, jax.nn.softplus(outputs) - x * outputs, 0.0)

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats of each sequence, given its context where it has one."""
        x = frames(x)
        outputs = self.net.apply(params['net'], delayed(x), x.shape[1:]) + params['constants']['offset']
        return -self.nats(outputs, x)[:, self.context :].sum(axis=(1, 2))

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape], `shape` = (time, ...): sequences of full length, from the beginning on."""
        offset, one = params['constants']['offset'], (1, math.prod(shape[1:]))
        net: Any = self.net  # beside `apply`, it goes on from where it was

        def step(carry: tuple[Any, Array], i: Array) -> tuple[tuple[Any, Array], Array]:
            left, before = carry
            left, raw = net.apply(params['net'], before, left, one, method='go_on')
            drawn = jax.random.bernoulli(jax.random.fold_in(key, i), jax.nn.sigmoid(raw + offset)).astype(jnp.float32)
            return (left, drawn), drawn[:, 0]

        silence = jnp.zeros((n, *one))
        left = jax.tree.map(jnp.zeros_like, net.apply(params['net'], silence, None, one, method='go_on')[0])
        drawn = jax.lax.scan(step, (left, silence), jnp.arange(shape[0]))[1]
        return drawn.swapaxes(0, 1).reshape(n, *shape)


def frames(x: Array) -> Array:
    """[batch, time, ...] -> [batch, time, keys] float32."""
    return x.reshape(*x.shape[:2], -1).astype(jnp.float32)


def delayed(x: Array) -> Array:
    """What the net sees before each frame of x [batch, time, keys]: silence, then all frames but the last."""
    return jnp.maximum(jnp.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0))), 0.0)


def noisy(params: Params, deviation: float, key: Key) -> Params:
    """Every weight with normal noise of this deviation."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    added = [leaf + deviation * jax.random.normal(k, leaf.shape) for leaf, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, added)
