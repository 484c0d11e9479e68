"""The variational autoencoder. Kingma & Welling 2014, arXiv:1312.6114.

A latent z ~ N(0, I) is decoded to the parameters of p(x | z); an encoder gives q(z | x) = N(mean, exp(log_var)). Both are
fitted by ascending the evidence lower bound (eq. 10), or another `objective` of `maths/bounds.py`. log p(x) itself is out of
reach: `log_prob` is the importance-weighted bound of Burda et al. 2016 (arXiv:1509.00519), tighter as `score_samples` grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths import bounds
from research.maths.bounds import ELBO, ImportanceWeighted
from research.maths.likelihoods import Bernoulli, Likelihood, misfit
from research.nets.mlp import MLP, train_apply
from research.types import Array, Domain, Key, Kind, Net, Objective, Params, ranged


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
