"""log p(x) of VAEs that are small enough to know it: what estimators are measured against.

A linear decoder with a normal of fixed scale s around it makes x normal, with mean b and covariance W W' + s^2 I: probabilistic
PCA (Tipping & Bishop 1999, J. R. Stat. Soc. B 61(3)), whatever the encoder. With two latent variables, p(x) is an integral
over the plane, and the midpoint rule, of an integrand that is smooth and vanishes at the edges, errs by less than any power of the
cells' side: what is left at twice as many cells says how much that is.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from research.maths.likelihoods import Gaussian
from research.models.ppca import PPCA
from research.models.vae import VAE
from research.types import Array, BadInput, Params

EDGE, CELLS = 6.0, 240  # of the square that is summed over: beyond it lies 2e-9 of N(0, I)


def linear(model: VAE, params: Params, x: Array) -> Array:
    """[batch] nats of x [batch, ...] for a linear decoder and N(0, I). Raises BadInput without a fixed scale.

    That the decoder is linear is not checked: W is its output at each unit vector less that at 0.
    """
    if not isinstance(model.likelihood, Gaussian) or model.likelihood.scale is None:
        raise BadInput('a closed form is for likelihood=Gaussian(scale=...), with a scale that is fixed')
    basis = jnp.concatenate([jnp.zeros((1, model.latent)), jnp.eye(model.latent)])
    outputs = model.decode(params, basis, x.shape[1:]).reshape(len(basis), -1)
    normal = {
        'logits': jnp.zeros(1),
        'means': outputs[:1],
        'loadings': (outputs[1:] - outputs[:1]).T[None],
        'log_noise': jnp.full((1, 1), 2 * math.log(model.likelihood.scale)),
        'constants': {'centre': outputs[0]},
    }
    return PPCA(factors=model.latent, variance_floor=1e-12).log_prob(normal, x, jax.random.key(0))


def plane(model: VAE, params: Params, x: Array, cells: int = CELLS, edge: float = EDGE) -> Array:
    """[batch] nats of x [batch, ...] for two latent variables, by cells^2 evaluations of the decoder on [-edge, edge]^2."""
    if model.latent != 2:
        raise BadInput(f'latent={model.latent}: the integral is over the plane; expected 2')
    side = 2 * edge / cells
    line = side * (jnp.arange(cells) + 0.5) - edge

    def add(total: Array, first: Array) -> tuple[Array, None]:
        z = jnp.stack([jnp.full(cells, first), line], axis=1)
        outputs = model.decode(params, z, x.shape[1:])

        def likelihood(output: Array) -> Array:
            return model.likelihood.log_prob(jnp.broadcast_to(output, (len(x), *output.shape)), x)

        log_p = jax.vmap(likelihood)(outputs) + model.prior.log_prob(model, params, z)[:, None]  # [cells, batch]
        return jnp.logaddexp(total, jax.nn.logsumexp(log_p, axis=0)), None

    total, _ = jax.lax.scan(add, jnp.full(len(x), -jnp.inf), line)
    return total + 2 * math.log(side)
