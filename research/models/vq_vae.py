"""The autoencoder of discrete codes, VQ-VAE. van den Oord, Vinyals & Kavukcuoglu 2017, arXiv:1711.00937.

An encoder gives a grid of vectors, each of which is replaced by one of finitely many codes (`research/latents/quantisers.py`:
a learned `Codebook`, or the fixed grid of `FSQ`); a decoder gives p(x | codes). The encoder ascends log p(x | codes) by the
straight-through gradient, less what the quantiser asks for (eq. 3). What the codes are is left to a second model, p(codes),
autoregressive over the grid: the paper fits it afterwards. Here it is fitted beside, to codes held still, so that it moves
neither encoder nor decoder; as they settle it has their last codes to learn. One loss, in nats per example:

    - log p(x | c*) - log p(c*) + commitment,        c* the codes that the encoder takes of x

The model is p(x) = sum_c p(x | c) p(c), over all grids c of codes: size^positions terms. One term of it is a bound (section
3.2), and so is more of it: with c_i ~ q(c | x), the draws other than c* add an unbiased estimate of the other terms,

    log p(x) >= E log [ p(x, c*) + (1/k) sum_i [c_i != c*] p(x, c_i) / q(c_i | x) ]  >=  log p(x, c*)

by Jensen's inequality. q keeps each position's code and exchanges it, by any of the codes alike, with probability 1 / positions:
one position moves on average, and every grid may be drawn. `log_prob` is that bound with k = `score_samples`; 0 leaves the paper's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import jax
import jax.numpy as jnp

from research.latents.quantisers import Codebook, Quantiser
from research.maths import bounds
from research.maths.likelihoods import Bernoulli, Categorical, Likelihood, misfit
from research.models.autoregressive import Autoregressive
from research.models.language import LanguageModel
from research.models.vae import named
from research.nets.attention import Transformer
from research.nets.masked import MADE, NADE
from research.nets.mlp import MLP, train_apply
from research.nets.recurrent import Recurrent
from research.types import Array, Domain, Key, Kind, Net, Objective, Params, ranged


class CodePrior(Protocol):
    """p(codes): an exact model of indices [batch, positions] below `size`, which are the quantiser's to say."""

    def misfit(self, positions: int, /) -> str | None: ...
    def init(self, key: Key, indices: Array, size: int, /) -> Params: ...
    def loss(self, params: Params, indices: Array, size: int, key: Key, /) -> Objective: ...  # nats per grid
    def log_prob(self, params: Params, indices: Array, size: int, /) -> Array: ...  # [batch] nats
    def sample(self, params: Params, key: Key, n: int, positions: int, size: int, /) -> Array: ...


@dataclass(frozen=True, kw_only=True)
class Causal:
    """A `LanguageModel` of the codes, row by row."""

    net: Transformer | Recurrent = Transformer(layers=2, width=64)

    def misfit(self, positions: int) -> str | None:
        if not isinstance(self.net, Transformer | Recurrent):
            return f'prior=Causal takes a Transformer or Recurrent net, not {named(self.net)}'
        if isinstance(self.net, Transformer) and self.net.window < positions:
            return f'prior.net.window={self.net.window} is less than the {positions} positions of the grid'
        return None

    def model(self, positions: int, size: int) -> LanguageModel:
        return LanguageModel(net=self.net, window=positions, context=1, values=size)

    def begun(self, indices: Array) -> Array:
        """The codes after the symbol of 'nothing there', [batch, 1 + positions]."""
        return jnp.pad(indices, ((0, 0), (1, 0)), constant_values=-1)

    def init(self, key: Key, indices: Array, size: int) -> Params:
        return self.model(indices.shape[1], size).init(key, self.begun(indices))

    def loss(self, params: Params, indices: Array, size: int, key: Key) -> Objective:
        positions = indices.shape[1]
        result = self.model(positions, size).loss(params, self.begun(indices), key)
        return result._replace(loss=result.loss * positions)

    def log_prob(self, params: Params, indices: Array, size: int) -> Array:
        return self.model(indices.shape[1], size).log_prob(params, self.begun(indices), jax.random.key(0))

    def sample(self, params: Params, key: Key, n: int, positions: int, size: int) -> Array:
        return self.model(positions, size).sample(params, key, n, (positions,))


@dataclass(frozen=True, kw_only=True)
class Masked:
    """An `Autoregressive` model of the codes; its outputs start at no marginals, since those of the first codes are soon wrong."""

    net: MADE | NADE = MADE(hidden=(128,))

    def misfit(self, positions: int) -> str | None:
        fine = isinstance(self.net, MADE | NADE)
        return None if fine else f'prior=Masked takes a MADE or NADE net, not {named(self.net)}'

    def model(self, size: int) -> Autoregressive:
        return Autoregressive(net=self.net, likelihood=Categorical(levels=size), start_at_marginals=False)

    def init(self, key: Key, indices: Array, size: int) -> Params:
        return self.model(size).init(key, indices)

    def loss(self, params: Params, indices: Array, size: int, key: Key) -> Objective:
        return self.model(size).loss(params, indices, key)

    def log_prob(self, params: Params, indices: Array, size: int) -> Array:
        return self.model(size).log_prob(params, indices, jax.random.key(0))

    def sample(self, params: Params, key: Key, n: int, positions: int, size: int) -> Array:
        return self.model(size).sample(params, key, n, (positions,))


@dataclass(frozen=True, kw_only=True)
class VQVAE:
    """A batch goes through in one part (`undivided`): parts would each move the codebook on."""

    encoder: Net = MLP(hidden=(400,))  # x -> [batch, *grid, channels]
    decoder: Net = MLP(hidden=(400,))  # [batch, *grid, channels] -> parameters of p(x | codes)
    likelihood: Likelihood = Bernoulli()
    grid: tuple[int, ...] = ranged((8,), at_least=1)  # positions of codes: (8,) for dense nets, (7, 7) for convolutions
    channels: int = ranged(16, at_least=1)  # of a code
    quantiser: Quantiser = Codebook()
    prior: CodePrior = Causal()
    start_at_mean: bool = True  # the decoder's output starts at the data's own marginals
    score_samples: int = ranged(100, at_least=0)  # k of the bound; 0: the codes that the encoder takes, and no others
    score_chunk: int = ranged(10, at_least=1)  # how many of them are in memory at once

    log_prob_kind: ClassVar[Kind] = 'bound'
    network: ClassVar[bool] = True
    undivided: ClassVar[Literal[True]] = True

    def fits(self, domain: Domain) -> str | None:
        return (
            misfit(self.likelihood, domain)
            or self.quantiser.misfit(self.channels)
            or self.prior.misfit(self.positions)
            or (None if self.grid else 'grid is empty: expected at least one number of positions')
        )

    @property
    def positions(self) -> int:
        return math.prod(self.grid)

    @property
    def values(self) -> int:
        """How many codes there are to choose from at each position."""
        return self.quantiser.size

    def init(self, key: Key, x: Array) -> Params:
        """Variables of all parts, the codes at the untrained encoder's outputs, and the constant added to the decoder's."""
        key_encoder, key_decoder, key_codes, key_prior = (jax.random.fold_in(key, i) for i in range(4))
        embedded, outputs = self.likelihood.embed(x), self.likelihood.shape(x.shape[1:])
        offset = jnp.zeros(outputs)
        if self.start_at_mean:
            centre = x.mean(axis=0)
            offset = self.likelihood.solve(self.likelihood.statistics(x, centre), 1.0, centre)
        params = {'encoder': self.encoder.init(key_encoder, embedded[:2], (*self.grid, self.channels))}
        quantiser = self.quantiser.init(key_codes, self.encoded(params, x))
        return {
            **params,
            'decoder': self.decoder.init(key_decoder, jnp.zeros((2, *self.grid, self.channels)), outputs),
            'prior': self.prior.init(key_prior, jnp.zeros((2, self.positions), jnp.int32), self.values),
            'constants': {'offset': offset},
            **({'quantiser': quantiser} if quantiser else {}),
        }

    def encoded(self, params: Params, x: Array) -> Array:
        """What the encoder says before it is quantised, [batch, positions, channels]."""
        z = self.encoder.apply(params['encoder'], self.likelihood.embed(x), (*self.grid, self.channels))
        return z.reshape(-1, self.positions, self.channels)

    def codes(self, params: Params, x: Array) -> Array:
        """c*, [batch, positions] int32."""
        own = params.get('quantiser', {})
        return self.quantiser.quantise(own, self.encoded(params, x), jax.random.key(0), False).indices

    def decode(self, params: Params, indices: Array, event: tuple[int, ...]) -> Array:
        """Parameters of p(x | codes), [n, *likelihood.shape(event)], from indices [n, positions]."""
        z = self.quantiser.lookup(params.get('quantiser', {}), indices).reshape(-1, *self.grid, self.channels)
        return self.decoder.apply(params['decoder'], z, self.likelihood.shape(event)) + params['constants']['offset']

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        """Eq. 3, whose second term is the codebook's moving average, and beside it the prior's own loss."""
        key_encoder, key_decoder, key_codes, key_prior = (jax.random.fold_in(key, i) for i in range(4))
        shape, outputs = (*self.grid, self.channels), self.likelihood.shape(x.shape[1:])
        z, encoder = train_apply(self.encoder, params['encoder'], self.likelihood.embed(x), shape, key_encoder)
        taken = self.quantiser.quantise(
            params.get('quantiser', {}), z.reshape(-1, self.positions, self.channels), key_codes, True
        )
        raw, decoder = train_apply(self.decoder, params['decoder'], taken.z.reshape(z.shape), outputs, key_decoder)
        distortion = -self.likelihood.log_prob(raw + params['constants']['offset'], x)  # [batch]
        loss = (distortion + taken.loss).mean()
        prior = self.prior.loss(params['prior'], taken.indices, self.values, key_prior)
        metrics = {
            'loss': loss,
            'distortion': distortion.mean(),
            'commitment': taken.loss.mean(),
            'prior_loss': prior.loss,
            **use(taken.indices, self.values),
        }
        of_prior = prior.mutable if jax.tree.leaves(prior.mutable) else {}
        mutable = {'encoder': encoder, 'decoder': decoder, 'prior': of_prior, 'quantiser': taken.advanced}
        return Objective(loss + prior.loss, metrics, mutable)

    def joint(self, params: Params, x: Array, indices: Array) -> Array:
        """log p(x | codes) + log p(codes), [n] nats, for x [n, ...] and indices [n, positions]."""
        log_p = self.likelihood.log_prob(self.decode(params, indices, x.shape[1:]), x)
        return log_p + self.prior.log_prob(params['prior'], indices, self.values)

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """The bound of the file's head, [batch] nats; never below that of c* alone."""
        taken = self.codes(params, x)  # [batch, positions]
        alone = self.joint(params, x, taken)
        if not self.score_samples:
            return alone
        chunk, rate = min(self.score_chunk, self.score_samples), 1 / self.positions
        repeated = jnp.broadcast_to(x, (chunk, *x.shape)).reshape(-1, *x.shape[1:])

        def log_weights(key_c: Key) -> Array:
            key_moved, key_new = jax.random.split(key_c)
            shape = (chunk, *taken.shape)
            new = jax.random.randint(key_new, shape, 0, self.values)
            drawn = jnp.where(jax.random.bernoulli(key_moved, rate, shape), new, taken)
            same = drawn == taken  # [chunk, batch, positions]
            log_q = jnp.log((1 - rate) * same + rate / self.values).sum(axis=-1)
            joint = self.joint(params, repeated, drawn.reshape(-1, self.positions)).reshape(chunk, -1)
            return jnp.where(same.all(axis=-1), -jnp.inf, joint - log_q)

        return jnp.logaddexp(alone, bounds.importance_bound(log_weights, self.score_samples, chunk, key))

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape] draws from p(x | codes), codes from their prior."""
        key_codes, key_x = jax.random.split(key)
        indices = self.prior.sample(params['prior'], key_codes, n, self.positions, self.values)
        return self.likelihood.sample(self.decode(params, indices, shape), key_x)

    def reconstruct(self, params: Params, x: Array) -> Array:
        """Mean of p(x | c*)."""
        return self.likelihood.mean(self.decode(params, self.codes(params, x), x.shape[1:]))


def use(indices: Array, size: int) -> dict[str, Array]:
    """Of the codes that a batch takes: exp of their entropy, between 1 and `size`, and the share of all codes among them."""
    share = jax.nn.one_hot(indices.reshape(-1), size).mean(axis=0)
    entropy = -jax.scipy.special.xlogy(share, share).sum()
    return {'perplexity': jnp.exp(entropy), 'used': (share > 0).mean()}
