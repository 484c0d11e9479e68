"""The VAE with two levels of latents, z2 above z1, in the two forms of the papers' tables.

`chain` (Burda et al. 2016, arXiv:1509.00519, appendix C)         `skip` (Tomczak & Welling 2018, arXiv:1705.07120, section 4)
    p(z2) p(z1 | z2) p(x | z1)                                         p(z2) p(z1 | z2) p(x | z1, z2)
    q(z1 | x) q(z2 | z1)                                               q(z2 | x) q(z1 | x, z2)

All conditionals of latents are diagonal normals, p(z2) is any prior of latents/priors.py: the VampPrior needs `skip`, where z2 is
read from x alone. No divergence is closed, so each draw has one log-weight,

    log w = log p(x | z) + log p(z1 | z2) + log p(z2) - log q(z1, z2 | x),

and every objective of maths/bounds.py takes it. A net that reads two things is given their tuple.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from research.latents import reading
from research.latents.posteriors import Diagonal
from research.latents.priors import Density, StandardNormal, VampPrior
from research.maths import bounds
from research.maths.bounds import ELBO, Bound, held
from research.maths.events import repeat
from research.maths.likelihoods import Bernoulli, Likelihood, misfit
from research.nets.mlp import MLP, train_apply
from research.types import Array, Domain, Key, Kind, Net, Objective, Params, ranged

NETS = ('encoder', 'second_encoder', 'top_decoder', 'decoder')


@dataclass(frozen=True, kw_only=True)
class HierarchicalVAE:
    """`encoder` reads x; `second_encoder` reads z1 in a chain, (x, z2) with skips; `decoder` reads z1, or (z1, z2)."""

    structure: Literal['chain', 'skip'] = 'skip'
    encoder: Net = MLP(hidden=(200, 200))
    second_encoder: Net = MLP(hidden=(100, 100))
    top_decoder: Net = MLP(hidden=(100, 100))  # z2 -> the code of p(z1 | z2)
    decoder: Net = MLP(hidden=(200, 200))
    likelihood: Likelihood = Bernoulli()
    latent: int = ranged(50, at_least=1)  # of z2
    lower_latent: int = ranged(100, at_least=1)  # of z1
    posterior: Diagonal = Diagonal()  # the form of every conditional of latents
    prior: StandardNormal | VampPrior | Density = StandardNormal()
    objective: Bound = ELBO()
    beta: float = ranged(1.0, at_least=0)
    warm_up: int = ranged(0, at_least=0)  # steps over which beta grows from 0
    score_samples: int = ranged(100, at_least=1)
    score_chunk: int = ranged(10, at_least=1)

    log_prob_kind: ClassVar[Kind] = 'bound'
    network: ClassVar[bool] = True

    def fits(self, domain: Domain) -> str | None:
        """Also why two parts of it do not go together."""
        if isinstance(self.prior, VampPrior) and self.structure == 'chain':
            return 'prior=VampPrior needs q(z2 | x), which structure=chain has not: set structure=skip'
        if not isinstance(self.prior, StandardNormal | VampPrior | Density) or not isinstance(self.posterior, Diagonal):
            return (
                f'prior={type(self.prior).__name__} with posterior={type(self.posterior).__name__}: expected StandardNormal, '
                'VampPrior or Density, and Diagonal'
            )
        return (
            misfit(self.likelihood, domain)
            or reading.misfit(self.decoder, self.likelihood)
            or self.prior.misfit(self.latent)
        )

    def init(self, key: Key, x: Array) -> Params:
        """Variables of the four nets and of the prior, and the constant offset of the decoder's output."""
        keys = [jax.random.fold_in(key, i) for i in range(5)]
        centre, embedded = x.mean(axis=0), self.likelihood.embed(x)
        z1, z2, seen = jnp.zeros((2, self.lower_latent)), jnp.zeros((2, self.latent)), embedded[:2]
        first, second = (z1, z1) if self.structure == 'chain' else ((seen, z2), (z1, z2))
        outputs = self.likelihood.shape(x.shape[1:])
        prior = self.prior.init(keys[4], self.latent, embedded)
        start = self.likelihood.solve(self.likelihood.statistics(x, centre), 1.0, centre)
        return {
            'encoder': self.encoder.init(keys[0], seen, self.shapes()[0]),
            'second_encoder': self.second_encoder.init(keys[1], first, self.shapes()[1]),  # type: ignore[arg-type]
            'top_decoder': self.top_decoder.init(keys[2], z2, (2 * self.lower_latent,)),
            'decoder': self.decoder.init(keys[3], second, outputs),  # type: ignore[arg-type]
            'constants': {'offset': start} | ({'step': jnp.zeros(())} if self.warm_up else {}),
            **({'prior': prior} if prior else {}),
        }

    def shapes(self) -> tuple[tuple[int], tuple[int]]:
        """Of the codes that `encoder` and `second_encoder` give."""
        lower, upper = (2 * self.lower_latent,), (2 * self.latent,)
        return (lower, upper) if self.structure == 'chain' else (upper, lower)

    def run(self, name: str, params: Params, x: Any, shape: tuple[int, ...], key: Key | None) -> tuple[Array, Params]:
        """One net, in training mode where a key is given, with its collections advanced."""
        net: Any = {'encoder': self.encoder, 'second_encoder': self.second_encoder}.get(name)
        net = net or {'top_decoder': self.top_decoder, 'decoder': self.decoder}[name]
        if key is None:
            return net.apply(params[name], x, shape), {}
        return train_apply(net, params[name], x, shape, key)

    def code(self, params: Params, embedded: Array) -> Array:
        """Of q(z2 | x), [batch, 2 latent]: what a VampPrior asks for."""
        return self.run('encoder', params, embedded, self.shapes()[0], None)[0]

    def infer(self, params: Params, x: Array, draws: int, key: Key, train: bool) -> tuple[Array, Array, Array, Params]:
        """z1 and z2 [draws * batch, latent each], log q(z1, z2 | x) [draws, batch], and collections advanced."""
        keys = [jax.random.fold_in(key, i) for i in range(4)]
        first, second = self.shapes()
        embedded = self.likelihood.embed(x)
        code, mutable = self.run('encoder', params, embedded, first, keys[0] if train else None)
        a, log_a = self.posterior.draw({}, code, keys[1], draws)  # of z1 in a chain, of z2 with skips
        flat = a.reshape(-1, a.shape[-1])
        given = flat if self.structure == 'chain' else (repeat(embedded, draws), flat)
        code, other = self.run('second_encoder', params, given, second, keys[2] if train else None)
        b, log_b = self.posterior.draw({}, code, keys[3], 1)
        z1, z2 = (flat, b[0]) if self.structure == 'chain' else (b[0], flat)
        return z1, z2, log_a + log_b.reshape(draws, -1), {'encoder': mutable, 'second_encoder': other}

    def log_proposal(self, params: Params, x: Array, z1: Array, z2: Array) -> Array:
        """log q(z1, z2 | x), [draws, batch] from z1 and z2 [draws * batch, latent each]."""
        draws, (first, second) = z1.shape[0] // x.shape[0], self.shapes()
        embedded = self.likelihood.embed(x)
        a, b = (z1, z2) if self.structure == 'chain' else (z2, z1)  # in the order in which q draws them
        q_a = self.run('encoder', params, embedded, first, None)[0]
        given = a if self.structure == 'chain' else (repeat(embedded, draws), a)
        q_b = self.run('second_encoder', params, given, second, None)[0]
        log_a = self.posterior.log_prob({}, q_a, a.reshape(draws, x.shape[0], -1))
        return log_a + self.posterior.log_prob({}, q_b, b).reshape(draws, -1)

    def joint(self, params: Params, x: Array, z1: Array, z2: Array, key: Key | None) -> tuple[Array, Array, Params]:
        """log p(x | z) and log p(z1, z2), each [draws, batch], and collections advanced."""
        keys = (None, None) if key is None else tuple(jax.random.split(key))
        code, top = self.run('top_decoder', params, z2, (2 * self.lower_latent,), keys[0])
        log_prior = self.posterior.log_prob({}, code, z1) + self.prior.log_prob(self, params, z2)
        below = z1 if self.structure == 'chain' else (z1, z2)
        raw, mutable = self.run('decoder', params, below, self.likelihood.shape(x.shape[1:]), keys[1])
        draws = z1.shape[0] // x.shape[0]
        log_p = self.likelihood.log_prob(raw + params['constants']['offset'], repeat(x, draws))
        advanced = {'top_decoder': top, 'decoder': mutable}
        return log_p.reshape(draws, -1), log_prior.reshape(draws, -1), advanced

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        """Minus the objective's bound."""
        key_q, key_p = jax.random.split(key)
        step = params['constants'].get('step', jnp.zeros(()))
        beta = self.beta * jnp.minimum(step / self.warm_up, 1.0) if self.warm_up else self.beta
        z1, z2, log_q, mutable = self.infer(params, x, self.objective.draws, key_q, True)
        if self.objective.path:
            log_q = self.log_proposal(held(params), x, z1, z2)

        def weights(params: Params, z1: Array, z2: Array, log_q: Array) -> tuple[Array, Array, Array, Params]:
            log_p, log_prior, advanced = self.joint(params, x, z1, z2, key_p)
            return log_p + beta * (log_prior - log_q), log_p, log_q - log_prior, advanced

        if self.objective.split:
            log_w, log_p, rate, advanced = weights(params, held(z1), held(z2), held(log_q))
            bound = self.objective.bound(log_w, weights(held(params), z1, z2, log_q)[0], beta)
        else:
            log_w, log_p, rate, advanced = weights(params, z1, z2, log_q)
            bound = self.objective.bound(log_w)
        loss = -bound.mean()
        carried = {'constants': params['constants'] | {'step': step + 1}} if self.warm_up else {}
        metrics = {'loss': loss, 'distortion': -log_p.mean(), 'rate': rate.mean()}
        return Objective(loss, metrics, {**mutable, **advanced, **carried})

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """log (1/k) sum_i w_i with k = `score_samples`, [batch] nats, a lower bound in expectation."""
        chunk = min(self.score_chunk, self.score_samples)

        def log_weights(key_z: Key) -> Array:
            z1, z2, log_q, _ = self.infer(params, x, chunk, key_z, False)
            log_p, log_prior, _ = self.joint(params, x, z1, z2, None)
            return log_p + log_prior - log_q

        return bounds.importance_bound(log_weights, self.score_samples, chunk, key)

    def decode(self, params: Params, z1: Array, z2: Array, event: tuple[int, ...]) -> Array:
        below = z1 if self.structure == 'chain' else (z1, z2)
        return self.run('decoder', params, below, self.likelihood.shape(event), None)[0] + params['constants']['offset']

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        """[n, *shape] draws, from the top down."""
        keys = jax.random.split(key, 3)
        z2 = self.prior.sample(self, params, keys[0], n)
        code = self.run('top_decoder', params, z2, (2 * self.lower_latent,), None)[0]
        z1 = self.posterior.draw({}, code, keys[1], 1)[0][0]
        return self.likelihood.sample(self.decode(params, z1, z2, shape), keys[2])

    def encode(self, params: Params, x: Array) -> tuple[Array, Array]:
        """Mean and log-variance of the latents that are read from x first: z1 in a chain, z2 with skips."""
        code = self.run('encoder', params, self.likelihood.embed(x), self.shapes()[0], None)[0]
        return self.posterior.moments(code)

    def reconstruct(self, params: Params, x: Array) -> Array:
        """Mean of p(x | z), each latent at the mean that its encoder gives."""
        embedded, (a, _) = self.likelihood.embed(x), self.encode(params, x)
        given = a if self.structure == 'chain' else (embedded, a)
        b = self.posterior.moments(self.run('second_encoder', params, given, self.shapes()[1], None)[0])[0]
        z1, z2 = (a, b) if self.structure == 'chain' else (b, a)
        return self.likelihood.mean(self.decode(params, z1, z2, x.shape[1:]))
