"""Autoencoders without noise in the code: z = E(x), and a decoder that was regularised until samples of z give samples of x.

The loss is the distortion -log p(x | z) and what keeps the codes where a sampler finds them:

    + code_weight |z|^2 / 2                                                         codes stay near the origin
    + decoder_weight R(D)     R = |D's parameters|^2 ('l2') or |dD/dz|^2 ('gradient')   the decoder is smooth
    + weight MMD(q(z), p(z))                                                        codes are spread as the prior is

The first two are the regularised autoencoder (Ghosh et al. 2020, arXiv:1903.12436, eqs. 9 to 12), which takes z afterwards from
a density fitted to its codes: prior=AfterTheFact. The third is the Wasserstein autoencoder with a deterministic encoder
(Tolstikhin et al. 2018, arXiv:1711.01558, algorithm 2). |dD/dz|^2 is estimated by one product v'J with v ~ N(0, I), whose squared
length has it as its mean (Hutchinson 1989).

q(z | x) is a point, so there is no bound on log p(x): these models cannot score, and do not pretend to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from research.latents import reading
from research.latents.priors import AfterTheFact, StandardNormal
from research.maths.likelihoods import Bernoulli, Likelihood, misfit
from research.maths.regularisers import MMD
from research.nets.mlp import MLP, train_apply
from research.types import Array, Domain, Key, Net, Objective, Params, ranged


@dataclass(frozen=True, kw_only=True)
class Autoencoder:
    encoder: Net = MLP(hidden=(400,))  # x -> z
    decoder: Net = MLP(hidden=(400,))  # z -> parameters of p(x | z)
    likelihood: Likelihood = Bernoulli()
    latent: int = ranged(20, at_least=1)
    code_weight: float = ranged(0.0, at_least=0)
    smooth: Literal['none', 'l2', 'gradient'] = 'none'
    decoder_weight: float = ranged(1e-6, at_least=0)
    regulariser: MMD | None = None
    prior: StandardNormal | AfterTheFact = StandardNormal()

    network: ClassVar[bool] = True

    def fits(self, domain: Domain) -> str | None:
        if not isinstance(self.prior, StandardNormal | AfterTheFact):
            return f'prior={type(self.prior).__name__} would not be trained here: set StandardNormal or AfterTheFact'
        return (
            misfit(self.likelihood, domain)
            or reading.misfit(self.decoder, self.likelihood)
            or self.prior.misfit(self.latent)
        )

    def init(self, key: Key, x: Array) -> Params:
        keys = jax.random.split(key, 3)
        outputs, centre = self.likelihood.shape(x.shape[1:]), x.mean(axis=0)
        offset = self.likelihood.solve(self.likelihood.statistics(x, centre), 1.0, centre)
        embedded = self.likelihood.embed(x)
        prior = self.prior.init(keys[2], self.latent, embedded)
        return {
            'encoder': self.encoder.init(keys[0], embedded[:2], (self.latent,)),
            'decoder': self.decoder.init(keys[1], jnp.zeros((2, self.latent)), outputs),
            'constants': {'offset': offset},
            **({'prior': prior} if prior else {}),
        }

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        """Nats per example."""
        z, metrics, mutable = self.reconstruction(params, x, key)
        key_prior, key_follow = jax.random.fold_in(key, 2), jax.random.fold_in(key, 3)
        loss = sum(metrics.values(), jnp.zeros(()))
        if self.regulariser is not None:
            drawn = StandardNormal().sample(self, params, key_prior, x.shape[0])
            metrics['mmd'] = self.regulariser(z, z, z, drawn)
            loss = loss + metrics['mmd']
        whole = loss
        if isinstance(self.prior, AfterTheFact):
            followed = self.prior.follow(params, z, key_follow)
            metrics['prior_loss'] = followed.loss
            mutable = {**mutable, 'prior': followed.mutable or {}}
            whole = loss + metrics['prior_loss']  # of other parameters than the rest
        return Objective(whole, {'loss': loss, **metrics}, mutable)

    def reconstruction(self, params: Params, x: Array, key: Key) -> tuple[Array, dict[str, Array], Params]:
        """z [batch, latent], the terms of single examples by name, and both nets' collections advanced."""
        keys = [jax.random.fold_in(key, i) for i in (0, 1, 4)]
        z, encoder = train_apply(self.encoder, params['encoder'], self.likelihood.embed(x), (self.latent,), keys[0])
        outputs = self.likelihood.shape(x.shape[1:])

        def decode(z: Array) -> tuple[Array, Params]:
            return train_apply(self.decoder, params['decoder'], z, outputs, keys[1])

        raw, decoder = decode(z)
        distortion = -self.likelihood.log_prob(raw + params['constants']['offset'], x)  # [batch]
        metrics = {'distortion': distortion.mean(), 'code': self.code_weight * 0.5 * (z**2).sum(axis=1).mean()}
        if self.smooth == 'l2':
            squares = jax.tree.reduce(
                lambda total, leaf: total + (leaf**2).sum(), params['decoder']['params'], jnp.zeros(())
            )
            metrics['smooth'] = self.decoder_weight * squares
        if self.smooth == 'gradient':
            product = jax.vjp(lambda z: decode(z)[0], z)[1](jax.random.normal(keys[2], raw.shape))[0]  # v'J
            metrics['smooth'] = self.decoder_weight * (product**2).sum(axis=1).mean()
        return z, metrics, {'encoder': encoder, 'decoder': decoder}

    def codes(self, params: Params, x: Array) -> Array:
        """E(x), [batch, latent]."""
        return self.encoder.apply(params['encoder'], self.likelihood.embed(x), (self.latent,))

    def encode(self, params: Params, x: Array) -> tuple[Array, Array]:
        """E(x), and the log-variance of a point, each [batch, latent]."""
        z = self.codes(params, x)
        return z, jnp.full_like(z, -jnp.inf)

    def decode(self, params: Params, z: Array, event: tuple[int, ...]) -> Array:
        """Parameters of p(x | z), [batch, *likelihood.shape(event)]."""
        return self.decoder.apply(params['decoder'], z, self.likelihood.shape(event)) + params['constants']['offset']

    def decode_mean(self, params: Params, z: Array, event: tuple[int, ...]) -> Array:
        """Mean of p(x | z), [n, *event]."""
        return self.likelihood.mean(self.decode(params, z, event))

    def draw_prior(self, params: Params, key: Key, n: int) -> Array:
        """[n, latent] draws from p(z)."""
        return self.prior.sample(self, params, key, n)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape] draws from p(x | z), z from the prior."""
        key_z, key_x = jax.random.split(key)
        z = self.prior.sample(self, params, key_z, n)
        return self.likelihood.sample(self.decode(params, z, shape), key_x)

    def reconstruct(self, params: Params, x: Array) -> Array:
        """Mean of p(x | z = E(x))."""
        return self.likelihood.mean(self.decode(params, self.codes(params, x), x.shape[1:]))
