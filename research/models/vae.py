"""The variational autoencoder. Kingma & Welling 2014, arXiv:1312.6114.

A latent z ~ p(z) is decoded to the parameters of p(x | z); an encoder gives q(z | x). Both are fitted by ascending the evidence
lower bound (eq. 10),

    L = E_q[log p(x | z)] - KL(q(z | x) || p(z)) = - distortion - rate.

Every variant is this file with one part exchanged, and the parts cross freely:

    objective    the bound and its gradient's estimator       research/maths/bounds.py        ELBO, IWAE, MIWAE, PIWAE, CIWAE, STL, DReG
    rate, beta   what the rate costs                          research/maths/rates.py         beta-VAE, free bits, capacity; warm_up
    regulariser  what a batch of codes costs beside           research/maths/regularisers.py  beta-TCVAE, DIP-VAE, WAE-MMD, InfoVAE
    posterior    q(z | x)                                     research/latents/posteriors.py  full covariance, flows, von Mises-Fisher
    prior        p(z)                                         research/latents/priors.py      VampPrior, mixtures, flows, after the fact
    likelihood   p(x | z)                                     research/maths/likelihoods.py
    decoder      z alone; or of sequences, read as they go    research/latents/reading.py

log p(x) itself is out of reach: `log_prob` is the importance-weighted bound of Burda et al. 2016 (arXiv:1509.00519), tighter as
`score_samples` grows. A part of x is scored and completed as in `research/latents/completions.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.latents import completions, reading
from research.latents.posteriors import Diagonal, Posterior
from research.latents.priors import AfterTheFact, Prior, StandardNormal
from research.maths import bounds
from research.maths.bounds import ELBO, Bound, held
from research.maths.events import repeat
from research.maths.likelihoods import Bernoulli, Likelihood, misfit
from research.maths.rates import Capacity, Rate, WholeRate
from research.maths.regularisers import DIP, Regulariser, TotalCorrelation
from research.nets.mlp import MLP, train_apply
from research.types import Array, Domain, Key, Kind, Net, Objective, Params, ranged


@dataclass(frozen=True, kw_only=True)
class VAE:
    encoder: Net = MLP(hidden=(400,))  # x -> the code of q(z | x)
    decoder: Net = MLP(hidden=(400,))  # z -> parameters of p(x | z)
    likelihood: Likelihood = Bernoulli()
    latent: int = ranged(20, at_least=1)
    posterior: Posterior = Diagonal()
    prior: Prior = StandardNormal()
    objective: Bound = ELBO()
    rate: Rate = WholeRate()
    beta: float = ranged(1.0, at_least=0)  # weight of the rate: 1 is the paper; Higgins et al. 2017 otherwise
    warm_up: int = ranged(
        0, at_least=0
    )  # steps over which that weight grows from 0 (Bowman et al. 2016, arXiv:1511.06349)
    regulariser: Regulariser | None = None
    start_at_mean: bool = True  # the decoder's output starts at the data's own marginals, as Burda et al. do
    score_samples: int = ranged(100, at_least=1)  # k of the importance-weighted bound
    score_chunk: int = ranged(10, at_least=1)  # how many of them are in memory at once

    log_prob_kind: ClassVar[Kind] = 'bound'
    network: ClassVar[bool] = True

    def fits(self, domain: Domain) -> str | None:
        return (
            misfit(self.likelihood, domain)
            or reading.misfit(self.decoder, self.likelihood)
            or self.posterior.misfit(self.latent)
            or self.prior.misfit(self.latent)
            or self.at_odds()
        )

    def at_odds(self) -> str | None:
        """Why two parts of this model do not go together, as the end of a sentence."""
        whole, diagonal = isinstance(self.rate, WholeRate), isinstance(self.posterior, Diagonal)
        if not self.prior.suits(self.posterior):
            return f'prior={named(self.prior)} is of other points than posterior={named(self.posterior)} draws'
        if not whole and not isinstance(self.objective, ELBO):
            return (
                f'rate={named(self.rate)} is of one draw, and objective={named(self.objective)} takes several: set ELBO'
            )
        if isinstance(self.regulariser, TotalCorrelation | DIP) and not diagonal:
            return f'regulariser={named(self.regulariser)} needs posterior=Diagonal, not {named(self.posterior)}'
        return None

    def init(self, key: Key, x: Array) -> Params:
        """Variables of the parts that have any, and the constant offset that is added to the decoder's output."""
        key_encoder, key_decoder = jax.random.split(key)
        event, z = x.shape[1:], jnp.zeros((2, self.latent))
        outputs = self.likelihood.shape(event)
        offset = jnp.zeros(outputs)
        if self.start_at_mean:
            centre = x.mean(axis=0)
            offset = self.likelihood.solve(self.likelihood.statistics(x, centre), 1.0, centre)
        constants = {'offset': offset} | ({'step': jnp.zeros(())} if self.counts else {})
        others = {
            'posterior': self.posterior.init(jax.random.fold_in(key, 2), self.latent),
            'prior': self.prior.init(jax.random.fold_in(key, 3), self.latent, self.likelihood.embed(x)),
        }
        return {
            'encoder': self.encoder.init(key_encoder, self.likelihood.embed(x[:2]), self.code_shape),
            'decoder': self.decoder.init(key_decoder, reading.seen(self.decoder, z, x[:2]), outputs),
            'constants': constants,
            **{name: own for name, own in others.items() if own},
        }

    @property
    def code_shape(self) -> tuple[int, ...]:
        """The shape of an example's code."""
        return (self.posterior.size(self.latent),)

    @property
    def trained(self) -> Prior:
        """The prior that the rate is measured against while training."""
        return AfterTheFact.prior if isinstance(self.prior, AfterTheFact) else self.prior

    @property
    def counts(self) -> bool:
        """Whether the loss depends on how many steps were taken."""
        return self.warm_up > 0 or isinstance(self.rate, Capacity)

    def code(self, params: Params, embedded: Array) -> Array:
        """What the encoder says of inputs as it sees them, [batch, size]."""
        return self.encoder.apply(params['encoder'], embedded, self.code_shape)

    def encode(self, params: Params, x: Array) -> tuple[Array, Array]:
        """Mean and log-variance of q(z | x), each [batch, latent]."""
        return self.posterior.moments(self.code(params, self.likelihood.embed(x)))

    def decode(self, params: Params, z: Array, event: tuple[int, ...], x: Array | None = None) -> Array:
        """Parameters of p(x | z), [batch, *likelihood.shape(event)]."""
        outputs = self.decoder.apply(params['decoder'], reading.seen(self.decoder, z, x), self.likelihood.shape(event))
        return outputs + params['constants']['offset']

    def decode_mean(self, params: Params, z: Array, event: tuple[int, ...]) -> Array:
        """Mean of p(x | z), [n, *event]; of a decoder that reads there is none without x."""
        return self.likelihood.mean(self.decode(params, z, event))

    def draw_prior(self, params: Params, key: Key, n: int) -> Array:
        """[n, latent] draws from p(z)."""
        return self.prior.sample(self, params, key, n)

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        """Minus the objective's bound; with `ELBO` eq. 10, the KL divergence in closed form where there is one (appendix B)."""
        key_z, key_encoder, key_decoder, key_prior = (jax.random.fold_in(key, i) for i in range(4))
        own, step = params.get('posterior', {}), params['constants'].get('step', jnp.zeros(()))
        code, encoder = train_apply(
            self.encoder, params['encoder'], self.likelihood.embed(x), self.code_shape, key_encoder
        )
        z, log_q = self.posterior.draw(own, code, key_z, self.objective.draws)  # [draws, batch, latent], [draws, batch]
        if self.objective.path:
            log_q = self.posterior.log_prob(held(own), held(code), z)
        beta = self.beta * jnp.minimum(step / self.warm_up, 1.0) if self.warm_up else self.beta

        def terms(params: Params, z: Array, log_q: Array) -> tuple[Array, Array, Params]:
            distortion, decoder = self.distortion(params, x, z, key_decoder)
            return distortion, self.rates(params, code, z, log_q), decoder

        def weights(distortion: Array, rates: Array) -> Array:
            return -(distortion + beta * self.rate(rates, step))

        if self.objective.split:
            distortion, rates, decoder = terms(params, held(z), held(log_q))
            of_encoder = weights(*terms(held(params), z, log_q)[:2])
            bound = self.objective.bound(weights(distortion, rates), of_encoder, beta)
        else:
            distortion, rates, decoder = terms(params, z, log_q)
            bound = self.objective.bound(weights(distortion, rates))
        loss = -bound.mean()
        metrics = {'distortion': distortion.mean(), 'rate': rates.sum(axis=-1).mean()}
        if self.regulariser is not None:
            drawn = self.trained.sample(self, held(params), key_prior, x.shape[0])
            metrics['penalty'] = self.regulariser(z[0], *self.posterior.moments(code), drawn)
            loss = loss + metrics['penalty']
        followed = None
        if isinstance(self.prior, AfterTheFact):
            followed = self.prior.follow(params, z[0], jax.random.fold_in(key, 4))
            metrics['prior_loss'] = followed.loss
        mutable = {'encoder': encoder, 'decoder': decoder} | (
            {'prior': followed.mutable} if followed and followed.mutable else {}
        )
        mutable |= {'constants': params['constants'] | {'step': step + 1}} if self.counts else {}
        whole = loss + metrics.get('prior_loss', 0.0)  # of other parameters than the rest
        return Objective(whole, {'loss': loss, **metrics}, mutable)

    def distortion(self, params: Params, x: Array, z: Array, key: Key) -> tuple[Array, Params]:
        """-log p(x | z), [draws, batch] from z [draws, batch, latent], in one pass of the decoder however many draws."""
        draws, outputs = z.shape[0], self.likelihood.shape(x.shape[1:])
        x = repeat(x, draws)
        seen = reading.seen(self.decoder, z.reshape(-1, self.latent), x)
        raw, decoder = train_apply(self.decoder, params['decoder'], seen, outputs, key)
        log_p = self.likelihood.log_prob(raw + params['constants']['offset'], x)
        return -log_p.reshape(draws, -1), decoder

    def rates(self, params: Params, code: Array, z: Array, log_q: Array) -> Array:
        """KL(q || p) in parts, closed where it is: [1, batch, parts]; else log q(z | x) - log p(z), [draws, batch, 1]."""
        if self.objective.closed and isinstance(self.trained, self.posterior.reference):
            closed = self.posterior.kl(code)
            if closed is not None:
                return closed[None]
        return (log_q - self.trained.log_prob(self, params, z))[..., None]

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """log (1/k) sum_i p(x, z_i) / q(z_i | x), z_i ~ q: [batch] nats, a lower bound in expectation."""
        code = self.code(params, self.likelihood.embed(x))
        chunk, own = min(self.score_chunk, self.score_samples), params.get('posterior', {})
        repeated = repeat(x, chunk)

        def log_weights(key_z: Key) -> Array:
            z, log_q = self.posterior.draw(own, code, key_z, chunk)
            outputs = self.decode(params, z.reshape(-1, self.latent), x.shape[1:], repeated)
            log_likelihood = self.likelihood.log_prob(outputs, repeated).reshape(chunk, -1)
            return log_likelihood + self.prior.log_prob(self, params, z) - log_q

        return bounds.importance_bound(log_weights, self.score_samples, chunk, key)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape] draws from p(x | z), z ~ p(z)."""
        if isinstance(self.decoder, reading.Reader):
            return reading.sample(self, params, key, n, shape)
        key_z, key_x = jax.random.split(key)
        z = self.prior.sample(self, params, key_z, n)
        return self.likelihood.sample(self.decode(params, z, shape), key_x)

    def reconstruct(self, params: Params, x: Array) -> Array:
        """Mean of p(x | z) at the mean of q(z | x); of a sequence, of each step given those before it."""
        return self.likelihood.mean(self.decode(params, self.encode(params, x)[0], x.shape[1:], x))

    def log_marginal(self, params: Params, x: Array, observed: Array) -> Array:
        """[batch] nats of the observed part of x, a bound from `score_samples` draws or a few more; always the same draws."""
        log_w = self.weighed(params, x, observed, jax.random.key(0))[1]
        return jax.nn.logsumexp(log_w, axis=0) - jnp.log(log_w.shape[0])

    def conditional(self, params: Params, x: Array, observed: Array, key: Key) -> Array:
        """x with what is not observed drawn given what is, [batch, *shape], by a z chosen among the weighed."""
        key_w, key_k, key_x = jax.random.split(key, 3)
        z, log_w = self.weighed(params, x, observed, key_w)
        k = jax.random.categorical(key_k, log_w, axis=0)  # [batch]
        chosen = jnp.take_along_axis(z, k[None, :, None], axis=0)[0]
        drawn = self.likelihood.sample(self.decode(params, chosen, x.shape[1:]), key_x)
        return jnp.where(observed, x, drawn.astype(x.dtype))

    def weighed(self, params: Params, x: Array, observed: Array, key: Key) -> tuple[Array, Array]:
        """z [k, batch, latent] and their log-weights [k, batch], given the observed part."""
        return completions.weighed(self, params, x, observed, key)


def named(part: object) -> str:
    return type(part).__name__
