"""VAE-GAN. Larsen, Sonderby, Larochelle & Winther 2016, arXiv:1512.09300.

A VAE whose distortion is measured in the features of a critic instead of pixels, and whose decoder is also the generator of a
game: three losses (algorithm 1),

    encoder   rate + feature distortion
    decoder   feature_weight (the paper's gamma) feature distortion + its side of the game
    critic    tells data from reconstructions and from samples of the prior

The feature distortion is -log N(f(x~); f(x), I) without its constant, f being the critic's `features` (section 3). Encoder and decoder
are one player here: each loss reaches only the parameters it is for, since what it must not reach is held still.
No log_prob: what it would be the bound of is a density of features, not of x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from research.latents.posteriors import Diagonal
from research.maths.adversarial import Adversary, NonSaturating
from research.maths.bounds import held
from research.nets.mlp import MLP, train_apply
from research.types import Array, Domain, Key, Net, Objective, Params, ranged


@dataclass(frozen=True, kw_only=True)
class VAEGAN:
    encoder: Net = MLP(hidden=(400,))  # x -> mean and log-variance of q(z | x)
    decoder: Net = MLP(hidden=(400,))  # z -> x, before the output function
    features: Net = MLP(hidden=(256,), activation='leaky_relu')  # x -> f(x)
    head: Net = MLP(hidden=(), activation='leaky_relu')  # f(x) -> logit
    feature_size: int = ranged(128, at_least=1)
    latent: int = ranged(20, at_least=1)
    adversary: Adversary = NonSaturating()
    beta: float = ranged(1.0, at_least=0)  # weight of the rate
    feature_weight: float = ranged(1.0, at_least=0)  # gamma, for the decoder
    output: Literal['sigmoid', 'identity'] = 'sigmoid'

    network: ClassVar[bool] = True
    posterior: ClassVar[Diagonal] = Diagonal()

    def fits(self, domain: Domain) -> str | None:
        if domain.kind not in ('unit', 'real'):
            return f'a VAE-GAN needs data it can be differentiated through (unit or real), and this is {domain.kind}'
        if domain.kind == 'real' and self.output == 'sigmoid':
            return "output='sigmoid' stays in [0, 1] and this is real data: set output=identity"
        return None

    def init(self, key: Key, x: Array) -> Params:
        """The generator is encoder and decoder, the critic features and head."""
        keys = jax.random.split(key, 4)
        z, features = jnp.zeros((2, self.latent)), jnp.zeros((2, self.feature_size))
        return {
            'generator': {
                'encoder': self.encoder.init(keys[0], x[:2], (2 * self.latent,)),
                'decoder': self.decoder.init(keys[1], z, x.shape[1:]),
            },
            'critic': {
                'features': self.features.init(keys[2], x[:2], (self.feature_size,)),
                'head': self.head.init(keys[3], features, ()),
            },
        }

    def finish(self, raw: Array) -> Array:
        return jax.nn.sigmoid(raw) if self.output == 'sigmoid' else raw

    def critic_pass(self, critic: Params, x: Array, key: Key) -> tuple[Array, Array, Params]:
        """f(x) [batch, feature_size], logits [batch] and the collections advanced."""
        key_features, key_head = jax.random.split(key)
        f, features = train_apply(self.features, critic['features'], x, (self.feature_size,), key_features)
        logit, head = train_apply(self.head, critic['head'], f, (), key_head)
        return f, logit, {'features': features, 'head': head}

    def draw(self, generator: Params, x: Array, key: Key) -> tuple[Array, Array, Params]:
        """z ~ q(z | x) [batch, latent], the rate [batch] and the encoder's collections advanced."""
        key_net, key_z = jax.random.split(key)
        code, encoder = train_apply(self.encoder, generator['encoder'], x, (2 * self.latent,), key_net)
        return self.posterior.draw({}, code, key_z, 1)[0][0], self.posterior.kl(code).sum(axis=-1), encoder

    def decoded(self, decoder: Params, z: Array, shape: tuple[int, ...], key: Key) -> tuple[Array, Params]:
        raw, advanced = train_apply(self.decoder, decoder, z, shape, key)
        return self.finish(raw), advanced

    def critic_loss(self, critic: Params, generator: Params, x: Array, key: Key) -> Objective:
        """Data against reconstructions and samples, half of the fakes each."""
        keys = [jax.random.fold_in(key, i) for i in range(5)]
        z = self.draw(generator, x, keys[0])[0]
        prior = jax.random.normal(keys[1], z.shape)
        both, shape = jnp.concatenate([z, prior]), x.shape[1:]
        fake = self.decoded(generator['decoder'], both, shape, keys[2])[0]
        _, on_real, mutable = self.critic_pass(critic, x, keys[3])
        carried = {name: {**critic[name], **mutable[name]} for name in ('features', 'head')}
        _, on_fake, mutable = self.critic_pass(carried, fake, keys[4])
        loss = self.adversary.critic(on_real, on_fake)
        return Objective(loss, {'critic_loss': loss}, mutable)

    def generator_loss(self, generator: Params, critic: Params, x: Array, key: Key) -> Objective:
        """The encoder's and the decoder's losses, as one scalar whose parts reach each its own."""
        keys = [jax.random.fold_in(key, i) for i in range(9)]
        z, rate, encoder = self.draw(generator, x, keys[0])
        shape, target = x.shape[1:], held(self.critic_pass(critic, x, keys[4])[0])

        def distortion(decoder: Params, z: Array, i: int) -> Array:
            f = self.critic_pass(critic, self.decoded(decoder, z, shape, keys[i])[0], keys[i + 2])[0]
            return 0.5 * ((f - target) ** 2).sum(axis=-1).mean()

        of_encoder = distortion(held(generator['decoder']), z, 5)
        of_decoder = distortion(generator['decoder'], held(z), 6)
        both = jnp.concatenate([held(z), jax.random.normal(keys[2], z.shape)])
        fake, decoder = self.decoded(generator['decoder'], both, shape, keys[3])
        game = self.adversary.generator(self.critic_pass(critic, fake, keys[1])[1])
        loss = self.beta * rate.mean() + of_encoder + self.feature_weight * of_decoder + game
        metrics = {'loss': loss, 'rate': rate.mean(), 'feature_distortion': of_encoder, 'game': game}
        return Objective(loss, metrics, {'encoder': encoder, 'decoder': decoder})

    def encode(self, params: Params, x: Array) -> tuple[Array, Array]:
        """Mean and log-variance of q(z | x), each [batch, latent]."""
        return self.posterior.moments(self.encoder.apply(params['generator']['encoder'], x, (2 * self.latent,)))

    def decode_mean(self, params: Params, z: Array, event: tuple[int, ...]) -> Array:
        """The decoder's output, [n, *event]."""
        return self.finish(self.decoder.apply(params['generator']['decoder'], z, event))

    def draw_prior(self, params: Params, key: Key, n: int) -> Array:
        return jax.random.normal(key, (n, self.latent))

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape], the decoder's output at z ~ N(0, I)."""
        z = jax.random.normal(key, (n, self.latent))
        return self.finish(self.decoder.apply(params['generator']['decoder'], z, shape))

    def reconstruct(self, params: Params, x: Array) -> Array:
        """The decoder's output at the mean of q(z | x)."""
        z = self.encode(params, x)[0]
        return self.finish(self.decoder.apply(params['generator']['decoder'], z, x.shape[1:]))
