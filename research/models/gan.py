"""The generative adversarial network. Goodfellow et al. 2014, arXiv:1406.2661.

A generator turns noise into examples; a critic tells them from the data. No log_prob: it cannot score, and does not
pretend to. The game (`adversary`) and the regulariser (`penalty`) combine freely: see `research/maths/adversarial.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from research.maths.adversarial import Adversary, NonSaturating, NoPenalty, Penalty
from research.nets.mlp import MLP, train_apply
from research.types import Array, Domain, Key, Net, Objective, Params, ranged


@dataclass(frozen=True, kw_only=True)
class GAN:
    generator: Net = MLP(hidden=(256, 256))  # noise -> example, before the output function
    critic: Net = MLP(hidden=(256, 256), activation='leaky_relu')  # example -> logit
    adversary: Adversary = NonSaturating()
    penalty: Penalty = NoPenalty()
    latent: int = ranged(64, at_least=1)
    output: Literal['sigmoid', 'identity'] = 'sigmoid'  # sigmoid for data in [0, 1]

    network: ClassVar[bool] = True

    def fits(self, domain: Domain) -> str | None:
        if domain.kind not in ('unit', 'real'):
            return f'a GAN needs data it can be differentiated through (unit or real), and this is {domain.kind}'
        if domain.kind == 'real' and self.output == 'sigmoid':
            return "output='sigmoid' stays in [0, 1] and this is real data: set output=identity"
        return None

    def init(self, key: Key, x: Array) -> Params:
        key_generator, key_critic = jax.random.split(key)
        noise = jnp.zeros((2, self.latent))
        return {
            'generator': self.generator.init(key_generator, noise, x.shape[1:]),
            'critic': self.critic.init(key_critic, x[:2], ()),
        }

    def finish(self, raw: Array) -> Array:
        return jax.nn.sigmoid(raw) if self.output == 'sigmoid' else raw

    def generate(self, generator: Params, key: Key, n: int, shape: tuple[int, ...]) -> tuple[Array, Params]:
        """[n, *shape] examples in training mode, and the generator's mutable collections advanced."""
        key_z, key_net = jax.random.split(key)
        noise = jax.random.normal(key_z, (n, self.latent))
        raw, mutable = train_apply(self.generator, generator, noise, shape, key_net)
        return self.finish(raw), mutable

    def critic_loss(self, critic: Params, generator: Params, x: Array, key: Key) -> Objective:
        """The critic's side of the game, on one real and one generated batch of the same size."""
        key_fake, key_real, key_net, key_penalty = (jax.random.fold_in(key, i) for i in range(4))
        fake = self.generate(generator, key_fake, x.shape[0], x.shape[1:])[0]
        on_real, mutable = train_apply(self.critic, critic, x, (), key_real)  # [batch]
        on_fake, mutable = train_apply(self.critic, {**critic, **mutable}, fake, (), key_net)
        loss = self.adversary.critic(on_real, on_fake)
        penalty = self.penalty(
            lambda point: train_apply(self.critic, critic, point, (), key_net)[0], x, fake, key_penalty
        )
        metrics = {'critic_loss': loss, 'penalty': penalty, 'real_logit': on_real.mean(), 'fake_logit': on_fake.mean()}
        return Objective(loss + penalty, metrics, mutable)

    def generator_loss(self, generator: Params, critic: Params, x: Array, key: Key) -> Objective:
        """The generator's side; `x` only tells how many examples, and of what shape."""
        key_fake, key_net = jax.random.split(key)
        fake, mutable = self.generate(generator, key_fake, x.shape[0], x.shape[1:])
        loss = self.adversary.generator(train_apply(self.critic, critic, fake, (), key_net)[0])
        return Objective(loss, {'loss': loss}, mutable)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape] examples; batch normalisation uses its running statistics."""
        noise = jax.random.normal(key, (n, self.latent))
        return self.finish(self.generator.apply(params['generator'], noise, shape))
