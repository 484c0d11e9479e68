"""Families of normals by their covariance: diagonal, spherical, full, tied. Pure functions of arrays; no network anywhere.

K normals share one form. Each family has its parameters beside the means [K, D], the joint density of all K, the sums that
EM adds up over examples and the covariances that follow from them (Bishop 2006, eqs. 9.17 to 9.19):

    m_k = sum_n r_nk x_n / n_k,     C_k = sum_n r_nk (x_n - m_k)(x_n - m_k)^T / n_k,

the diagonal of C_k alone; its mean ('spherical'); all of it; or sum_k n_k C_k / n ('tied'). A floor is added to each variance.
All x and means here are taken about a common centre, which keeps squares accurate in float32.

What is observed is a mask [D]. The marginal of a normal is the normal of the observed block, here held as a D x D matrix
with the identity elsewhere, so that shapes do not depend on the mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from research.maths.likelihoods import LOG_2PI
from research.types import Array

Sums = dict[str, Array]
LEAST = 1e-12  # of a fitted variance, before the floor is added
NEGLIGIBLE = 1e-8  # of a sum: float32 holds 6e-8 of it
BLOCK = 500  # rows that stay in a core's cache
RANK = 1e-6  # of the largest second moment: a covariance of float32 is not known to better than that


def product(a: Array, b: Array) -> Array:
    """A matrix product in full float32: a GPU's or TPU's default precision would move a likelihood by up to a nat."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


@dataclass(frozen=True, kw_only=True)
class Diagonal:
    """log_variances [K, D]; [K, 1] where `spherical`."""

    spherical: bool = False

    def init(self, variances: Array, components: int) -> dict[str, Array]:
        """The same variances [D] for all."""
        variances = variances.mean(keepdims=True) if self.spherical else variances
        return {'log_variances': jnp.broadcast_to(jnp.log(variances), (components, variances.size))}

    def moments(self, x: Array) -> Array:
        """Sufficient statistics of each example, [batch, 2 D]: (x, x^2)."""
        return jnp.concatenate([x, x * x], axis=1)

    def density(self, params: dict[str, Array], moments: Array, means: Array, floor: Array | float) -> Array:
        """-1/2 sum_d [(x - m)^2 / v + log v + log 2 pi], [batch, K], as one matrix product with the statistics."""
        return self.marginal(params, moments, means, floor, None)

    def marginal(
        self, params: dict[str, Array], moments: Array, means: Array, floor: Array | float, seen: Array | None
    ) -> Array:
        """The same over the variables where `seen` [D] is 1 and not 0."""
        log_v = self.log_variances(params, floor, means)
        precision = jnp.exp(-log_v)
        natural = jnp.concatenate([means * precision, -0.5 * precision], axis=1)  # [K, 2 D]
        terms = means**2 * precision + log_v + LOG_2PI
        if seen is not None:
            natural, terms = natural * jnp.tile(seen, 2), terms * seen
        return product(moments, natural.T) - 0.5 * terms.sum(axis=1)

    def log_variances(self, params: dict[str, Array], floor: Array | float, means: Array) -> Array:
        return jnp.broadcast_to(jnp.logaddexp(params['log_variances'], jnp.log(floor)), means.shape)

    def sums(self, r: Array, moments: Array) -> Sums:
        return {'moments': product(r.T, moments)}

    def solve(self, sums: Sums, weight: Array, floor: Array | float) -> tuple[Array, dict[str, Array]]:
        """Means [K, D] and what `init` gives, from sums over examples of responsibilities `weight` [K]."""
        means, squares = jnp.split(sums['moments'] / weight[:, None], 2, axis=1)
        variances = jnp.maximum(squares - means**2, LEAST)
        if self.spherical:
            variances = variances.mean(axis=1, keepdims=True)
        return means, {'log_variances': jnp.log(variances)}

    def draw(self, params: dict[str, Array], means: Array, k: Array, key: Array, floor: Array | float) -> Array:
        """One draw from normal k [n] each, [n, D]."""
        scale = jnp.exp(0.5 * self.log_variances(params, floor, means))[k]
        return means[k] + scale * jax.random.normal(key, scale.shape)

    def complete(
        self, params: dict[str, Array], k: Array, drawn: Array, x: Array, seen: Array, floor: Array | float
    ) -> Array:
        """`drawn`, from normal k, moved to its conditional given x where `seen`: here nothing depends on x."""
        return drawn


@dataclass(frozen=True, kw_only=True)
class Dense:
    """roots [K, D, D], one for all [1, D, D] where `tied`: C = L L^T, L the root's lower triangle with the diagonal
    sqrt(floor + exp(2 root_dd)). So any numbers are a covariance, and no conditional variance falls below the floor."""

    tied: bool = False

    def init(self, variances: Array, components: int) -> dict[str, Array]:
        shape = (1 if self.tied else components, variances.size, variances.size)
        return {'roots': jnp.broadcast_to(jnp.diag(0.5 * jnp.log(variances)), shape)}

    def moments(self, x: Array) -> Array:
        return x

    def factors(self, params: dict[str, Array], floor: Array | float) -> Array:
        """L, [K or 1, D, D]."""
        roots = params['roots']
        diagonal = jnp.sqrt(floor + jnp.exp(2 * jnp.diagonal(roots, axis1=1, axis2=2)))
        return jnp.tril(roots, -1) + diagonal[:, :, None] * jnp.eye(roots.shape[1])

    def density(self, params: dict[str, Array], x: Array, means: Array, floor: Array | float) -> Array:
        """-1/2 |L^-1 (x - m)|^2 - log |L| - D/2 log 2 pi, [batch, K]."""
        return self.whitened(self.factors(params, floor), x, means, x.shape[1])

    def marginal(
        self, params: dict[str, Array], x: Array, means: Array, floor: Array | float, seen: Array | None
    ) -> Array:
        """The same over the variables where `seen` [D] is 1; the others' deviations count 0, their covariance is 1."""
        if seen is None:
            return self.density(params, x, means, floor)
        return self.whitened(observed_factors(self.factors(params, floor), seen), x * seen, means * seen, seen.sum())

    def whitened(self, factors: Array, x: Array, means: Array, dims: Array | int) -> Array:
        eye = jnp.eye(x.shape[1])
        inverse = jax.vmap(lambda root: jax.scipy.linalg.solve_triangular(root, eye, lower=True))(factors)
        volume = jnp.log(jnp.abs(jnp.diagonal(factors, axis1=1, axis2=2))).sum(axis=1)  # [K or 1]
        if self.tied:  # |a - b|^2 of whitened, hence small, numbers: one product
            y, u = product(x, inverse[0].T), product(means, inverse[0].T)
            squares = (y * y).sum(axis=1)[:, None] - 2 * product(y, u.T) + (u * u).sum(axis=1)
        else:
            squares = jax.lax.map(lambda one: triangular_squares(one[0], one[1], x), (inverse, means)).T
        return -0.5 * squares - volume - 0.5 * dims * LOG_2PI

    def sums(self, r: Array, x: Array) -> Sums:
        if self.tied:
            return {'sum': product(r.T, x), 'scatter': product(x.T, x)[None]}
        scatter = jax.lax.platform_dependent(r, x, cpu=scatters_of_few, default=scatters)
        return {'sum': product(r.T, x), 'scatter': scatter}

    def solve(self, sums: Sums, weight: Array, floor: Array | float) -> tuple[Array, dict[str, Array]]:
        """As scikit-learn: the floor is added to the diagonal. Where float32 could not tell the rank of the sum (a floor
        below a millionth of the largest second moment), that millionth is added instead."""
        means = sums['sum'] / weight[:, None]
        if self.tied:
            total = weight.sum()
            moment = sums['scatter'] / total
            between = product((means * weight[:, None]).T, means)[None] / total
        else:
            moment = sums['scatter'] / weight[:, None, None]
            between = means[:, :, None] * means[:, None, :]
        ridge = jnp.maximum(floor, RANK * jnp.diagonal(moment, axis1=1, axis2=2).max(axis=1))
        factors = jnp.linalg.cholesky(moment - between + ridge[:, None, None] * jnp.eye(means.shape[1]))
        own = jnp.diagonal(factors, axis1=1, axis2=2)
        logs = 0.5 * jnp.log(jnp.maximum(own**2 - floor, LEAST))
        return means, {'roots': jnp.tril(factors, -1) + logs[:, :, None] * jnp.eye(means.shape[1])}

    def draw(self, params: dict[str, Array], means: Array, k: Array, key: Array, floor: Array | float) -> Array:
        noise = jax.random.normal(key, (k.size, means.shape[1]))
        factors = self.factors(params, floor)
        if self.tied:
            return means[k] + product(noise, factors[0].T)
        return means[k] + chosen(lambda root: product(noise, root.T), factors, k)

    def complete(
        self, params: dict[str, Array], k: Array, drawn: Array, x: Array, seen: Array, floor: Array | float
    ) -> Array:
        """Matheron's rule: a draw y of the joint, moved to y + C_uo C_oo^-1 (x_o - y_o), is a draw of the conditional."""
        factors = self.factors(params, floor)
        residual = (x - drawn) * seen  # [n, D]

        def move(root: Array) -> Array:
            inner = observed_factors(root[None], seen)[0]
            weights = jax.scipy.linalg.cho_solve((inner, True), residual.T)  # C_oo^-1 (x_o - y_o), [D, n]
            return product(product(weights.T * seen, root), root.T)

        return drawn + (move(factors[0]) if self.tied else chosen(move, factors, k))


def triangular_squares(lower: Array, mean: Array, x: Array) -> Array:
    """|L (x - m)|^2 [n] for lower triangular L: its upper right quarter, which holds nothing, is left out of the product."""
    half, offset = len(lower) // 2, product(lower, mean)
    top = product(x[:, :half], lower[:half, :half].T) - offset[:half]
    return jnp.square(top).sum(axis=1) + jnp.square(product(x, lower[half:].T) - offset[half:]).sum(axis=1)


def scatters(r: Array, x: Array) -> Array:
    """sum_n r_nk x_n x_n^T, [K, D, D]."""
    return jax.lax.map(lambda share: product((x * share[:, None]).T, x), r.T)


def scatters_of_few(r: Array, x: Array) -> Array:
    """The same from those rows alone that have a share in it, a block at a time.

    With many variables most responsibilities are next to nothing: on 20000 x 196 images 1.5 to 6 of 20 components have a share
    in a row. What is left out is, in all, less than `NEGLIGIBLE` of a component, which float32 would not have seen.
    """
    n, block = len(x), min(BLOCK, len(x))

    def one(share: Array) -> Array:
        counts = share > NEGLIGIBLE * share.mean()
        rows = jnp.nonzero(counts, size=-(-n // block) * block, fill_value=n)[0]

        def add(i: Array, total: Array) -> Array:
            chosen = jax.lax.dynamic_slice(rows, (i * block,), (block,))
            part, weight = (v.at[chosen].get(mode='fill', fill_value=0) for v in (x, share))
            return total + product((part * weight[:, None]).T, part)

        return jax.lax.fori_loop(0, (counts.sum() + block - 1) // block, add, jnp.zeros((x.shape[1], x.shape[1])))

    return jax.lax.map(one, r.T)


def observed_factors(factors: Array, seen: Array) -> Array:
    """The lower root, up to signs of its columns, of the observed block of L L^T and the identity elsewhere, [K, D, D].

    By QR of [seen L, I - seen]^T: a Cholesky factor of the block itself could fail where float32 loses its rank.
    """
    both = jnp.concatenate([factors * seen[:, None], jnp.broadcast_to(jnp.diag(1 - seen), factors.shape)], axis=2)
    return jnp.swapaxes(jnp.linalg.qr(jnp.swapaxes(both, 1, 2), mode='r'), 1, 2)


def chosen(function: object, factors: Array, k: Array) -> Array:
    """function(factors[k]) row by row, [n, D]: one component after the other, so that no [n, D, D] is held."""

    def add(total: Array, one: tuple[Array, Array]) -> tuple[Array, None]:
        i, root = one
        return total + jnp.where((k == i)[:, None], function(root), 0.0), None  # type: ignore[operator]

    zeros = jnp.zeros((k.size, factors.shape[1]))
    return jax.lax.scan(add, zeros, (jnp.arange(factors.shape[0]), factors))[0]


Family = Diagonal | Dense
FAMILIES: dict[str, Family] = {
    'diagonal': Diagonal(),
    'spherical': Diagonal(spherical=True),
    'full': Dense(),
    'tied': Dense(tied=True),
}
