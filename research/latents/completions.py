"""A part of x, for a VAE: proposals from completions of what is missing, and the weights that make up for them.

A part of x leaves a posterior that the encoder was never taught: p(z | x_o) is the mean of p(z | x_o, x_u) over the completions
x_u. So z is proposed from a mixture of the prior and of q(z | x_o, x_u) for several completions, each made by pseudo-Gibbs steps
(Rezende et al. 2014, arXiv:1401.4082, appendix F: draw x_u given z, then z from q), and weighed,

    w_i = p(x_o | z_i) p(z_i) / (1/M) sum_m q_m(z_i),     p(x_o) = E[w],                                          (*)

one draw of each component at a time (Veach & Guibas 1995; the prior keeps weights below M p(x_o | z)). The log of their mean is a
lower bound in expectation; a conditional log p(x) - log p(x_o), a difference of two bounds, is an estimate. Completions come
from a z chosen by weight (Rubin 1988; Mattei & Frellsen 2018, arXiv:1802.04826, correct the same steps by Metropolis): exact as
the number of draws grows.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from research.maths.likelihoods import sum_event
from research.types import Array, Key, Params

STEPS = 10  # pseudo-Gibbs steps before a completion proposes


def weighed(model: Any, params: Params, x: Array, observed: Array, key: Key) -> tuple[Array, Array]:
    """z [k, batch, latent] and log w [k, batch] of (*); k is `score_samples`, rounded up to a multiple of M."""
    components, batch = min(model.score_chunk, model.score_samples), x.shape[0]  # M
    key_fill, key_z = jax.random.split(key)
    x = jnp.where(observed, x, jnp.zeros_like(x))
    codes = proposals(model, params, x, observed, components - 1, key_fill)  # [M - 1, batch, size]
    repeated = jnp.broadcast_to(x, (components, *x.shape)).reshape(-1, *x.shape[1:])
    own = params.get('posterior', {})

    def draw(_: None, i: Array) -> tuple[None, tuple[Array, Array]]:
        keys = jax.random.split(jax.random.fold_in(key_z, i), components)
        others = [model.posterior.draw(own, codes[m - 1], keys[m], 1)[0][0] for m in range(1, components)]
        z = jnp.stack([model.prior.sample(model, params, keys[0], batch), *others])  # [M, batch, latent]
        log_prior = model.prior.log_prob(model, params, z)
        each = [model.posterior.log_prob(own, codes[m], z) for m in range(components - 1)]
        log_q = jax.nn.logsumexp(jnp.stack([log_prior, *each]), axis=0) - jnp.log(components)  # [M, batch]
        log_p = log_observed(model, params, z.reshape(-1, z.shape[-1]), repeated, observed).reshape(-1, batch)
        return None, (z, log_p + log_prior - log_q)

    z, log_w = jax.lax.scan(draw, None, jnp.arange(-(-model.score_samples // components)))[1]
    return z.reshape(-1, batch, z.shape[-1]), log_w.reshape(-1, batch)


def proposals(model: Any, params: Params, x: Array, observed: Array, count: int, key: Key) -> Array:
    """Codes [count, batch, size] of q for as many completions of each example."""
    key_start, key_steps = jax.random.split(key)
    repeated = jnp.broadcast_to(x, (count, *x.shape)).reshape(-1, *x.shape[1:])
    size = model.posterior.size(model.latent)
    if count == 0:
        return jnp.zeros((0, x.shape[0], size))

    def step(z: Array, i: Array) -> tuple[Array, Array]:
        key_x, key_z = jax.random.split(jax.random.fold_in(key_steps, i))
        drawn = model.likelihood.sample(model.decode(params, z, x.shape[1:]), key_x).astype(x.dtype)
        code = model.code(params, model.likelihood.embed(jnp.where(observed, repeated, drawn)))
        return model.posterior.draw(params.get('posterior', {}), code, key_z, 1)[0][0], code

    start = model.prior.sample(model, params, key_start, repeated.shape[0])
    return jax.lax.scan(step, start, jnp.arange(STEPS))[1][-1].reshape(count, x.shape[0], size)


def log_observed(model: Any, params: Params, z: Array, x: Array, observed: Array) -> Array:
    """log p(x_o | z), [batch] nats."""
    outputs, event = model.decode(params, z, x.shape[1:]), x.shape[1:]
    # one variable an example: likelihoods sum over events
    each = outputs.reshape(-1, *outputs.shape[1 + len(event) :])
    log_p = model.likelihood.log_prob(each, x.reshape(-1)).reshape(x.shape)
    return sum_event(jnp.where(observed, log_p, 0.0))
