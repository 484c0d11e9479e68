"""q(z | x): what a VAE's encoder says of z, and how z is drawn so that gradients pass through the draw.

A posterior reads `size(latent)` numbers of the encoder for each example, its code, [batch, size]. `draw` gives z [draws, batch,
latent] with log q(z | x) [draws, batch]; `log_prob` scores any z [..., batch, latent]; `moments` are the mean and log-variance of
z that `encode` shows. Where KL(q || p) to a prior of the class `reference` is closed, `kl` gives it as [batch, parts], which sum
to it. Parameters that no code carries (of a flow) come from `init`, {} where there are none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from research.latents.priors import StandardNormal, UniformSphere
from research.maths import bounds, spheres
from research.types import Array, Key, Params


@runtime_checkable
class Posterior(Protocol):
    @property
    def reference(self) -> type: ...

    def misfit(self, latent: int, /) -> str | None: ...
    def size(self, latent: int, /) -> int: ...
    def init(self, key: Key, latent: int, /) -> Params: ...
    def draw(self, params: Params, code: Array, key: Key, draws: int, /) -> tuple[Array, Array]: ...
    def log_prob(self, params: Params, code: Array, z: Array, /) -> Array: ...
    def kl(self, code: Array, /) -> Array | None: ...
    def moments(self, code: Array, /) -> tuple[Array, Array]: ...


@dataclass(frozen=True, kw_only=True)
class Diagonal:
    """N(mean, exp(log_var)), both from the code (Kingma & Welling 2014, section 3). `limits` clip the log-variance."""

    limits: tuple[float, float] | None = None

    reference: ClassVar[type] = StandardNormal

    def misfit(self, latent: int) -> str | None:
        return None

    def size(self, latent: int) -> int:
        return 2 * latent

    def init(self, key: Key, latent: int) -> Params:
        return {}

    def moments(self, code: Array) -> tuple[Array, Array]:
        mean, log_var = jnp.split(code, 2, axis=-1)
        return mean, log_var if self.limits is None else jnp.clip(log_var, *self.limits)

    def draw(self, params: Params, code: Array, key: Key, draws: int) -> tuple[Array, Array]:
        mean, log_var = self.moments(code)
        z = mean + jnp.exp(log_var / 2) * jax.random.normal(key, (draws, *mean.shape))  # eq. 4
        return z, bounds.gaussian_log_prob(z, mean, log_var)

    def log_prob(self, params: Params, code: Array, z: Array) -> Array:
        return bounds.gaussian_log_prob(z, *self.moments(code))

    def kl(self, code: Array) -> Array:
        mean, log_var = self.moments(code)
        return bounds.gaussian_kl(mean[..., None], log_var[..., None])  # appendix B, each latent by itself


@dataclass(frozen=True, kw_only=True)
class FullCovariance:
    """N(mean, L L'), L lower triangular with exp(code) on its diagonal (Kingma & Welling 2019, arXiv:1906.02691, section 2.5.1)."""

    reference: ClassVar[type] = StandardNormal

    def misfit(self, latent: int) -> str | None:
        return None

    def size(self, latent: int) -> int:
        return 2 * latent + latent * (latent - 1) // 2

    def init(self, key: Key, latent: int) -> Params:
        return {}

    def parts(self, code: Array) -> tuple[Array, Array, Array]:
        """Mean and log-diagonal [batch, latent] and L [batch, latent, latent]."""
        size = code.shape[-1]
        latent = round(((9 + 8 * size) ** 0.5 - 3) / 2)  # size = latent (latent + 3) / 2
        mean, log_diagonal, below = jnp.split(code, [latent, 2 * latent], axis=-1)
        rows, columns = jnp.tril_indices(latent, -1)
        lower = jnp.zeros((*code.shape[:-1], latent, latent)).at[..., rows, columns].set(below)
        return mean, log_diagonal, lower + jnp.eye(latent) * jnp.exp(log_diagonal)[..., None]

    def moments(self, code: Array) -> tuple[Array, Array]:
        mean, _, lower = self.parts(code)
        return mean, jnp.log((lower**2).sum(axis=-1))

    def draw(self, params: Params, code: Array, key: Key, draws: int) -> tuple[Array, Array]:
        mean, log_diagonal, lower = self.parts(code)
        noise = jax.random.normal(key, (draws, *mean.shape))
        z = mean + jnp.einsum('bij,kbj->kbi', lower, noise, precision=jax.lax.Precision.HIGHEST)
        return z, bounds.gaussian_log_prob(noise) - log_diagonal.sum(axis=-1)

    def log_prob(self, params: Params, code: Array, z: Array) -> Array:
        mean, log_diagonal, lower = self.parts(code)
        off = jnp.broadcast_to(z - mean, jnp.broadcast_shapes(z.shape, mean.shape))
        stacked = jnp.broadcast_to(lower, (*off.shape[:-1], *lower.shape[-2:]))
        noise = jax.scipy.linalg.solve_triangular(stacked, off[..., None], lower=True)[..., 0]
        return bounds.gaussian_log_prob(noise) - log_diagonal.sum(axis=-1)

    def kl(self, code: Array) -> Array:
        """Parts j: (L L')_jj + mean_j^2 - 1 - 2 log L_jj, halved; it is their sum that is the KL divergence."""
        mean, log_diagonal, lower = self.parts(code)
        return 0.5 * ((lower**2).sum(axis=-1) + mean**2 - 1) - log_diagonal


@dataclass(frozen=True, kw_only=True)
class VonMisesFisher:
    """On the unit sphere in R^latent, density proportional to exp(kappa mean'z) (Davidson et al. 2018, arXiv:1804.00891).

    The code is a direction, divided by its length, and one number whose softplus plus 1 is kappa.
    """

    reference: ClassVar[type] = UniformSphere

    def misfit(self, latent: int) -> str | None:
        return None if latent >= 3 else f'a von Mises-Fisher posterior needs latent of at least 3, not {latent}'

    def size(self, latent: int) -> int:
        return latent + 1

    def init(self, key: Key, latent: int) -> Params:
        return {}

    def parts(self, code: Array) -> tuple[Array, Array]:
        """Mean direction [batch, latent] and kappa [batch]."""
        direction = code[..., :-1]
        length = jnp.sqrt((direction**2).sum(axis=-1, keepdims=True) + 1e-12)
        return direction / length, 1 + jax.nn.softplus(code[..., -1])

    def draw(self, params: Params, code: Array, key: Key, draws: int) -> tuple[Array, Array]:
        direction, kappa = self.parts(code)
        z = spheres.draw(key, direction, kappa, draws)
        return z, self.log_prob(params, code, z)

    def log_prob(self, params: Params, code: Array, z: Array) -> Array:
        direction, kappa = self.parts(code)
        return kappa * (direction * z).sum(axis=-1) + spheres.log_normaliser(kappa, direction.shape[-1])

    def kl(self, code: Array) -> Array:
        """One part: kappa A(kappa) + log C(kappa) + log area (section 3.1)."""
        direction, kappa = self.parts(code)
        dims = direction.shape[-1]
        kl = kappa * spheres.mean_length(kappa, dims) + spheres.log_normaliser(kappa, dims) + spheres.log_area(dims)
        return kl[..., None]

    def moments(self, code: Array) -> tuple[Array, Array]:
        """The mean direction, and the log of (1 - A^2) / latent: the variance about the mean, shared alike."""
        direction, kappa = self.parts(code)
        dims = direction.shape[-1]
        spread_out = (1 - spheres.mean_length(kappa, dims) ** 2) / dims
        return direction, jnp.broadcast_to(jnp.log(spread_out)[..., None], direction.shape)
