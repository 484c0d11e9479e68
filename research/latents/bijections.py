"""Bijections of a space onto itself, with the logarithm of how much they stretch its volume: what flows are made of.

If u has the density p(u), then z = f(u) has (Rezende & Mohamed 2015, arXiv:1505.05770, eq. 5)

    log p(z) = log p(u) - log |det df/du|                                                                          (1)

`forward` is f, u -> z, and `inverse` goes back; both give the log-determinant of their own direction. All start at or near
the identity, and all may depend on a context, such as what an encoder says of x. Here are the planar flow, the coupling of
RealNVP and ways to combine; the autoregressive flows are in `latents/autoregressive.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp

from research.nets.mlp import MLP
from research.types import MUTABLE, Array, BadInput, Key, Net, Params, ranged

HALVINGS = 40  # of an interval about the answer: from 1e3 to below float32's own step
LEAST = 1e-12  # of |w|^2, which a division needs
NUDGE = 0.1  # length of what is added to y at the start


class Bijection(Protocol):
    """u, z [batch, dims]; context [batch, size], or None where `init` was told of none; log_det [batch] nats."""

    def init(self, key: Key, dims: int, context: int = 0) -> Params: ...
    def forward(self, params: Params, u: Array, context: Array | None = None) -> tuple[Array, Array]: ...
    def inverse(self, params: Params, z: Array, context: Array | None = None) -> tuple[Array, Array]: ...


def start_net(net: Net, key: Key, x: Array | tuple[Array, Array], shape: tuple[int, ...]) -> Params:
    """Variables of a net, and a learned gain of each of its outputs that starts at zero: so its answer starts at zero,
    whatever net it is (Kingma & Dhariwal 2018, arXiv:1807.03039, section 3.3, start the last layer there).

    Raises BadInput for a net with batch statistics or other collections that training carries: a bijection has no state.
    """
    variables = net.init(key, x, shape)  # type: ignore[arg-type]
    carried = [name for name in MUTABLE if name in variables]
    if carried:
        raise BadInput(f'the net of a bijection may carry nothing from batch to batch, and this one has {carried[0]}')
    return {'net': variables, 'gain': jnp.zeros(shape)}


def answer(net: Net, params: Params, x: Array | tuple[Array, Array]) -> Array:
    """The net's outputs times their gains, [batch, *shape]."""
    gain = params['gain']
    return gain * net.apply(params['net'], x, gain.shape)  # type: ignore[arg-type]


def bounded(a: Array, limit: float | Array) -> Array:
    """a near zero, and never beyond -limit .. limit: a log-scale that cannot overflow."""
    return limit * jnp.tanh(a / limit)


@dataclass(frozen=True, kw_only=True)
class Planar:
    """z = u + v tanh(w.u + b) (Rezende & Mohamed 2015, eq. 10), of which v = y + (m(w.y) - w.y) w / |w|^2 with
    m(a) = softplus(a) - 1 has w.v > -1, so that it is invertible (appendix A.1). The paper calls v and y u-hat and u.

    A context moves w, y and b by a linear map of its own: the amortised flow of the paper's section 4.2. The way back has
    no closed form: s = w.u solves w.z = s + w.v tanh(s + b), which rises in s, and is found by halving an interval.
    """

    def init(self, key: Key, dims: int, context: int = 0) -> Params:
        """Near the identity: w at random, y close to where m(w.y) = 0 and v = 0. At v = 0 itself, b has no gradient."""
        key_w, key_y = jax.random.split(key)
        w = jax.random.normal(key_w, (dims,)) / jnp.sqrt(dims)
        y = jnp.log(jnp.expm1(1.0)) * w / (w @ w + LEAST) + NUDGE * jax.random.normal(key_y, (dims,)) / jnp.sqrt(dims)
        moved = {'context': jnp.zeros((context, 2 * dims + 1))} if context else {}
        return {'w': w, 'y': y, 'b': jnp.zeros(1), **moved}

    def vectors(self, params: Params, context: Array | None) -> tuple[Array, Array, Array, Array]:
        """w and v [batch or 1, dims], b and 1 + w.v = softplus(w.y) [batch or 1]."""
        joined = jnp.concatenate([params['w'], params['y'], params['b']])[None]
        if context is not None:
            joined = joined + context @ params['context']
        w, y, b = jnp.split(joined, [params['w'].size, 2 * params['w'].size], axis=1)
        along, square = (w * y).sum(axis=1), (w * w).sum(axis=1) + LEAST
        stretch = jax.nn.softplus(along)
        v = y + ((stretch - 1 - along) / square)[:, None] * w
        return w, v, b[:, 0], stretch

    def forward(self, params: Params, u: Array, context: Array | None = None) -> tuple[Array, Array]:
        w, v, b, stretch = self.vectors(params, context)
        h = jnp.tanh((w * u).sum(axis=1) + b)  # [batch]
        return u + v * h[:, None], log_stretch(h, stretch)  # eq. 10

    def inverse(self, params: Params, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        w, v, b, stretch = self.vectors(params, context)
        h = jnp.tanh(rising_root((w * z).sum(axis=1), stretch - 1, b) + b)
        return z - v * h[:, None], -log_stretch(h, stretch)


def log_stretch(h: Array, stretch: Array) -> Array:
    """log(1 + w.v (1 - h^2)) (eq. 12), written so that nothing cancels where 1 + w.v is next to nothing."""
    return jnp.log(h * h + stretch * (1 - h * h))


def rising_root(target: Array, slope: Array, b: Array) -> Array:
    """s [batch] with s + slope tanh(s + b) = target, for slope > -1: it lies within |slope| of the target.

    The value is found by halving. Its gradient is that of one Newton step from there, which is the implicit one.
    """

    def residual(s: Array, target: Array, slope: Array, b: Array) -> Array:
        return s + slope * jnp.tanh(s + b) - target

    held = jax.lax.stop_gradient((target, slope, b))
    width = jnp.abs(held[1]) + jnp.zeros_like(held[0])  # [batch]

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        below = residual(middle, *held) < 0
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = jax.lax.fori_loop(0, HALVINGS, halve, (held[0] - width, held[0] + width))
    s = jax.lax.stop_gradient((low + high) / 2)
    h = jnp.tanh(s + held[2])
    step = -residual(s, target, slope, b) / (h * h + (1 + held[1]) * (1 - h * h))
    return s + step - jax.lax.stop_gradient(step)


@dataclass(frozen=True, kw_only=True)
class RealNVP:
    """Two affine couplings (Dinh et al. 2017, arXiv:1605.08803, eqs. 4 and 5), of which the masks are each other's
    complement: variables 1, 3 .. are scaled and moved by what a net makes of 0, 2 .., then those by what another makes of
    the new 1, 3 ... Both directions are one pass. log-scales stay within `limit`; the context is seen by both nets.
    """

    net: Net = MLP(hidden=(128, 128))  # [batch, kept + context] -> log-scales and shifts [batch, 2, moved]
    limit: float = ranged(5.0, above=0)

    def init(self, key: Key, dims: int, context: int = 0) -> Params:
        """Raises BadInput for a single variable: there is nothing to move it by."""
        if dims < 2:
            raise BadInput(f'RealNVP needs at least 2 variables, of which each half moves the other, and has {dims}')
        key_odd, key_even = jax.random.split(key)
        odd, even = dims // 2, dims - dims // 2
        return {
            'odd': start_net(self.net, key_odd, jnp.zeros((1, even + context)), (2, odd)),
            'even': start_net(self.net, key_even, jnp.zeros((1, odd + context)), (2, even)),
        }

    def affine(self, params: Params, kept: Array, context: Array | None) -> tuple[Array, Array]:
        """log-scales s and shifts t of the other half, each [batch, moved]."""
        seen = kept if context is None else jnp.concatenate([kept, context], axis=1)
        outputs = answer(self.net, params, seen)
        return bounded(outputs[:, 0], self.limit), outputs[:, 1]

    def forward(self, params: Params, u: Array, context: Array | None = None) -> tuple[Array, Array]:
        even, odd = u[:, 0::2], u[:, 1::2]
        s, t = self.affine(params['odd'], even, context)
        odd = odd * jnp.exp(s) + t  # eq. 5
        r, q = self.affine(params['even'], odd, context)
        even = even * jnp.exp(r) + q
        return interleave(even, odd), s.sum(axis=1) + r.sum(axis=1)  # eq. 6

    def inverse(self, params: Params, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        even, odd = z[:, 0::2], z[:, 1::2]
        r, q = self.affine(params['even'], odd, context)
        even = (even - q) * jnp.exp(-r)  # eq. 8
        s, t = self.affine(params['odd'], even, context)
        odd = (odd - t) * jnp.exp(-s)
        return interleave(even, odd), -s.sum(axis=1) - r.sum(axis=1)


def interleave(even: Array, odd: Array) -> Array:
    """Variables 0, 2 .. and 1, 3 .. as one array [batch, dims]."""
    whole = jnp.zeros((even.shape[0], even.shape[1] + odd.shape[1]), even.dtype)
    return whole.at[:, 0::2].set(even).at[:, 1::2].set(odd)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """`layers` copies of one step, each with parameters of its own; with `reverse` the variables change their order from
    layer to layer, so that what came first in one comes last in the next."""

    step: Bijection = Planar()
    layers: int = ranged(4, at_least=1)
    reverse: bool = True

    def init(self, key: Key, dims: int, context: int = 0) -> Params:
        return {str(i): self.step.init(jax.random.fold_in(key, i), dims, context) for i in range(self.layers)}

    def forward(self, params: Params, u: Array, context: Array | None = None) -> tuple[Array, Array]:
        return self.through(self.step.forward, params, u, context, range(self.layers))

    def inverse(self, params: Params, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        return self.through(self.step.inverse, params, z, context, reversed(range(self.layers)))

    def through(
        self,
        move: Callable[..., tuple[Array, Array]],
        params: Params,
        z: Array,
        context: Array | None,
        order: Iterable[int],
    ) -> tuple[Array, Array]:
        """z [batch, dims] moved by each layer in this order, turned round between two, and the sum of log-determinants."""
        total = jnp.zeros(z.shape[0])
        for place, i in enumerate(order):
            z = z[:, ::-1] if self.reverse and place else z
            z, log_det = move(params[str(i)], z, context)
            total = total + log_det
        return z, total


@dataclass(frozen=True, kw_only=True)
class Chain:
    """One bijection after another, of different kinds: z = second(first(u))."""

    first: Bijection
    second: Bijection

    def init(self, key: Key, dims: int, context: int = 0) -> Params:
        key_first, key_second = jax.random.split(key)
        return {
            'first': self.first.init(key_first, dims, context),
            'second': self.second.init(key_second, dims, context),
        }

    def forward(self, params: Params, u: Array, context: Array | None = None) -> tuple[Array, Array]:
        middle, log_det = self.first.forward(params['first'], u, context)
        z, more = self.second.forward(params['second'], middle, context)
        return z, log_det + more

    def inverse(self, params: Params, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        middle, log_det = self.second.inverse(params['second'], z, context)
        u, more = self.first.inverse(params['first'], middle, context)
        return u, log_det + more
