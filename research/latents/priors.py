"""p(z): what a VAE draws z from, and what its rate is measured against.

A prior is given the whole model and all its parameters, since one of them is made of the model's own encoder; its own
parameters are params['prior'], {} where it has none. `log_prob` takes z [..., latent] to [...] nats; `sample` gives [n, latent].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from research.maths import bounds, spheres
from research.types import Array, BadInput, Differentiable, Domain, Key, Objective, Params, Scorer, ranged

STARTING = 1000  # draws of N(0, I) that a density over z is started from


@runtime_checkable
class Prior(Protocol):
    def suits(self, posterior: Any, /) -> bool: ...  # whether it is of the points that this posterior draws
    def misfit(self, latent: int, /) -> str | None: ...  # why it is no density of z, as the end of a sentence
    def init(self, key: Key, latent: int, embedded: Array, /) -> Params: ...
    def log_prob(self, model: Any, params: Params, z: Array, /) -> Array: ...
    def sample(self, model: Any, params: Params, key: Key, n: int, /) -> Array: ...


@dataclass(frozen=True, kw_only=True)
class StandardNormal:
    """N(0, I)."""

    def suits(self, posterior: Any) -> bool:
        return posterior.reference is not UniformSphere

    def misfit(self, latent: int) -> str | None:
        return None

    def init(self, key: Key, latent: int, embedded: Array) -> Params:
        return {}

    def log_prob(self, model: Any, params: Params, z: Array) -> Array:
        return bounds.gaussian_log_prob(z)

    def sample(self, model: Any, params: Params, key: Key, n: int) -> Array:
        return jax.random.normal(key, (n, model.latent))


@dataclass(frozen=True, kw_only=True)
class UniformSphere:
    """The same density all over the unit sphere in R^latent."""

    def suits(self, posterior: Any) -> bool:
        return posterior.reference is UniformSphere

    def misfit(self, latent: int) -> str | None:
        return None

    def init(self, key: Key, latent: int, embedded: Array) -> Params:
        return {}

    def log_prob(self, model: Any, params: Params, z: Array) -> Array:
        return jnp.full(z.shape[:-1], -spheres.log_area(z.shape[-1]))

    def sample(self, model: Any, params: Params, key: Key, n: int) -> Array:
        z = jax.random.normal(key, (n, model.latent))
        return z / jnp.linalg.norm(z, axis=-1, keepdims=True)


@dataclass(frozen=True, kw_only=True)
class VampPrior:
    """(1/K) sum_k q(z | u_k): the posterior at K learned pseudo-inputs u_k, through the encoder as it scores (Tomczak & Welling
    2018, arXiv:1705.07120, section 3). u is clipped to where the data may lie.

    start  'data': at training examples, with noise of deviation 0.01; 'noise': at N(0.05, 0.01), as for the paper's MNIST
    """

    inputs: int = ranged(50, at_least=1)  # K
    start: Literal['data', 'noise'] = 'data'

    def suits(self, posterior: Any) -> bool:
        return True

    def misfit(self, latent: int) -> str | None:
        return None

    def init(self, key: Key, latent: int, embedded: Array) -> Params:
        """Raises BadInput where there are fewer examples than pseudo-inputs."""
        rows = embedded.shape[0]
        if self.inputs > rows:
            raise BadInput(
                f'prior.inputs={self.inputs}: more pseudo-inputs than the {rows} examples that training starts from (all of '
                f'the data, or 10000 of them); expected at most {rows}'
            )
        key_rows, key_noise = jax.random.split(key)
        noise = 0.01 * jax.random.normal(key_noise, (self.inputs, *embedded.shape[1:]))
        if self.start == 'noise':
            return {'inputs': 0.05 + noise}
        return {'inputs': embedded[jax.random.choice(key_rows, rows, (self.inputs,), replace=False)] + noise}

    def codes(self, model: Any, params: Params) -> Array:
        """[K, size]."""
        inputs, limits = params['prior']['inputs'], model.likelihood.seen
        return model.code(params, inputs if limits is None else jnp.clip(inputs, *limits))

    def log_prob(self, model: Any, params: Params, z: Array) -> Array:
        each = model.posterior.log_prob(params.get('posterior', {}), self.codes(model, params), z[..., None, :])
        return jax.nn.logsumexp(each, axis=-1) - jnp.log(self.inputs)

    def sample(self, model: Any, params: Params, key: Key, n: int) -> Array:
        key_k, key_z = jax.random.split(key)
        codes = self.codes(model, params)[jax.random.randint(key_k, (n,), 0, self.inputs)]
        return model.posterior.draw(params.get('posterior', {}), codes, key_z, 1)[0][0]


@dataclass(frozen=True, kw_only=True)
class Density:
    """Any density model on real data as the prior: a mixture of normals, a flow. It is fitted with the VAE, by one loss."""

    model: Differentiable

    def suits(self, posterior: Any) -> bool:
        return posterior.reference is not UniformSphere

    def misfit(self, latent: int) -> str | None:
        why = self.model.fits(Domain(kind='real', shape=(latent,)))
        if why is None and not isinstance(self.model, Scorer):
            why = f'{type(self.model).__name__} cannot score'
        return why and f'prior is no density of z: {why}'

    def init(self, key: Key, latent: int, embedded: Array) -> Params:
        key_model, key_z = jax.random.split(key)
        return self.model.init(key_model, jax.random.normal(key_z, (STARTING, latent)))

    def log_prob(self, model: Any, params: Params, z: Array) -> Array:
        flat = z.reshape(-1, z.shape[-1])
        scored: Any = self.model
        return scored.log_prob(params['prior'], flat, jax.random.key(0)).reshape(z.shape[:-1])

    def sample(self, model: Any, params: Params, key: Key, n: int) -> Array:
        return self.model.sample(params['prior'], key, n, (model.latent,))


@dataclass(frozen=True, kw_only=True)
class AfterTheFact:
    """The model is trained against N(0, I), and a density follows its codes without being felt by it; samples and scores then
    take z from that density: ex-post density estimation (Ghosh et al. 2020, arXiv:1903.12436, section 4), with a second
    VAE as the density the two-stage VAE (Dai & Wipf 2019, arXiv:1903.05789).

    Both train at once; as the model settles the density has its last codes to learn, which is what a second run would see.
    """

    density: Differentiable

    prior: ClassVar[StandardNormal] = StandardNormal()

    def suits(self, posterior: Any) -> bool:
        return posterior.reference is not UniformSphere

    def misfit(self, latent: int) -> str | None:
        return Density(model=self.density).misfit(latent)

    def init(self, key: Key, latent: int, embedded: Array) -> Params:
        return Density(model=self.density).init(key, latent, embedded)

    def log_prob(self, model: Any, params: Params, z: Array) -> Array:
        return Density(model=self.density).log_prob(model, params, z)

    def sample(self, model: Any, params: Params, key: Key, n: int) -> Array:
        return Density(model=self.density).sample(model, params, key, n)

    def follow(self, params: Params, z: Array, key: Key) -> Objective:
        """The density's own objective on z [n, latent] held still."""
        return self.density.loss(params['prior'], bounds.held(z), key)
