"""Bounds on log p(x) from samples of q(z | x). Nats per example.

What a VAE is fitted by is an `Objective`: how many z are drawn for each x, and how the log-weights of all draws,

    log w = log p(x | z) - beta (log q(z | x) - log p(z)),

make one number per example whose gradient is the estimator's. Two of them send another gradient to the encoder than to the
decoder (`split`): they are given the weights twice, once with what the encoder made held still and once with the decoder
held still, and their sum of gradients is the estimator. An objective with `path` wants log q(z | x) without its own
derivative in the encoder's output: only the path through z is left (Roeder et al. 2017, arXiv:1703.09194).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from research.types import Array, Key, ranged


def gaussian_kl(mean: Array, log_var: Array) -> Array:
    """KL(N(mean, exp(log_var)) || N(0, I)), [batch] (Kingma & Welling 2014, arXiv:1312.6114, appendix B)."""
    return 0.5 * (jnp.exp(log_var) + mean**2 - 1 - log_var).sum(axis=-1)


def gaussian_log_prob(z: Array, mean: Array | float = 0.0, log_var: Array | float = 0.0) -> Array:
    """log N(z; mean, exp(log_var)), summed over the last axis."""
    return -0.5 * ((z - mean) ** 2 * jnp.exp(-log_var) + log_var + jnp.log(2 * jnp.pi)).sum(axis=-1)


def log_mean_exp(log_weights: Array) -> Array:
    """log (1/k) sum_i w_i over the leading axis."""
    return jax.nn.logsumexp(log_weights, axis=0) - jnp.log(log_weights.shape[0])


def carry(value: Array, source: Array) -> Array:
    """`value`, with the derivative of `source` beside its own."""
    return value + source - stop_gradient(source)


@dataclass(frozen=True, kw_only=True)
class ELBO:
    """The evidence lower bound from one draw (Kingma & Welling 2014, eq. 10), its KL divergence in closed form where there is
    one; gradient='stl' draws it too and keeps the path derivative alone (Roeder et al. 2017, section 3)."""

    gradient: Literal['plain', 'stl'] = 'plain'

    draws: ClassVar[int] = 1
    split: ClassVar[bool] = False

    @property
    def closed(self) -> bool:
        return self.gradient == 'plain'

    @property
    def path(self) -> bool:
        return self.gradient == 'stl'

    def bound(self, log_weights: Array, of_encoder: Array | None = None, beta: float | Array = 1.0) -> Array:
        """[1, batch] -> [batch]."""
        return log_weights[0]


@dataclass(frozen=True, kw_only=True)
class ImportanceWeighted:
    """(1/m) sum_j log (1/k) sum_i w_ij, w = p(x, z) / q(z | x), of m = `groups` times k = `samples` draws.

    samples=k is IWAE-k (Burda et al. 2016, arXiv:1509.00519, eq. 8); groups=k, samples=1 is what its table 1 calls VAE
    with k; both together are MIWAE (Rainforth et al. 2018, arXiv:1802.04537). The gradient weighs each draw by its
    normalised weight within its group (Burda et al., eq. 13 and 14): that is what differentiating the logarithm gives.

    For the encoder that estimate drowns in noise as k grows. gradient='stl' leaves out the score of q, which is biased for
    k > 1; 'dreg' weighs the path derivative by the square of the weights, which is not (Tucker et al. 2019,
    arXiv:1810.04152, section 4); where the rate has a weight beta, by (1 - beta) w + beta w^2, by the same reparameterisation.
    """

    samples: int = ranged(5, at_least=1)
    groups: int = ranged(1, at_least=1)
    gradient: Literal['plain', 'stl', 'dreg'] = 'plain'

    closed: ClassVar[bool] = False

    @property
    def draws(self) -> int:
        return self.samples * self.groups

    @property
    def path(self) -> bool:
        return self.gradient != 'plain'

    @property
    def split(self) -> bool:
        return self.gradient == 'dreg'

    def grouped(self, log_weights: Array) -> Array:
        """[draws, batch] -> [samples, groups, batch]."""
        return log_weights.reshape(self.groups, self.samples, -1).swapaxes(0, 1)

    def bound(self, log_weights: Array, of_encoder: Array | None = None, beta: float | Array = 1.0) -> Array:
        """[draws, batch] -> [batch]."""
        bound = log_mean_exp(self.grouped(log_weights)).mean(axis=0)
        if of_encoder is None:
            return bound
        mine = self.grouped(of_encoder)
        w = stop_gradient(jax.nn.softmax(mine, axis=0))
        return carry(bound, (((1 - beta) * w + beta * w**2) * mine).sum(axis=0).mean(axis=0))


@dataclass(frozen=True, kw_only=True)
class PIWAE:
    """The decoder ascends IWAE with all samples * groups draws, the encoder MIWAE's mean over groups (Rainforth et al. 2018,
    section 4, "partially importance weighted")."""

    samples: int = ranged(8, at_least=1)
    groups: int = ranged(8, at_least=1)

    closed: ClassVar[bool] = False
    path: ClassVar[bool] = False
    split: ClassVar[bool] = True

    @property
    def draws(self) -> int:
        return self.samples * self.groups

    def bound(self, log_weights: Array, of_encoder: Array | None = None, beta: float | Array = 1.0) -> Array:
        """[draws, batch] twice -> [batch]."""
        mine = log_weights if of_encoder is None else of_encoder
        grouped = mine.reshape(self.groups, self.samples, -1).swapaxes(0, 1)
        return carry(log_mean_exp(log_weights), log_mean_exp(grouped).mean(axis=0))


@dataclass(frozen=True, kw_only=True)
class CIWAE:
    """`mix` times the ELBO (mean over all draws) plus 1 - mix times IWAE-k (Rainforth et al. 2018, section 4)."""

    samples: int = ranged(64, at_least=1)
    mix: float = ranged(0.05, at_least=0, at_most=1)

    closed: ClassVar[bool] = False
    path: ClassVar[bool] = False
    split: ClassVar[bool] = False

    @property
    def draws(self) -> int:
        return self.samples

    def bound(self, log_weights: Array, of_encoder: Array | None = None, beta: float | Array = 1.0) -> Array:
        """[draws, batch] -> [batch]."""
        return self.mix * log_weights.mean(axis=0) + (1 - self.mix) * log_mean_exp(log_weights)


Bound = ELBO | ImportanceWeighted | PIWAE | CIWAE


def importance_bound(log_weights: Callable[[Key], Array], samples: int, chunk: int, key: Key) -> Array:
    """log (1/k) sum_i w_i, the bound of Burda et al. 2016 (arXiv:1509.00519, eq. 8), [batch] nats.

    `log_weights(key)` draws [chunk, batch] log importance weights. Chunks are added up in a scan, so memory does not
    grow with k = `samples`; the last chunk's surplus is masked, so exactly k weights count.
    """

    def add(total: Array, i: Array) -> tuple[Array, None]:
        log_w = log_weights(jax.random.fold_in(key, i))  # [chunk, batch]
        counted = (i * chunk + jnp.arange(chunk) < samples)[:, None]
        return jnp.logaddexp(total, jax.nn.logsumexp(jnp.where(counted, log_w, -jnp.inf), axis=0)), None

    batch = jax.eval_shape(log_weights, key).shape[1]
    total, _ = jax.lax.scan(add, jnp.full((batch,), -jnp.inf), jnp.arange(-(-samples // chunk)))
    return total - jnp.log(samples)


def held(tree: Any) -> Any:
    """A tree whose derivative is zero."""
    return jax.tree.map(stop_gradient, tree)
