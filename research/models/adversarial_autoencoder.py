"""The adversarial autoencoder. Makhzani et al. 2015, arXiv:1511.05644.

An autoencoder whose codes a critic cannot tell from draws of the prior: the aggregate q(z) is matched to p(z) by a game instead of
a divergence. The autoencoder is the generator; its loss is its own (section 2) and `weight` times its side of the game.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax

from research.latents.priors import StandardNormal
from research.maths.adversarial import Adversary, NonSaturating, NoPenalty, Penalty
from research.models.autoencoder import Autoencoder
from research.nets.mlp import MLP, train_apply
from research.types import Array, Domain, Key, Net, Objective, Params, ranged


@dataclass(frozen=True, kw_only=True)
class AdversarialAutoencoder:
    autoencoder: Autoencoder = Autoencoder()
    critic: Net = MLP(hidden=(256, 256), activation='leaky_relu')  # code -> logit
    adversary: Adversary = NonSaturating()
    penalty: Penalty = NoPenalty()
    weight: float = ranged(1.0, at_least=0)

    network: ClassVar[bool] = True

    def fits(self, domain: Domain) -> str | None:
        if not isinstance(self.autoencoder.prior, StandardNormal):
            return f'autoencoder.prior={type(self.autoencoder.prior).__name__}: codes are matched to StandardNormal'
        if self.autoencoder.regulariser is not None:
            return (
                f'autoencoder.regulariser={type(self.autoencoder.regulariser).__name__} plays no part beside a critic'
            )
        return self.autoencoder.fits(domain)

    def init(self, key: Key, x: Array) -> Params:
        key_autoencoder, key_critic = jax.random.split(key)
        codes = jax.numpy.zeros((2, self.autoencoder.latent))
        return {
            'generator': self.autoencoder.init(key_autoencoder, x),
            'critic': self.critic.init(key_critic, codes, ()),
        }

    def critic_loss(self, critic: Params, generator: Params, x: Array, key: Key) -> Objective:
        """Draws of the prior against codes of the batch."""
        keys = [jax.random.fold_in(key, i) for i in range(5)]
        embedded, latent = self.autoencoder.likelihood.embed(x), self.autoencoder.latent
        fake = train_apply(self.autoencoder.encoder, generator['encoder'], embedded, (latent,), keys[0])[0]
        real = jax.random.normal(keys[1], fake.shape)
        on_real, mutable = train_apply(self.critic, critic, real, (), keys[2])
        on_fake, mutable = train_apply(self.critic, {**critic, **mutable}, fake, (), keys[3])
        loss = self.adversary.critic(on_real, on_fake)
        penalty = self.penalty(lambda z: train_apply(self.critic, critic, z, (), keys[3])[0], real, fake, keys[4])
        return Objective(loss + penalty, {'critic_loss': loss, 'penalty': penalty}, mutable)

    def generator_loss(self, generator: Params, critic: Params, x: Array, key: Key) -> Objective:
        """The reconstruction, and codes that pass for draws of the prior."""
        key_own, key_critic = jax.random.split(key)
        z, metrics, mutable = self.autoencoder.reconstruction(generator, x, key_own)
        game = self.adversary.generator(train_apply(self.critic, critic, z, (), key_critic)[0])
        loss = sum(metrics.values(), self.weight * game)
        return Objective(loss, {'loss': loss, **metrics, 'game': game}, mutable)

    def encode(self, params: Params, x: Array) -> tuple[Array, Array]:
        """E(x), and the log-variance of a point, each [batch, latent]."""
        return self.autoencoder.encode(params['generator'], x)

    def decode_mean(self, params: Params, z: Array, event: tuple[int, ...]) -> Array:
        return self.autoencoder.decode_mean(params['generator'], z, event)

    def draw_prior(self, params: Params, key: Key, n: int) -> Array:
        return self.autoencoder.draw_prior(params['generator'], key, n)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape] draws from p(x | z), z ~ N(0, I)."""
        return self.autoencoder.sample(params['generator'], key, n, shape)

    def reconstruct(self, params: Params, x: Array) -> Array:
        """Mean of p(x | z = E(x))."""
        return self.autoencoder.reconstruct(params['generator'], x)
