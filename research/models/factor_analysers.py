"""Factor analysis, probabilistic PCA and mixtures of either, by EM or by gradient. No network anywhere.

Tipping & Bishop 1999 (Neural Computation 11(2)); Ghahramani & Hinton 1996 (CRG-TR-96-1):

    z ~ N(0, I_q),   x | z, k ~ N(m_k + W_k z, Psi_k),   so   x | k ~ N(m_k, W_k W_k^T + Psi_k)                 (eq. 1)

with Psi isotropic (PPCA) or diagonal (factor analysis). No D x D matrix is formed (Woodbury; d = x - m, M = I + W^T Psi^-1 W):

    d^T C^-1 d = d^T Psi^-1 d - |L^-1 W^T Psi^-1 d|^2,   log |C| = log |M| + sum log psi,   M = L L^T             (eq. 2)
    E[z | x] = M^-1 W^T Psi^-1 d = b,   E[z z^T | x] = M^-1 + b b^T                                               (eq. 3)

M step with means weighted by the responsibilities r: Cxz = cov(x, E[z]), R = E[z z^T] - E[z] E[z]^T = L L^T,

    m = mean of x,   W = Cxz L^-T,   psi = diag(cov(x)) - sum_q W_dq^2, not below `variance_floor`                (eq. 4)

This is the M step of Ghahramani & Hinton (W = Cxz R^-1) with the prior of z set free and then absorbed into W
and m (Liu, Rubin & Wu 1998, Biometrika 85(4): PX-EM). It never lowers the likelihood either, and corrects the scale of W at once:
plain EM, from a random start on MNIST, had loadings six times as large after five iterations, and samples to match.

psi is averaged over the variables where the noise is isotropic. All sums are about a common centre, so that squares keep
their digits in float32. What is not observed has precision 0 in eqs. 2 and 3, which makes marginals and conditionals exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from research.maths.gaussian import LEAST, product
from research.maths.kmeans import lloyd, plus_plus
from research.maths.likelihoods import LOG_2PI
from research.models.mixture import Mixture, flat, responsibilities
from research.types import Array, Domain, Key, Metrics, Params, ranged

LLOYD = 10  # iterations of k-means before EM starts


@dataclass(frozen=True, kw_only=True)
class FactorAnalysers(Mixture):
    """`components` 1 is one PPCA or one factor analyser. `factors` may exceed the variables: the surplus is not needed."""

    components: int = ranged(1, at_least=1)
    factors: int = ranged(5, at_least=1)
    noise: Literal['isotropic', 'diagonal'] = 'isotropic'
    variance_floor: float = ranged(1e-3, above=0)

    def fits(self, domain: Domain) -> str | None:
        kinds = ('real', 'unit')
        return None if domain.kind in kinds else f'FactorAnalysers is a density on real or unit data, not {domain.kind}'

    def init(self, key: Key, x: Array) -> Params:
        """k-means: means, weights and noise are those of the clusters, loadings small and random."""
        x, k = flat(x), self.components
        key_seeds, key_loadings = jax.random.split(key)
        means, nearest = lloyd(x, x[plus_plus(key_seeds, x, k)], LLOYD)
        members = jax.nn.one_hot(nearest, k)  # [n, components]
        counts, within = members.sum(axis=0), jnp.square(x - means[nearest])
        own = (product(members.T, within) + within.mean(axis=0)) / (
            counts[:, None] + 1
        )  # of one member: nearly that of all
        variances = own.mean(axis=1, keepdims=True) if self.noise == 'isotropic' else own
        scale = jnp.sqrt(own.mean(axis=1) / self.factors + 1e-6)[:, None, None]
        return {
            'logits': jnp.log(counts + 1),
            'means': means,
            'loadings': scale * jax.random.normal(key_loadings, (k, x.shape[1], self.factors)),
            'log_noise': jnp.log(variances + self.variance_floor),
        }

    def centre(self, params: Params) -> Array:
        """The mixture's mean, [dims]."""
        return jax.lax.stop_gradient(jax.nn.softmax(params['logits']) @ params['means'])

    def variances(self, params: Params) -> Array:
        """psi [components, dims]."""
        psi = jnp.maximum(jnp.exp(params['log_noise']), self.variance_floor)
        return jnp.broadcast_to(psi, params['means'].shape)

    def posterior(self, params: Params, seen: Array | float) -> tuple[Array, Array, Array]:
        """Precisions [components, dims], L [components, q, q] and W^T Psi^-1 [components, q, dims] of eq. 2."""
        precision, loadings = seen / self.variances(params), params['loadings']
        scaled = jnp.swapaxes(loadings * precision[:, :, None], 1, 2)
        return precision, jnp.linalg.cholesky(product(scaled, loadings) + jnp.eye(self.factors)), scaled

    def joint(self, params: Params, x: Array, seen: Array | float) -> tuple[Array, Array]:
        """log w_k + log N(x_o | k) [batch, components] by eq. 2, and L^-1 W^T Psi^-1 d [batch, components, q].

        x is about the centre, and 0 where not observed. Three matrix products; nothing of size batch x components x dims.
        """
        precision, root, scaled = self.posterior(params, seen)
        means = params['means'] - self.centre(params)
        whitener = jax.scipy.linalg.solve_triangular(root, scaled, lower=True)  # [components, q, dims]
        k, q, dims = whitener.shape
        offset = (whitener * means[:, None]).sum(axis=2)
        white = product(x, whitener.reshape(k * q, dims).T).reshape(-1, k, q) - offset
        squares = (
            product(x * x, precision.T) - 2 * product(x, (means * precision).T) + (means**2 * precision).sum(axis=1)
        )
        log_psi = (jnp.log(self.variances(params)) + LOG_2PI) * seen
        volume = 2 * jnp.log(jnp.diagonal(root, axis1=1, axis2=2)).sum(axis=1) + log_psi.sum(axis=1)
        log_w = jax.nn.log_softmax(params['logits'])
        return log_w - 0.5 * (squares - (white**2).sum(axis=2) + volume), white

    def log_joint(self, params: Params, x: Array) -> Array:
        return self.joint(params, flat(x) - self.centre(params), 1.0)[0]

    def log_joint_of(self, params: Params, x: Array, seen: Array) -> Array:
        return self.joint(params, jnp.where(seen > 0, x - self.centre(params), 0.0), seen)[0]

    def statistics(self, params: Params, x: Array) -> tuple[dict[str, Array], Metrics]:
        """Sums of eq. 4: r [k], r x x [k, dims], r x E[z'] [k, dims, q + 1], r E[z' z'] [k, q + 1, q + 1]."""
        x = flat(x) - self.centre(params)
        joint, white = self.joint(params, x, 1.0)
        r, log_p = responsibilities(joint)
        root = self.posterior(params, 1.0)[1]
        inverse = jax.vmap(lambda root: jax.scipy.linalg.solve_triangular(root, jnp.eye(self.factors), lower=True))(
            root
        )
        z = jnp.einsum('bkq,kqp->bkp', white, inverse, precision='highest')  # eq. 3: L^-T L^-1 W^T Psi^-1 d
        z = jnp.concatenate([z, jnp.ones((*r.shape, 1))], axis=2)  # [batch, k, q + 1]
        weighted, (k, q) = r[:, :, None] * z, (self.components, self.factors)
        cross = product(x.T, weighted.reshape(x.shape[0], -1)).reshape(x.shape[1], k, q + 1)
        second = jnp.einsum('bkq,bkp->kqp', weighted, z, precision='highest')
        weight = r.sum(axis=0)
        spread = weight[:, None, None] * product(jnp.swapaxes(inverse, 1, 2), inverse)  # r M^-1
        sums = {
            'weight': weight,
            'squares': product(r.T, x * x),
            'cross': jnp.swapaxes(cross, 0, 1),
            'second': second + jnp.pad(spread, ((0, 0), (0, 1), (0, 1))),
        }
        return sums, {'loss': -log_p.mean()}

    def solve(self, params: Params, statistics: dict[str, Array]) -> Params:
        """M step, eq. 4. A component without weight keeps its place, and its weight goes to zero."""
        weight = statistics['weight']
        alive = (weight > 1e-6)[:, None]
        n = jnp.maximum(weight, 1e-6)[:, None]
        cross, second = statistics['cross'] / n[:, :, None], statistics['second'] / n[:, :, None]
        mean_x, mean_z = cross[:, :, -1], second[:, :-1, -1]
        both = cross[:, :, :-1] - mean_x[:, :, None] * mean_z[:, None, :]  # Cxz [components, dims, q]
        spread = second[:, :-1, :-1] - mean_z[:, :, None] * mean_z[:, None, :]  # R
        ridge = jnp.where(alive, 1e-6 * jnp.diagonal(second, axis1=1, axis2=2)[:, :-1].max(axis=1, keepdims=True), 1.0)
        root = jnp.linalg.cholesky(spread + ridge[:, :, None] * jnp.eye(self.factors))
        loadings = jax.vmap(lambda root, both: jax.scipy.linalg.solve_triangular(root, both.T, lower=True).T)(
            root, both
        )
        psi = statistics['squares'] / n - mean_x**2 - (loadings**2).sum(axis=2)
        if self.noise == 'isotropic':
            psi = psi.mean(axis=1, keepdims=True)
        log_noise = jnp.log(jnp.maximum(jnp.maximum(psi, self.variance_floor), LEAST))
        return {
            'logits': jnp.log(n[:, 0]),
            'means': jnp.where(alive, self.centre(params) + mean_x, params['means']),
            'loadings': jnp.where(alive[:, :, None], loadings, params['loadings']),
            'log_noise': jnp.where(alive, log_noise, params['log_noise']),
        }

    def generate(self, params: Params, k: Array, z: Array, key: Key) -> Array:
        """x [n, dims] from components k [n] and factors z [n, q], by eq. 1."""
        mean = params['means'][k] + jnp.einsum('ndq,nq->nd', params['loadings'][k], z, precision='highest')
        return mean + jnp.sqrt(self.variances(params)[k]) * jax.random.normal(key, mean.shape)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        key_k, key_z, key_x = jax.random.split(key, 3)
        k = jax.random.categorical(key_k, params['logits'], shape=(n,))
        z = jax.random.normal(key_z, (n, self.factors))
        return self.generate(params, k, z, key_x).reshape(n, *shape)

    def fill(self, params: Params, k: Array, x: Array, seen: Array, key: Key) -> Array:
        """Factors from their posterior given what is observed, L^-T (L^-1 W^T Psi^-1 d + noise), then x by eq. 1."""
        key_z, key_x = jax.random.split(key)
        white = self.joint(params, jnp.where(seen > 0, x - self.centre(params), 0.0), seen)[1]
        white = jnp.take_along_axis(white, k[:, None, None], axis=1)[:, 0]  # [n, q]
        root = jnp.swapaxes(self.posterior(params, seen)[1], 1, 2)[k]
        noise = jax.random.normal(key_z, white.shape)
        z = jax.scipy.linalg.solve_triangular(root, (white + noise)[:, :, None], lower=False)[:, :, 0]
        return self.generate(params, k, z, key_x)
