"""FactorVAE. Kim & Mnih 2018, arXiv:1802.05983.

A VAE that also pays gamma times the total correlation of its codes, KL(q(z) || prod_j q(z_j)) (eq. 2). A critic that tells codes from
codes whose coordinates were shuffled over the batch, each by itself, has the density ratio as its logit (eq. 3), so the total
correlation is the mean logit on codes. The VAE is the generator of the game; it is any VAE of models/vae.py, and scores as one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths.adversarial import NonSaturating
from research.models.vae import VAE
from research.nets.mlp import MLP, train_apply
from research.types import Array, Domain, Key, Kind, Net, Objective, Params, ranged


def shuffled(z: Array, key: Key) -> Array:
    """Each coordinate permuted over the batch by itself (algorithm 1): draws from prod_j q(z_j), [batch, latent]."""
    return jax.random.permutation(key, z, axis=0, independent=True)


@dataclass(frozen=True, kw_only=True)
class FactorVAE:
    vae: VAE = VAE()
    critic: Net = MLP(hidden=(256, 256), activation='leaky_relu')  # code -> logit
    gamma: float = ranged(10.0, at_least=0)
    score_samples: int = ranged(100, at_least=1)  # k of the importance-weighted bound

    log_prob_kind: ClassVar[Kind] = 'bound'
    network: ClassVar[bool] = True

    def fits(self, domain: Domain) -> str | None:
        return self.vae.fits(domain)

    def init(self, key: Key, x: Array) -> Params:
        key_vae, key_critic = jax.random.split(key)
        codes = jnp.zeros((2, self.vae.latent))
        return {'generator': self.vae.init(key_vae, x), 'critic': self.critic.init(key_critic, codes, ())}

    def codes(self, generator: Params, x: Array, key: Key) -> Array:
        """One draw of q(z | x) for each example, [batch, latent]."""
        code = self.vae.code(generator, self.vae.likelihood.embed(x))
        return self.vae.posterior.draw(generator.get('posterior', {}), code, key, 1)[0][0]

    def critic_loss(self, critic: Params, generator: Params, x: Array, key: Key) -> Objective:
        """Codes as 'real', shuffled codes as 'fake': the logit is then log q(z) - sum_j log q(z_j)."""
        keys = [jax.random.fold_in(key, i) for i in range(4)]
        z = self.codes(generator, x, keys[0])
        on_codes, mutable = train_apply(self.critic, critic, z, (), keys[1])
        on_shuffled, mutable = train_apply(self.critic, {**critic, **mutable}, shuffled(z, keys[2]), (), keys[3])
        loss = NonSaturating().critic(on_codes, on_shuffled) / 2
        return Objective(loss, {'critic_loss': loss}, mutable)

    def generator_loss(self, generator: Params, critic: Params, x: Array, key: Key) -> Objective:
        """The VAE's loss and gamma times the mean logit (eq. 3)."""
        key_vae, key_z, key_critic = jax.random.split(key, 3)
        own = self.vae.loss(generator, x, key_vae)
        logits = train_apply(self.critic, critic, self.codes(generator, x, key_z), (), key_critic)[0]
        correlation = logits.mean()
        loss = own.loss + self.gamma * correlation
        metrics = own.metrics | {'loss': loss, 'total_correlation': correlation}
        return Objective(loss, metrics, own.mutable)

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """The VAE's importance-weighted bound, [batch] nats."""
        scored = replace(self.vae, score_samples=self.score_samples)
        return scored.log_prob(params['generator'], x, key)

    def encode(self, params: Params, x: Array) -> tuple[Array, Array]:
        """Mean and log-variance of q(z | x), each [batch, latent]."""
        return self.vae.encode(params['generator'], x)

    def decode_mean(self, params: Params, z: Array, event: tuple[int, ...]) -> Array:
        return self.vae.decode_mean(params['generator'], z, event)

    def draw_prior(self, params: Params, key: Key, n: int) -> Array:
        return self.vae.draw_prior(params['generator'], key, n)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        return self.vae.sample(params['generator'], key, n, shape)

    def reconstruct(self, params: Params, x: Array) -> Array:
        return self.vae.reconstruct(params['generator'], x)
