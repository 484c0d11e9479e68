"""Finite mixtures, by EM or by gradient. Dempster, Laird & Rubin 1977. No network anywhere.

p(x) = sum_k w_k p(x | k). The parameters are unconstrained (logits, log-variances, roots), so the same model is fitted by
EMTrainer through `statistics` and `solve`, or by GradientTrainer through `loss`: em or gradient is one word in a config.

A part of x is no harder than the whole: p(x_o) = sum_k w_k p(x_o | k), and the rest is drawn from p(k | x_o) and then from
component k given x_o. The algebra of normals is `maths.gaussian`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from research.maths.gaussian import FAMILIES, Family, product
from research.maths.kmeans import plus_plus
from research.types import Array, Domain, Key, Kind, Metrics, Objective, Params, ranged


def flat(x: Array) -> Array:
    """[batch, ...] -> [batch, dims] float32."""
    return x.reshape(x.shape[0], -1).astype(jnp.float32)


def mask(observed: Array) -> Array:
    """bool [*shape] -> [dims] float32, 1 where observed."""
    return jnp.asarray(observed).reshape(-1).astype(jnp.float32)


class Mixture:
    """What all mixtures share. `log_joint` is log w_k + log p(x | k), [batch, components]; `log_joint_of` the same of the
    observed variables alone; `fill` draws all variables from component k [batch] given those, [batch, dims]."""

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    def log_joint(self, params: Params, x: Array) -> Array:
        raise TypeError('a mixture defines log_joint')

    def log_joint_of(self, params: Params, x: Array, seen: Array) -> Array:
        raise TypeError('a mixture defines log_joint_of')

    def fill(self, params: Params, k: Array, x: Array, seen: Array, key: Key) -> Array:
        raise TypeError('a mixture defines fill')

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats."""
        return jax.nn.logsumexp(self.log_joint(params, x), axis=1)

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        loss = -self.log_prob(params, x, key).mean()
        return Objective(loss, {'loss': loss})

    def log_marginal(self, params: Params, x: Array, observed: Array) -> Array:
        """[batch] nats of the observed part of x; 0 where nothing is observed."""
        return jax.nn.logsumexp(self.log_joint_of(params, flat(x), mask(observed)), axis=1)

    def conditional(self, params: Params, x: Array, observed: Array, key: Key) -> Array:
        """x with what is not observed drawn from its exact conditional, [batch, *shape]."""
        key_k, key_x = jax.random.split(key)
        seen = mask(observed)
        clean = jnp.where(seen > 0, flat(x), 0.0)
        k = jax.random.categorical(key_k, self.log_joint_of(params, clean, seen))
        drawn = self.fill(params, k, clean, seen, key_x).reshape(x.shape).astype(x.dtype)
        return jnp.where(observed, x, drawn)


def responsibilities(joint: Array) -> tuple[Array, Array]:
    """E step: p(k | x) [batch, components] and log p(x) [batch] from the log-joint."""
    total = jax.nn.logsumexp(joint, axis=1)
    return jnp.exp(joint - total[:, None]), total


@dataclass(frozen=True, kw_only=True)
class GaussianMixture(Mixture):
    """Normals. `variance_floor` is added to every variance, as scikit-learn's reg_covar is.

    covariance  'diagonal'; 'spherical', one variance a component; 'full'; 'tied', one full covariance for all
    start       means at random 'examples', or at those of 'k-means++'
    """

    components: int = ranged(100, at_least=1)
    variance_floor: float = ranged(1e-3, above=0)
    covariance: Literal['diagonal', 'spherical', 'tied', 'full'] = 'diagonal'
    start: Literal['examples', 'k-means++'] = 'examples'

    @property
    def family(self) -> Family:
        return FAMILIES[self.covariance]

    def fits(self, domain: Domain) -> str | None:
        kinds = ('real', 'unit')
        return None if domain.kind in kinds else f'GaussianMixture is a density on real or unit data, not {domain.kind}'

    def init(self, key: Key, x: Array) -> Params:
        """Means at examples, variances those of the data, equal weights."""
        x = flat(x)
        if self.start == 'k-means++':
            chosen = plus_plus(key, x, self.components)
        else:
            chosen = jax.random.choice(key, x.shape[0], (self.components,), replace=x.shape[0] < self.components)
        return {
            'logits': jnp.zeros(self.components),
            'means': x[chosen],
            **self.family.init(x.var(axis=0) + 1e-6, self.components),
        }

    def centre(self, params: Params) -> Array:
        """The mixture's mean, [dims]: weighted, so that an empty component far away does not move it."""
        return jax.lax.stop_gradient(jax.nn.softmax(params['logits']) @ params['means'])

    def moments(self, params: Params, x: Array) -> Array:
        """What the family needs of each example, about the centre: the common shift keeps squares accurate in float32."""
        return self.family.moments(flat(x) - self.centre(params))

    def log_joint(self, params: Params, x: Array) -> Array:
        return self.joint(params, self.moments(params, x))

    def joint(self, params: Params, moments: Array) -> Array:
        means = params['means'] - self.centre(params)
        density = self.family.density(params, moments, means, self.variance_floor)
        return density + jax.nn.log_softmax(params['logits'])

    def log_joint_of(self, params: Params, x: Array, seen: Array) -> Array:
        centre = self.centre(params)
        moments = self.family.moments(jnp.where(seen > 0, x - centre, 0.0))
        density = self.family.marginal(params, moments, params['means'] - centre, self.variance_floor, seen)
        return density + jax.nn.log_softmax(params['logits'])

    def statistics(self, params: Params, x: Array) -> tuple[dict[str, Array], Metrics]:
        """Each component's weight, and the sum of the sufficient statistics under it."""
        moments = self.moments(params, x)  # once: XLA does not see that a second one would be the same
        r, log_p = responsibilities(self.joint(params, moments))
        return {'weight': r.sum(axis=0), **self.family.sums(r, moments)}, {'loss': -log_p.mean()}

    def solve(self, params: Params, statistics: dict[str, Array]) -> Params:
        """M step. A component that lost all its weight keeps its place, and its weight goes to zero."""
        weight = jnp.maximum(statistics['weight'], 1e-6)
        alive = statistics['weight'] > 1e-6
        means, spread = self.family.solve(statistics, weight, self.variance_floor)
        shared = self.covariance == 'tied'

        def keep(new: Array, old: Array) -> Array:
            return jnp.where(alive.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        return {
            'logits': jnp.log(weight),
            'means': keep(self.centre(params) + means, params['means']),
            **{name: new if shared else keep(new, params[name]) for name, new in spread.items()},
        }

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        key_k, key_x = jax.random.split(key)
        k = jax.random.categorical(key_k, params['logits'], shape=(n,))
        return self.family.draw(params, params['means'], k, key_x, self.variance_floor).reshape(n, *shape)

    def fill(self, params: Params, k: Array, x: Array, seen: Array, key: Key) -> Array:
        drawn = self.family.draw(params, params['means'], k, key, self.variance_floor)
        return self.family.complete(params, k, drawn, x, seen, self.variance_floor)


@dataclass(frozen=True, kw_only=True)
class BernoulliMixture(Mixture):
    """Products of Bernoullis; `smoothing` pseudo-counts for each value keep probabilities off 0 and 1."""

    components: int = ranged(100, at_least=1)
    smoothing: float = ranged(0.1, above=0)

    def fits(self, domain: Domain) -> str | None:
        return None if domain.kind == 'binary' else f'BernoulliMixture scores binary data, not {domain.kind}'

    def init(self, key: Key, x: Array) -> Params:
        """Each component half-way between a random example and the data's mean."""
        x = flat(x)
        chosen = jax.random.choice(key, x.shape[0], (self.components,), replace=x.shape[0] < self.components)
        p = jnp.clip(0.25 + 0.25 * x[chosen] + 0.25 * x.mean(axis=0), 0.01, 0.99)
        return {'logits': jnp.zeros(self.components), 'outputs': jax.scipy.special.logit(p)}

    def log_joint(self, params: Params, x: Array) -> Array:
        """sum_d [x o - log(1 + e^o)] + log w."""
        outputs = params['outputs']
        score = product(flat(x), outputs.T) - jax.nn.softplus(outputs).sum(axis=1)
        return jax.nn.log_softmax(params['logits']) + score

    def log_joint_of(self, params: Params, x: Array, seen: Array) -> Array:
        outputs = params['outputs']
        score = product(jnp.where(seen > 0, x, 0.0), outputs.T) - product(jax.nn.softplus(outputs), seen)
        return jax.nn.log_softmax(params['logits']) + score

    def statistics(self, params: Params, x: Array) -> tuple[dict[str, Array], Metrics]:
        r, log_p = responsibilities(self.log_joint(params, x))
        return {'weight': r.sum(axis=0), 'sum': product(r.T, flat(x))}, {'loss': -log_p.mean()}

    def solve(self, params: Params, statistics: dict[str, Array]) -> Params:
        weight, ones = statistics['weight'][:, None], statistics['sum'] + self.smoothing
        zeros = jnp.maximum(weight - statistics['sum'], 0) + self.smoothing
        return {'logits': jnp.log(jnp.maximum(weight[:, 0], 1e-6)), 'outputs': jnp.log(ones) - jnp.log(zeros)}

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        key_k, key_x = jax.random.split(key)
        k = jax.random.categorical(key_k, params['logits'], shape=(n,))
        x = jax.random.bernoulli(key_x, jax.nn.sigmoid(params['outputs'][k]))
        return x.astype(jnp.float32).reshape(n, *shape)

    def fill(self, params: Params, k: Array, x: Array, seen: Array, key: Key) -> Array:
        return jax.random.bernoulli(key, jax.nn.sigmoid(params['outputs'][k])).astype(jnp.float32)


@dataclass(frozen=True, kw_only=True)
class CategoricalMixture(Mixture):
    """Products of categoricals over 0 .. values - 1; `smoothing` pseudo-counts for each value, so that none is impossible."""

    components: int = ranged(100, at_least=1)
    smoothing: float = ranged(0.1, above=0)
    values: int = ranged(None, at_least=2, from_domain='values')

    def fits(self, domain: Domain) -> str | None:
        if domain.kind != 'integer':
            return f'CategoricalMixture scores integer data, not {domain.kind}'
        if domain.values != self.values:
            return f'CategoricalMixture has values={self.values}, and the data have {domain.values}'
        return None

    def codes(self, x: Array) -> Array:
        """One bit for each variable and value, [batch, dims values]."""
        return jax.nn.one_hot(flat(x).astype(jnp.int32), self.values).reshape(x.shape[0], -1)

    def init(self, key: Key, x: Array) -> Params:
        """Each component half-way between a random example and the data's frequencies."""
        bits = self.codes(x)
        chosen = jax.random.choice(key, x.shape[0], (self.components,), replace=x.shape[0] < self.components)
        p = 0.25 / self.values + 0.25 * bits[chosen] + 0.5 * bits.mean(axis=0)
        return {'logits': jnp.zeros(self.components), 'outputs': jnp.log(p).reshape(self.components, -1, self.values)}

    def log_joint(self, params: Params, x: Array) -> Array:
        """sum_d log p_d(x_d | k) + log w_k."""
        return self.log_joint_of(params, flat(x), jnp.ones(params['outputs'].shape[1]))

    def log_joint_of(self, params: Params, x: Array, seen: Array) -> Array:
        log_p = jax.nn.log_softmax(params['outputs']) * seen[:, None]  # [components, dims, values]
        clean = jnp.where(seen > 0, x, 0.0)
        score = product(self.codes(clean), log_p.reshape(log_p.shape[0], -1).T)
        return jax.nn.log_softmax(params['logits']) + score

    def statistics(self, params: Params, x: Array) -> tuple[dict[str, Array], Metrics]:
        r, log_p = responsibilities(self.log_joint(params, x))
        return {'weight': r.sum(axis=0), 'counts': product(r.T, self.codes(x))}, {'loss': -log_p.mean()}

    def solve(self, params: Params, statistics: dict[str, Array]) -> Params:
        counts = statistics['counts'].reshape(params['outputs'].shape)
        return {
            'logits': jnp.log(jnp.maximum(statistics['weight'], 1e-6)),
            'outputs': jnp.log(counts + self.smoothing),
        }

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        key_k, key_x = jax.random.split(key)
        k = jax.random.categorical(key_k, params['logits'], shape=(n,))
        return jax.random.categorical(key_x, params['outputs'][k]).reshape(n, *shape)

    def fill(self, params: Params, k: Array, x: Array, seen: Array, key: Key) -> Array:
        return jax.random.categorical(key, params['outputs'][k])
