"""A posterior that is a diagonal normal sent through bijections: planar flows (Rezende & Mohamed 2015, arXiv:1505.05770), inverse
autoregressive ones (Kingma et al. 2016, arXiv:1606.04934, algorithm 1).

With z_0 ~ N(mean, exp(log_var)) and z = f_T(... f_1(z_0)), log q(z | x) = log N(z_0) - sum_t log |det df_t/dz_{t-1}|. Drawing goes
forwards and has the determinants on its way; scoring a given z goes backwards through the inverses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.latents.bijections import Bijection
from research.maths import bounds
from research.types import Array, Key, Params, ranged


@dataclass(frozen=True, kw_only=True)
class Flowing:
    """The bijection may read `context` more numbers of the encoder's for each example. Moments are those of the normal before
    the flow: not exact."""

    bijection: Bijection
    context: int = ranged(0, at_least=0)

    reference: ClassVar[type] = type(None)

    def misfit(self, latent: int) -> str | None:
        return None

    def size(self, latent: int) -> int:
        return 2 * latent + self.context

    def init(self, key: Key, latent: int) -> Params:
        return self.bijection.init(key, latent, self.context)

    def parts(self, code: Array) -> tuple[Array, Array, Array | None]:
        """Mean and log-variance of the normal, and the context."""
        latent = (code.shape[-1] - self.context) // 2
        mean, log_var, context = jnp.split(code, [latent, 2 * latent], axis=-1)
        return mean, log_var, context if self.context else None

    def draw(self, params: Params, code: Array, key: Key, draws: int) -> tuple[Array, Array]:
        mean, log_var, context = self.parts(code)
        u = mean + jnp.exp(log_var / 2) * jax.random.normal(key, (draws, *mean.shape))
        repeated = None if context is None else jnp.tile(context, (draws, 1))
        z, log_det = self.bijection.forward(params, u.reshape(-1, mean.shape[-1]), repeated)
        return z.reshape(u.shape), bounds.gaussian_log_prob(u, mean, log_var) - log_det.reshape(u.shape[:2])

    def log_prob(self, params: Params, code: Array, z: Array) -> Array:
        mean, log_var, context = self.parts(code)
        shape = jnp.broadcast_shapes(z.shape, mean.shape)
        flat = jnp.broadcast_to(z, shape).reshape(-1, shape[-1])
        repeated = None if context is None else jnp.broadcast_to(context, (*shape[:-1], self.context))
        each = None if repeated is None else repeated.reshape(-1, self.context)
        u, log_det = self.bijection.inverse(params, flat, each)
        return bounds.gaussian_log_prob(u.reshape(shape), mean, log_var) + log_det.reshape(shape[:-1])

    def kl(self, code: Array) -> None:
        return None

    def moments(self, code: Array) -> tuple[Array, Array]:
        return self.parts(code)[:2]
