"""The best tree: each variable depends on one other. Chow & Liu 1968, IEEE Trans. Inf. Theory 14(3). No network anywhere.

    p(x) = prod_i p(x_i | x_parent(i))                                                                        (1)

Of all trees, the likelihood is greatest on the spanning tree of greatest mutual information between pairs, with the pairs'
frequencies as its tables. Smoothed, P(x_i = a, x_j = b) = (count + alpha) / (n + 4 alpha), from which P(x_i = a) follows as
(count + 2 alpha) / (n + 4 alpha), and information and conditionals are those of the smoothed tables. The counts of pairs add
up over batches: one epoch of EMTrainer is the whole fit.

A variable that is constant in training has no information with any other beyond what smoothing puts there, and keeps the
smoothed probability of its other value; with one variable the tree is its root. Everything is exact: scores, marginals,
conditionals, most probable completions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths import trees
from research.maths.trees import Tree
from research.types import Array, Domain, Key, Kind, Metrics, Params, ranged


@dataclass(frozen=True, kw_only=True)
class ChowLiu:
    """`alpha` pseudo-counts for each of the four states of a pair."""

    alpha: float = ranged(1.0, above=0)

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    def fits(self, domain: Domain) -> str | None:
        return None if domain.kind == 'binary' else f'ChowLiu scores binary data, not {domain.kind}'

    def init(self, key: Key, x: Array) -> Params:
        """Fair coins: before anything is counted, every state of every pair is as likely."""
        dims = x[0].size
        return self.solve({}, {'n': jnp.float32(0), 'both': jnp.zeros((dims, dims))})

    def statistics(self, params: Params, x: Array) -> tuple[dict[str, Array], Metrics]:
        """How many examples, and in how many of them both variables of a pair are 1. Exact up to 2**24 examples."""
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        both = jnp.matmul(x.T, x, precision=jax.lax.Precision.HIGHEST)
        return {'n': jnp.float32(x.shape[0]), 'both': both}, {}

    def solve(self, params: Params, statistics: dict[str, Array]) -> Params:
        n, both = statistics['n'], statistics['both']
        return tabulate(trees.spanning_tree(trees.mutual_information(n, both, self.alpha)), n, both, self.alpha)

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats, eq. 1."""
        return score(params, x)

    def log_marginal(self, params: Params, x: Array, observed: Array) -> Array:
        """[batch] nats of the variables that are observed, the others summed out."""
        return trees.upward(tree(params), jnp.exp(params['log_p']), evidence(x, observed))[1]

    def conditional(self, params: Params, x: Array, observed: Array, key: Key) -> Array:
        """x with the rest drawn from p(rest | observed), [batch, *shape]."""
        tables = jnp.exp(params['log_p'])
        u, _ = trees.upward(tree(params), tables, evidence(x, observed))
        return trees.draw(tree(params), tables, u, key).T.reshape(x.shape).astype(jnp.float32)

    def most_probable(self, params: Params, x: Array, observed: Array) -> Array:
        """x with the rest set to its most probable values together, [batch, *shape]."""
        states, _ = trees.most_probable(tree(params), jnp.exp(params['log_p']), evidence(x, observed))
        return states.T.reshape(x.shape).astype(jnp.float32)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        dims = params['parent'].size
        states = trees.draw(tree(params), jnp.exp(params['log_p']), jnp.ones((dims, 2, n)), key)
        return states.T.reshape(n, *shape).astype(jnp.float32)


def tabulate(tree: Tree, n: Array, both: Array, alpha: Array | float) -> Params:
    """The parameters on a tree: smoothed conditionals from the counts of pairs [dims, dims] among `n` examples."""
    child, counts = jnp.arange(both.shape[0]), trees.pairs(n, both)
    joint = counts[:, :, child, tree.parent] + alpha  # [2, 2, dims]: of child and parent
    alone = counts[:, :, 0, 0].diagonal() + 2 * alpha
    conditional = joint / joint.sum(axis=0)
    conditional = conditional.at[:, :, 0].set((alone / alone.sum())[:, None])  # the root, eq. 1
    return {'order': tree.order, 'parent': tree.parent, 'log_p': jnp.log(conditional).transpose(2, 0, 1)}


def score(params: Params, x: Array) -> Array:
    """log p of each example on one tree, [batch] nats, eq. 1."""
    x = x.reshape(x.shape[0], -1) > 0.5
    above, log_p = x[:, params['parent']], params['log_p']  # [dims, 2, 2]: value of the child, of the parent
    one = jnp.where(above, log_p[:, 1, 1], log_p[:, 1, 0])
    nil = jnp.where(above, log_p[:, 0, 1], log_p[:, 0, 0])
    return jnp.where(x, one, nil).sum(axis=1)


def tree(params: Params) -> Tree:
    return Tree(params['order'], params['parent'])


def evidence(x: Array, observed: Array) -> Array:
    """1 for each state that what is observed allows, else 0: [dims, 2, batch]."""
    x = x.reshape(x.shape[0], -1).T > 0.5
    states = jnp.stack([~x, x], axis=1)
    return jnp.where(observed.reshape(-1)[:, None, None], states, True).astype(jnp.float32)
