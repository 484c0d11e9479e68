"""Autoregressive flows: each variable is scaled and moved by what a masked net makes of those before it.

So the Jacobian is a triangle, and its determinant the product of the scales. One direction is one pass of the net; the
other goes variable by variable, since each needs those before it. Which of the two is quick is what tells the kinds apart:

    MAF  (Papamakarios, Pavlakou & Murray 2017, arXiv:1705.07057)   the net sees z: quick to score, slow to draw
    IAF  (Kingma et al. 2016, arXiv:1606.04934)                     the net sees u: quick to draw and to score its draws

The order of the variables is the net's (`MADE.order_seed`), and nothing here needs to know it: all variables are found again
in each pass from those of the pass before, and after t passes the first t are right, whichever they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from research.latents.bijections import answer, bounded, start_net
from research.nets.masked import MADE
from research.types import Array, Key, Net, Params, ranged

LARGEST = 1e12  # of a variable that is not yet right: infinity times a cut connection would not be zero


def start(net: Net, key: Key, dims: int, context: int) -> Params:
    """Variables of a masked net with two outputs for each variable, and their gains."""
    return start_net(net, key, pair(jnp.zeros((1, dims)), jnp.zeros((1, context)) if context else None), (dims, 2))


def pair(x: Array, context: Array | None) -> Array | tuple[Array, Array]:
    """What the net sees."""
    return x[:, :, None] if context is None else (x[:, :, None], context)


def one_by_one(step: Callable[[Array], Array], like: Array) -> Array:
    """The x with x = step(x), where variable d of step(x) depends on those before d alone: as many passes as variables."""

    def again(x: Array, _: None) -> tuple[Array, None]:
        return jnp.clip(step(x), -LARGEST, LARGEST), None

    return jax.lax.scan(again, jnp.zeros_like(like), None, length=like.shape[1])[0]


@dataclass(frozen=True, kw_only=True)
class MAF:
    """u_d = (z_d - mu_d) exp(-alpha_d), mu and alpha from z_<d (Papamakarios et al. 2017, eqs. 3 to 5); alpha stays within
    `limit`. As a density: p(z_d | z_<d) = N(mu_d, exp(2 alpha_d)) where u is standard normal (eq. 2)."""

    net: Net = MADE(hidden=(128, 128))  # [batch, dims, 1] -> [batch, dims, 2], d from those before d
    limit: float = ranged(5.0, above=0)

    def init(self, key: Key, dims: int, context: int = 0) -> Params:
        """The identity."""
        return start(self.net, key, dims, context)

    def affine(self, params: Params, z: Array, context: Array | None) -> tuple[Array, Array]:
        """mu and alpha, each [batch, dims]."""
        outputs = answer(self.net, params, pair(z, context))
        return outputs[..., 0], bounded(outputs[..., 1], self.limit)

    def inverse(self, params: Params, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """One pass."""
        mu, alpha = self.affine(params, z, context)
        return (z - mu) * jnp.exp(-alpha), -alpha.sum(axis=1)  # eqs. 4 and 5

    def forward(self, params: Params, u: Array, context: Array | None = None) -> tuple[Array, Array]:
        """As many passes as variables."""

        def step(z: Array) -> Array:
            mu, alpha = self.affine(params, z, context)
            return u * jnp.exp(alpha) + mu  # eq. 3

        z = one_by_one(step, u)
        return z, self.affine(params, z, context)[1].sum(axis=1)


@dataclass(frozen=True, kw_only=True)
class IAF:
    """z = g u + (1 - g) m, with the gate g = sigmoid(s + `gate`) and m, s from u_<d and the context (Kingma et al. 2016,
    algorithm 1). It starts at z = sigmoid(gate) u: the paper asks for a gate of +1 to +2, nearly open."""

    net: Net = MADE(hidden=(128, 128))  # [batch, dims, 1] and context -> [batch, dims, 2], d from those before d
    gate: float = ranged(2.0)

    def init(self, key: Key, dims: int, context: int = 0) -> Params:
        """z = sigmoid(gate) u."""
        return start(self.net, key, dims, context)

    def gated(self, params: Params, u: Array, context: Array | None) -> tuple[Array, Array]:
        """m and s + gate, each [batch, dims]."""
        outputs = answer(self.net, params, pair(u, context))
        return outputs[..., 0], outputs[..., 1] + self.gate

    def forward(self, params: Params, u: Array, context: Array | None = None) -> tuple[Array, Array]:
        """One pass."""
        m, s = self.gated(params, u, context)
        g = jax.nn.sigmoid(s)
        return g * u + (1 - g) * m, jax.nn.log_sigmoid(s).sum(axis=1)

    def inverse(self, params: Params, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """As many passes as variables."""

        def step(u: Array) -> Array:
            m, s = self.gated(params, u, context)
            return z + (z - m) * jnp.exp(jnp.minimum(-s, 80.0))  # (z - (1 - g) m) / g, as 1 / g = 1 + exp(-s)

        u = one_by_one(step, z)
        return u, -jax.nn.log_sigmoid(self.gated(params, u, context)[1]).sum(axis=1)
