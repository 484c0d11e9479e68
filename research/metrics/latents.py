"""What an estimator of log p(x) asks of a model with latent variables, and how the VAEs of the bench answer it.

Any model may have these functions itself; discrete latents are as welcome as real ones. The VAEs keep their own shape and are
looked at through an adapter: the plain one in all its variants, the one with two levels, whose z is (z2, z1) end to end, and
one that lies within a model with a critic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from research.latents.priors import UniformSphere
from research.maths.events import repeat
from research.models.factor_vae import FactorVAE
from research.models.hierarchical_vae import HierarchicalVAE
from research.models.vae import VAE
from research.types import Array, Key, Params


@runtime_checkable
class Latent(Protocol):
    """A model with latent variables z [draws, batch, ...], real or not. What q takes from x is its code, made once."""

    @property
    def everywhere(
        self,
    ) -> bool: ...  # whether z is a real vector with a density all over space, through which one may anneal

    def code(self, params: Params, x: Array, /) -> Any: ...
    def propose(self, params: Params, code: Any, key: Key, draws: int, /) -> tuple[Array, Array]: ...  # z, log q(z | x)
    def log_proposal(self, params: Params, code: Any, z: Array, /) -> Array: ...  # log q(z | x), [draws, batch]
    def log_prior(self, params: Params, z: Array, /) -> Array: ...  # log p(z), [draws, batch]
    def log_likelihood(self, params: Params, x: Array, z: Array, /) -> Array: ...  # log p(x | z), [draws, batch]
    def draw_prior(self, params: Params, key: Key, n: int, /) -> Array: ...  # z [n, ...]
    def draw_data(self, params: Params, z: Array, key: Key, event: tuple[int, ...], /) -> Array: ...  # [n, *event]


@dataclass(frozen=True, kw_only=True)
class Codes:
    """A VAE as a `Latent`, whatever its posterior, prior and likelihood."""

    vae: VAE

    @property
    def everywhere(self) -> bool:
        return self.vae.posterior.reference is not UniformSphere

    def code(self, params: Params, x: Array) -> Array:
        return self.vae.code(params, self.vae.likelihood.embed(x))

    def propose(self, params: Params, code: Array, key: Key, draws: int) -> tuple[Array, Array]:
        return self.vae.posterior.draw(params.get('posterior', {}), code, key, draws)

    def log_proposal(self, params: Params, code: Array, z: Array) -> Array:
        return self.vae.posterior.log_prob(params.get('posterior', {}), code, z)

    def log_prior(self, params: Params, z: Array) -> Array:
        return self.vae.prior.log_prob(self.vae, params, z)

    def log_likelihood(self, params: Params, x: Array, z: Array) -> Array:
        repeated = repeat(x, z.shape[0])
        outputs = self.vae.decode(params, z.reshape(-1, z.shape[-1]), x.shape[1:], repeated)
        return self.vae.likelihood.log_prob(outputs, repeated).reshape(z.shape[:2])

    def draw_prior(self, params: Params, key: Key, n: int) -> Array:
        return self.vae.prior.sample(self.vae, params, key, n)

    def draw_data(self, params: Params, z: Array, key: Key, event: tuple[int, ...]) -> Array:
        return self.vae.likelihood.sample(self.vae.decode(params, z, event), key)


@dataclass(frozen=True, kw_only=True)
class Levels:
    """A VAE of two levels as a `Latent`: z = (z2, z1), and its code is x, since what q of the second level reads is made of both."""

    vae: HierarchicalVAE

    everywhere: ClassVar[bool] = True

    def code(self, params: Params, x: Array) -> Array:
        return x

    def levels(self, z: Array) -> tuple[Array, Array]:
        """z1 and z2, each [draws * batch, ...]."""
        flat = z.reshape(-1, z.shape[-1])
        return flat[:, self.vae.latent :], flat[:, : self.vae.latent]

    def propose(self, params: Params, code: Array, key: Key, draws: int) -> tuple[Array, Array]:
        z1, z2, log_q, _ = self.vae.infer(params, code, draws, key, False)
        return jnp.concatenate([z2, z1], axis=1).reshape(draws, len(code), -1), log_q

    def log_proposal(self, params: Params, code: Array, z: Array) -> Array:
        return self.vae.log_proposal(params, code, *self.levels(z))

    def log_prior(self, params: Params, z: Array) -> Array:
        z1, z2 = self.levels(z)
        log_p = self.vae.posterior.log_prob({}, self.top(params, z2), z1) + self.vae.prior.log_prob(
            self.vae, params, z2
        )
        return log_p.reshape(z.shape[:2])

    def top(self, params: Params, z2: Array) -> Array:
        """The code of p(z1 | z2)."""
        return self.vae.run('top_decoder', params, z2, (2 * self.vae.lower_latent,), None)[0]

    def log_likelihood(self, params: Params, x: Array, z: Array) -> Array:
        outputs = self.vae.decode(params, *self.levels(z), x.shape[1:])
        return self.vae.likelihood.log_prob(outputs, repeat(x, z.shape[0])).reshape(z.shape[:2])

    def draw_prior(self, params: Params, key: Key, n: int) -> Array:
        key_top, key_lower = jax.random.split(key)
        z2 = self.vae.prior.sample(self.vae, params, key_top, n)
        z1 = self.vae.posterior.draw({}, self.top(params, z2), key_lower, 1)[0][0]
        return jnp.concatenate([z2, z1], axis=1)

    def draw_data(self, params: Params, z: Array, key: Key, event: tuple[int, ...]) -> Array:
        return self.vae.likelihood.sample(self.vae.decode(params, *self.levels(z), event), key)


@dataclass(frozen=True, kw_only=True)
class Within:
    """A `Latent` whose parameters are one part of the whole model's, such as 'generator'."""

    part: str
    model: Latent

    @property
    def everywhere(self) -> bool:
        return self.model.everywhere

    def code(self, params: Params, x: Array) -> Any:
        return self.model.code(params[self.part], x)

    def propose(self, params: Params, code: Any, key: Key, draws: int) -> tuple[Array, Array]:
        return self.model.propose(params[self.part], code, key, draws)

    def log_proposal(self, params: Params, code: Any, z: Array) -> Array:
        return self.model.log_proposal(params[self.part], code, z)

    def log_prior(self, params: Params, z: Array) -> Array:
        return self.model.log_prior(params[self.part], z)

    def log_likelihood(self, params: Params, x: Array, z: Array) -> Array:
        return self.model.log_likelihood(params[self.part], x, z)

    def draw_prior(self, params: Params, key: Key, n: int) -> Array:
        return self.model.draw_prior(params[self.part], key, n)

    def draw_data(self, params: Params, z: Array, key: Key, event: tuple[int, ...]) -> Array:
        return self.model.draw_data(params[self.part], z, key, event)


def latent(model: Any) -> Latent | None:
    """A model as the estimators ask for it; None for one without latent variables that they know of."""
    if isinstance(model, VAE):
        return Codes(vae=model)
    if isinstance(model, HierarchicalVAE):
        return Levels(vae=model)
    if isinstance(model, FactorVAE):
        return Within(part='generator', model=Codes(vae=model.vae))
    return model if isinstance(model, Latent) else None
