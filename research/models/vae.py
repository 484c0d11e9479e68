"""The variational autoencoder. Kingma & Welling 2014, arXiv:1312.6114.

A latent z ~ N(0, I) is decoded to the parameters of p(x | z); an encoder gives q(z | x) = N(mean, exp(log_var)). Both are
fitted by ascending the evidence lower bound (eq. 10), or another `objective` of `maths/bounds.py`. log p(x) itself is out of
reach: `log_prob` is the importance-weighted bound of Burda et al. 2016 (arXiv:1509.00519), tighter as `score_samples` grows.

A part of x leaves a posterior that the encoder was never taught: p(z | x_o) is the mean of p(z | x_o, x_u) over the completions
x_u. So z is proposed from a mixture of the prior and of q(z | x_o, x_u) for several completions, each made by pseudo-Gibbs steps
(Rezende et al. 2014, arXiv:1401.4082, appendix F: draw x_u given z, then z from q), and weighed,

    w_i = p(x_o | z_i) p(z_i) / (1/M) sum_m q_m(z_i),     p(x_o) = E[w],                                          (*)

one draw of each component at a time (Veach & Guibas 1995; the prior keeps weights below M p(x_o | z)). The log of their mean is a
lower bound in expectation; a conditional log p(x) - log p(x_o), a difference of two bounds, is an estimate. Completions come
from a z chosen by weight (Rubin 1988; Mattei & Frellsen 2018, arXiv:1802.04826, correct the same steps by Metropolis): exact as
`score_samples` grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths import bounds
from research.maths.bounds import ELBO, ImportanceWeighted
from research.maths.likelihoods import Bernoulli, Likelihood, misfit, sum_event
from research.nets.mlp import MLP, train_apply
from research.types import Array, Domain, Key, Kind, Net, Objective, Params, ranged

STEPS = 10  # pseudo-Gibbs steps before a completion proposes


def repeat(x: Array, times: int) -> Array:
    """All of `x` so many times over: [batch, ...] -> [times * batch, ...]."""
    return jnp.broadcast_to(x, (times, *x.shape)).reshape(-1, *x.shape[1:])


@dataclass(frozen=True, kw_only=True)
class VAE:
    encoder: Net = MLP(hidden=(400,))  # x -> mean and log-variance of q(z|x)
    decoder: Net = MLP(hidden=(400,))  # z -> parameters of p(x|z)
    likelihood: Likelihood = Bernoulli()
    latent: int = ranged(20, at_least=1)
    objective: ELBO | ImportanceWeighted = ELBO()
    beta: float = ranged(1.0, at_least=0)  # weight of the rate: 1 is the paper; Higgins et al. 2017 otherwise
    start_at_mean: bool = True  # the decoder's output starts at the data's own marginals, as Burda et al. do
    score_samples: int = ranged(100, at_least=1)  # k of the importance-weighted bound
    score_chunk: int = ranged(10, at_least=1)  # how many of them are in memory at once

    log_prob_kind: ClassVar[Kind] = 'bound'
    network: ClassVar[bool] = True

    def fits(self, domain: Domain) -> str | None:
        return misfit(self.likelihood, domain)

    def init(self, key: Key, x: Array) -> Params:
        """Variables of both nets, and the constant offset that is added to the decoder's output."""
        key_encoder, key_decoder = jax.random.split(key)
        event, z = x.shape[1:], jnp.zeros((2, self.latent))
        outputs = self.likelihood.shape(event)
        offset = jnp.zeros(outputs)
        if self.start_at_mean:
            centre = x.mean(axis=0)
            offset = self.likelihood.solve(self.likelihood.statistics(x, centre), 1.0, centre)
        return {
            'encoder': self.encoder.init(key_encoder, self.likelihood.embed(x[:2]), (2 * self.latent,)),
            'decoder': self.decoder.init(key_decoder, z, outputs),
            'constants': {'offset': offset},
        }

    def encode(self, params: Params, x: Array) -> tuple[Array, Array]:
        """Mean and log-variance of q(z | x), each [batch, latent]."""
        seen = self.likelihood.embed(x)
        mean, log_var = jnp.split(self.encoder.apply(params['encoder'], seen, (2 * self.latent,)), 2, axis=-1)
        return mean, log_var

    def decode(self, params: Params, z: Array, event: tuple[int, ...]) -> Array:
        """Parameters of p(x | z), [batch, *likelihood.shape(event)]."""
        outputs = self.decoder.apply(params['decoder'], z, self.likelihood.shape(event))
        return outputs + params['constants']['offset']

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        """Minus the objective's bound; with `ELBO` eq. 10, the KL divergence in closed form (appendix B)."""
        key_z, key_encoder, key_decoder = (jax.random.fold_in(key, i) for i in range(3))
        draws, batch, outputs = self.objective.draws, x.shape[0], self.likelihood.shape(x.shape[1:])
        seen = self.likelihood.embed(x)
        code, encoder = train_apply(self.encoder, params['encoder'], seen, (2 * self.latent,), key_encoder)
        mean, log_var = jnp.split(code, 2, axis=-1)  # [batch, latent]
        z = mean + jnp.exp(log_var / 2) * jax.random.normal(key_z, (draws, *mean.shape))  # eq. 4
        flat = z.reshape(-1, self.latent)  # one pass of the decoder, however many draws
        raw, decoder = train_apply(self.decoder, params['decoder'], flat, outputs, key_decoder)
        log_p = self.likelihood.log_prob(raw + params['constants']['offset'], repeat(x, draws))
        distortion = -log_p.reshape(draws, batch)
        rate = self.objective.rate(z, mean, log_var)  # [draws, batch]
        loss = -self.objective.bound(-(distortion + self.beta * rate)).mean()
        metrics = {'loss': loss, 'distortion': distortion.mean(), 'rate': rate.mean()}
        return Objective(loss, metrics, {'encoder': encoder, 'decoder': decoder})

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """log (1/k) sum_i p(x, z_i) / q(z_i | x), z_i ~ q: [batch] nats, a lower bound in expectation."""
        mean, log_var = self.encode(params, x)
        chunk, batch = min(self.score_chunk, self.score_samples), x.shape[0]
        repeated = repeat(x, chunk)

        def log_weights(key_z: Key) -> Array:
            z = mean + jnp.exp(log_var / 2) * jax.random.normal(key_z, (chunk, *mean.shape))
            outputs = self.decode(params, z.reshape(-1, self.latent), x.shape[1:])
            log_likelihood = self.likelihood.log_prob(outputs, repeated).reshape(chunk, batch)
            return log_likelihood + bounds.gaussian_log_prob(z) - bounds.gaussian_log_prob(z, mean, log_var)

        return bounds.importance_bound(log_weights, self.score_samples, chunk, key)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape] draws from p(x | z), z ~ N(0, I)."""
        key_z, key_x = jax.random.split(key)
        return self.likelihood.sample(self.decode(params, jax.random.normal(key_z, (n, self.latent)), shape), key_x)

    def reconstruct(self, params: Params, x: Array) -> Array:
        """Mean of p(x | z) at the mean of q(z | x)."""
        return self.likelihood.mean(self.decode(params, self.encode(params, x)[0], x.shape[1:]))

    def log_marginal(self, params: Params, x: Array, observed: Array) -> Array:
        """[batch] nats of the observed part of x, from (*) with `score_samples` draws or a few more; always the same draws."""
        log_w = self.weighed(params, x, observed, jax.random.key(0))[1]
        return jax.nn.logsumexp(log_w, axis=0) - jnp.log(log_w.shape[0])

    def conditional(self, params: Params, x: Array, observed: Array, key: Key) -> Array:
        """x with what is not observed drawn given what is, [batch, *shape], by a z chosen among those of (*)."""
        key_w, key_k, key_x = jax.random.split(key, 3)
        z, log_w = self.weighed(params, x, observed, key_w)
        k = jax.random.categorical(key_k, log_w, axis=0)  # [batch]
        chosen = jnp.take_along_axis(z, k[None, :, None], axis=0)[0]
        drawn = self.likelihood.sample(self.decode(params, chosen, x.shape[1:]), key_x)
        return jnp.where(observed, x, drawn.astype(x.dtype))

    def weighed(self, params: Params, x: Array, observed: Array, key: Key) -> tuple[Array, Array]:
        """z [k, batch, latent] and log w [k, batch] of (*); k is `score_samples`, rounded up to a multiple of M."""
        components, batch = min(self.score_chunk, self.score_samples), x.shape[0]  # M
        key_fill, key_z = jax.random.split(key)
        x = jnp.where(observed, x, jnp.zeros_like(x))
        mean, log_var = self.proposals(params, x, observed, components, key_fill)
        repeated = repeat(x, components)

        def draw(_: None, i: Array) -> tuple[None, tuple[Array, Array]]:
            noise = jax.random.normal(jax.random.fold_in(key_z, i), mean.shape)
            z = mean + jnp.exp(log_var / 2) * noise  # [M, batch, latent]
            log_p = self.log_observed(params, z.reshape(-1, self.latent), repeated, observed).reshape(-1, batch)
            log_q = jax.nn.logsumexp(bounds.gaussian_log_prob(z[:, None], mean, log_var), axis=1) - jnp.log(components)
            return None, (z, log_p + bounds.gaussian_log_prob(z) - log_q)

        z, log_w = jax.lax.scan(draw, None, jnp.arange(-(-self.score_samples // components)))[1]
        return z.reshape(-1, batch, self.latent), log_w.reshape(-1, batch)

    def proposals(self, params: Params, x: Array, observed: Array, components: int, key: Key) -> tuple[Array, Array]:
        """Means and log-variances [M, batch, latent] of the prior, and of q for M - 1 completions of each example."""
        key_start, key_steps = jax.random.split(key)
        event, shape = x.shape[1:], (components, x.shape[0], self.latent)
        repeated = repeat(x, components - 1)

        def step(z: Array, i: Array) -> tuple[Array, tuple[Array, Array]]:
            key_x, key_z = jax.random.split(jax.random.fold_in(key_steps, i))
            drawn = self.likelihood.sample(self.decode(params, z, event), key_x).astype(x.dtype)
            mean, log_var = self.encode(params, jnp.where(observed, repeated, drawn))
            return mean + jnp.exp(log_var / 2) * jax.random.normal(key_z, mean.shape), (mean, log_var)

        prior = jnp.zeros((1, *shape[1:]))
        if components == 1:
            return prior, prior
        start = jax.random.normal(key_start, (repeated.shape[0], self.latent))
        ends = jax.lax.scan(step, start, jnp.arange(STEPS))[1]
        mean, log_var = (jnp.concatenate([prior, end[-1].reshape(-1, *shape[1:])]) for end in ends)
        return mean, log_var

    def log_observed(self, params: Params, z: Array, x: Array, observed: Array) -> Array:
        """log p(x_o | z), [batch] nats."""
        outputs, event = self.decode(params, z, x.shape[1:]), x.shape[1:]
        each = outputs.reshape(
            -1, *outputs.shape[1 + len(event) :]
        )  # one variable an example: likelihoods sum over events
        log_p = self.likelihood.log_prob(each, x.reshape(-1)).reshape(x.shape)
        return sum_event(jnp.where(observed, log_p, 0.0))
