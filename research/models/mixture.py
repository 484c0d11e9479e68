"""Finite mixtures, by EM or by gradient. Dempster, Laird & Rubin 1977. No network anywhere.

p(x) = sum_k w_k p(x | k). The parameters are unconstrained (logits, log-variances), so the same model is fitted by
EMTrainer through `statistics` and `solve`, or by GradientTrainer through `loss`: em or gradient is one word in a config.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths.likelihoods import LOG_2PI
from research.types import Array, Domain, Key, Kind, Metrics, Objective, Params, ranged


def flat(x: Array) -> Array:
    """[batch, ...] -> [batch, dims] float32."""
    return x.reshape(x.shape[0], -1).astype(jnp.float32)


def product(a: Array, b: Array) -> Array:
    """A matrix product in full float32: a GPU's or TPU's default precision would move a likelihood by up to a nat."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


class Mixture:
    """What both mixtures share; `log_joint` is log w_k + log p(x | k), [batch, components]."""

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    def log_joint(self, params: Params, x: Array) -> Array:
        raise TypeError('a mixture defines log_joint')

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats."""
        return jax.nn.logsumexp(self.log_joint(params, x), axis=1)

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        loss = -self.log_prob(params, x, key).mean()
        return Objective(loss, {'loss': loss})


def responsibilities(joint: Array) -> tuple[Array, Array]:
    """E step: p(k | x) [batch, components] and log p(x) [batch] from the log-joint."""
    total = jax.nn.logsumexp(joint, axis=1)
    return jnp.exp(joint - total[:, None]), total


@dataclass(frozen=True, kw_only=True)
class GaussianMixture(Mixture):
    """Normals with diagonal covariance. `variance_floor` is added to every variance, as scikit-learn's reg_covar is."""

    components: int = ranged(100, at_least=1)
    variance_floor: float = ranged(1e-3, above=0)

    def fits(self, domain: Domain) -> str | None:
        kinds = ('real', 'unit')
        return None if domain.kind in kinds else f'GaussianMixture is a density on real or unit data, not {domain.kind}'

    def init(self, key: Key, x: Array) -> Params:
        """Means at random examples, variances those of the data, equal weights."""
        x = flat(x)
        chosen = jax.random.choice(key, x.shape[0], (self.components,), replace=x.shape[0] < self.components)
        spread = jnp.log(x.var(axis=0) + 1e-6)
        return {
            'logits': jnp.zeros(self.components),
            'means': x[chosen],
            'log_variances': jnp.broadcast_to(spread, (self.components, x.shape[1])),
        }

    def centre(self, params: Params) -> Array:
        """The mixture's mean, [dims]: weighted, so that an empty component far away does not move it."""
        return jax.lax.stop_gradient(jax.nn.softmax(params['logits']) @ params['means'])

    def moments(self, params: Params, x: Array) -> Array:
        """Sufficient statistics of each example, [batch, 2 dims]: (x - c, (x - c)^2), c the centre.

        The common shift keeps the expanded squares accurate in float32.
        """
        x = flat(x) - self.centre(params)
        return jnp.concatenate([x, x * x], axis=1)

    def log_joint(self, params: Params, x: Array) -> Array:
        return self.joint(params, self.moments(params, x))

    def joint(self, params: Params, moments: Array) -> Array:
        """-1/2 sum_d [(x - m)^2 / v + log v + log 2 pi] + log w, as one matrix product with the sufficient statistics."""
        log_v = jnp.logaddexp(params['log_variances'], jnp.log(self.variance_floor))
        means, precision = params['means'] - self.centre(params), jnp.exp(-log_v)
        natural = jnp.concatenate([means * precision, -0.5 * precision], axis=1)  # [components, 2 dims]
        constant = (means**2 * precision + log_v + LOG_2PI).sum(axis=1)
        return product(moments, natural.T) - 0.5 * constant + jax.nn.log_softmax(params['logits'])

    def statistics(self, params: Params, x: Array) -> tuple[dict[str, Array], Metrics]:
        """Each component's weight, and the sum of the sufficient statistics under it."""
        moments = self.moments(params, x)  # once: XLA does not see that a second one would be the same
        r, log_p = responsibilities(self.joint(params, moments))
        return {'weight': r.sum(axis=0), 'moments': product(r.T, moments)}, {'loss': -log_p.mean()}

    def solve(self, params: Params, statistics: dict[str, Array]) -> Params:
        """M step. A component that lost all its weight keeps its place, and its weight goes to zero."""
        weight, centre = statistics['weight'], self.centre(params)
        alive = (weight > 1e-6)[:, None]
        n = jnp.maximum(weight, 1e-6)[:, None]
        means, squares = jnp.split(statistics['moments'] / n, 2, axis=1)
        variances = jnp.maximum(squares - means**2, 1e-12)
        return {
            'logits': jnp.log(jnp.maximum(weight, 1e-6)),
            'means': jnp.where(alive, centre + means, params['means']),
            'log_variances': jnp.where(alive, jnp.log(variances), params['log_variances']),
        }

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        key_k, key_x = jax.random.split(key)
        k = jax.random.categorical(key_k, params['logits'], shape=(n,))
        scale = jnp.sqrt(jnp.exp(params['log_variances'][k]) + self.variance_floor)
        return (params['means'][k] + scale * jax.random.normal(key_x, scale.shape)).reshape(n, *shape)


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
