"""A mixture of trees. Meila & Jordan 2000, J. Mach. Learn. Res. 1. No network anywhere.

    p(x) = sum_k w_k p_k(x),    p_k(x) = prod_i p_k(x_i | x_parent_k(i))                                      (1)

Each component has a tree of its own, and EM finds all of them: with responsibilities r_nk = p(k | x_n), component k gets
the weighted counts of pairs sum_n r_nk [x_i = a, x_j = b], and its next tree is the Chow-Liu tree of those (2): the best of
all trees, so that no iteration lowers the likelihood. `alpha` pseudo-counts for each state of a pair are 4 alpha examples of
fair coins that every component has seen besides, and what EM never lowers is

    sum_n log p(x_n) + 4 alpha sum_k E_{fair coins}[log p_k(x)]                                               (3)

Components that start alike stay alike, and the mixture is then one Chow-Liu tree. So they start from random examples, by
the responsibilities that a mixture of independent bits has at its own start. A component that loses all examples is a tree of
fair coins with a weight of about 0; one variable, or one that never changes, is as in `chow_liu`. Everything is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths import trees
from research.models.chow_liu import evidence, score, tabulate, tree
from research.models.mixture import BernoulliMixture, flat, responsibilities
from research.types import Array, Domain, Key, Kind, Metrics, Params, ranged


@dataclass(frozen=True, kw_only=True)
class TreeMixture:
    """`alpha` pseudo-counts for each of the four states of a pair, in each component."""

    components: int = ranged(20, at_least=1)
    alpha: float = ranged(0.1, above=0)

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    def fits(self, domain: Domain) -> str | None:
        return None if domain.kind == 'binary' else f'TreeMixture scores binary data, not {domain.kind}'

    def init(self, key: Key, x: Array) -> Params:
        """The M step from responsibilities of `components` random examples, each blended with fair coins and the mean."""
        start = BernoulliMixture(components=self.components)
        return self.solve({}, counts(responsibilities(start.log_joint(start.init(key, x), x))[0], flat(x)))

    def log_joint(self, params: Params, x: Array) -> Array:
        """log w_k + log p_k(x), [batch, components] nats."""
        log_p = jax.vmap(score, (0, None), 1)(params['trees'], x)
        return log_p + jax.nn.log_softmax(params['logits'])

    def statistics(self, params: Params, x: Array) -> tuple[dict[str, Array], Metrics]:
        """Each component's weight, and the weight of the examples in which both variables of a pair are 1."""
        r, log_p = responsibilities(self.log_joint(params, x))
        return counts(r, flat(x)), {'loss': -log_p.mean()}

    def solve(self, params: Params, statistics: dict[str, Array]) -> Params:
        """M step, eq. 2."""

        def best(n: Array, both: Array) -> Params:
            found = trees.spanning_tree(trees.weighted_information(n, both, self.alpha))
            return tabulate(found, n, both, self.alpha)

        weight = statistics['weight']
        return {'logits': jnp.log(jnp.maximum(weight, 1e-6)), 'trees': jax.vmap(best)(weight, statistics['both'])}

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats, eq. 1."""
        return jax.nn.logsumexp(self.log_joint(params, x), axis=1)

    def log_marginal(self, params: Params, x: Array, observed: Array) -> Array:
        """[batch] nats of the variables that are observed, the others summed out."""
        return jax.nn.logsumexp(self.log_joint_of(params, x, observed), axis=1)

    def log_joint_of(self, params: Params, x: Array, observed: Array) -> Array:
        """log w_k + log p_k of the observed variables, [batch, components] nats."""
        seen = evidence(x, observed)

        def of(one: Params) -> Array:
            return trees.upward(tree(one), jnp.exp(one['log_p']), seen)[1]

        return jax.vmap(of, out_axes=1)(params['trees']) + jax.nn.log_softmax(params['logits'])

    def conditional(self, params: Params, x: Array, observed: Array, key: Key) -> Array:
        """x with the rest drawn from p(rest | observed), [batch, *shape]: a component first, then from its tree."""
        key_k, key_x = jax.random.split(key)
        k = jax.random.categorical(key_k, self.log_joint_of(params, x, observed))
        return fill(params, k, evidence(x, observed), key_x).reshape(x.shape)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        key_k, key_x = jax.random.split(key)
        k = jax.random.categorical(key_k, params['logits'], shape=(n,))
        dims = params['trees']['parent'].shape[1]
        return fill(params, k, jnp.ones((dims, 2, n)), key_x).reshape(n, *shape)


def counts(r: Array, x: Array) -> dict[str, Array]:
    """Of responsibilities [batch, components] and bits [batch, dims]: weights [components], pairs [components, dims, dims].

    One component after the other, so that no more than one weighted copy of the batch is held."""

    def pair(r: Array) -> Array:
        return jnp.matmul((x * r[:, None]).T, x, precision=jax.lax.Precision.HIGHEST)

    both = jax.lax.map(pair, r.T)
    return {'weight': r.sum(axis=0), 'both': (both + both.swapaxes(1, 2)) / 2}  # rounding is not symmetric


def fill(params: Params, k: Array, seen: Array, key: Key) -> Array:
    """Bits [batch, dims] from tree k [batch] given the evidence [dims, 2, batch]; each example has a tree of its own."""

    def one(k: Array, seen: Array, key: Key) -> Array:
        own = jax.tree.map(lambda leaf: leaf[k], params['trees'])
        tables = jnp.exp(own['log_p'])
        u, _ = trees.upward(tree(own), tables, seen[:, :, None])
        return trees.draw(tree(own), tables, u, key)[:, 0]

    states = jax.vmap(one, (0, 2, 0))(k, seen, jax.random.split(key, k.size))
    return states.astype(jnp.float32)
