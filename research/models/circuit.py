"""Hidden Chow-Liu tree (HCLT): the best tree, with hidden states in its place. Liu & Van den Broeck 2021, arXiv:2106.07564.

No network anywhere. Each variable x_i has a hidden state z_i of K values, and the states stand on the tree that Chow & Liu
(1968) find for the variables:

    p(x, z) = prod_i p(z_i | z_parent(i)) p(x_i | z_i),    p(x) = sum_z p(x, z)                               (1)

This is a smooth and decomposable circuit: a sum unit is a row of p(z_i | b), a product unit joins what the children of i say.
One pass up the tree gives log p(x), one pass down the expected counts of every sum unit, from which EM's next parameters
follow (2): (count + smoothing / units) / (total + smoothing), pseudo-counts shared among the inputs of a sum unit. A sum that
no example reaches so becomes uniform. By Fisher's identity the gradient of log p(x) is that of the expected complete
log-likelihood (3), so that training by gradient takes the same two passes.

The tree is found from the examples that `init` sees. In the source a leaf of the tree has no state of its own; here it has,
which adds no distribution: p(x_i | b) = sum_a p(x_i | a) p(a | b) is any number either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths import trees
from research.maths.trees import Tree
from research.types import Array, Domain, Key, Kind, Metrics, Objective, Params, ranged


@dataclass(frozen=True, kw_only=True)
class HiddenChowLiu:
    """`states` of each hidden variable; `alpha` pseudo-counts for a pair's cell when the tree is looked for; the start is
    uniform but for a random `perturbation`: with none, all states would stay alike."""

    states: int = ranged(12, at_least=2)
    smoothing: float = ranged(0.1, above=0)
    alpha: float = ranged(0.1, above=0)
    perturbation: float = ranged(0.8, above=0, below=1)

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    def fits(self, domain: Domain) -> str | None:
        return None if domain.kind == 'binary' else f'HiddenChowLiu scores binary data, not {domain.kind}'

    def init(self, key: Key, x: Array) -> Params:
        """The tree of `x`; sums near uniform, each state's probability of a 1 near the variable's own."""
        x, k = x.reshape(x.shape[0], -1).astype(jnp.float32), self.states
        key_t, key_e = jax.random.split(key)
        n, both = jnp.float32(x.shape[0]), jnp.matmul(x.T, x, precision=jax.lax.Precision.HIGHEST)
        tree = trees.spanning_tree(trees.mutual_information(n, both, self.alpha))
        dims, mean = x.shape[1], (x.sum(axis=0) + 1) / (x.shape[0] + 2)
        noise_t = 1 - self.perturbation * jax.random.uniform(key_t, (dims, k, k))
        noise_e = 1 - self.perturbation * jax.random.uniform(key_e, (2, dims, k))
        emission = jax.scipy.special.logit(mean)[:, None] + jnp.log(noise_e[0]) - jnp.log(noise_e[1])
        return {
            'transition': rooted(tree, jnp.log(noise_t)),
            'emission': emission,
            'constants': {'order': tree.order, 'parent': tree.parent},
        }

    def passes(self, params: Params, x: Array) -> tuple[Array, dict[str, Array]]:
        """log p(x) [batch], and the expected counts of (2), summed over the batch."""
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        tree, tables = hidden(params)
        u, log_p = trees.upward(tree, tables, evidence(params, x, None))
        q, counts = trees.expected(tree, tables, u)
        ones = jnp.einsum('dkn,nd->dk', q, x, precision=jax.lax.Precision.HIGHEST)
        return log_p, {'transition': counts, 'ones': ones, 'zeros': jnp.maximum(q.sum(axis=2) - ones, 0)}

    def statistics(self, params: Params, x: Array) -> tuple[dict[str, Array], Metrics]:
        log_p, counts = self.passes(params, x)
        return counts, {'loss': -log_p.mean()}

    def solve(self, params: Params, statistics: dict[str, Array]) -> Params:
        """M step, eq. 2."""
        ones, zeros = statistics['ones'] + self.smoothing / 2, statistics['zeros'] + self.smoothing / 2
        transition = jnp.log(statistics['transition'] + self.smoothing / self.states)
        return {**params, 'transition': transition, 'emission': jnp.log(ones) - jnp.log(zeros)}

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        """-log p(x), with the gradient of eq. 3."""
        log_p, counts = self.passes(jax.lax.stop_gradient(params), x)
        counts = jax.lax.stop_gradient(counts)
        sums = counts['transition'] * jax.nn.log_softmax(params['transition'], axis=1)
        leaves = counts['ones'] * jax.nn.log_sigmoid(params['emission'])
        leaves += counts['zeros'] * jax.nn.log_sigmoid(-params['emission'])
        complete = (sums.sum() + leaves.sum()) / x.shape[0]
        loss = jax.lax.stop_gradient(complete - log_p.mean()) - complete
        return Objective(loss, {'loss': loss}, {'constants': params['constants']})

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats, eq. 1."""
        return self.up(params, x, None)[1]

    def log_marginal(self, params: Params, x: Array, observed: Array) -> Array:
        """[batch] nats of the variables that are observed, the others summed out."""
        return self.up(params, x, observed)[1]

    def up(self, params: Params, x: Array, observed: Array | None) -> tuple[Array, Array]:
        tree, tables = hidden(params)
        return trees.upward(tree, tables, evidence(params, x.reshape(x.shape[0], -1), observed))

    def conditional(self, params: Params, x: Array, observed: Array, key: Key) -> Array:
        """x with the rest drawn from p(rest | observed), [batch, *shape]: the states first, then what they show."""
        key_z, key_x = jax.random.split(key)
        z = trees.draw(*hidden(params), self.up(params, x, observed)[0], key_z)  # [dims, batch]
        return jnp.where(observed, x, self.show(params, z, key_x).reshape(x.shape)).astype(jnp.float32)

    def most_probable(self, params: Params, x: Array, observed: Array) -> Array:
        """x with the rest as the most probable states and values together have it, [batch, *shape]."""
        tree, tables = hidden(params)
        seen = evidence(params, x.reshape(x.shape[0], -1), observed)
        likely = jnp.exp(jax.nn.log_sigmoid(jnp.abs(params['emission'])))  # of the more probable value
        seen = jnp.where(observed.reshape(-1)[:, None, None], seen, likely[:, :, None])
        z, _ = trees.most_probable(tree, tables, seen)
        values = jnp.take_along_axis(params['emission'], z, axis=1).T > 0
        return jnp.where(observed, x, values.reshape(x.shape)).astype(jnp.float32)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        key_z, key_x = jax.random.split(key)
        z = trees.draw(*hidden(params), jnp.ones((*params['emission'].shape, n)), key_z)
        return self.show(params, z, key_x).reshape(n, *shape)

    def show(self, params: Params, z: Array, key: Key) -> Array:
        """What states z [dims, batch] show, [batch, dims]."""
        p = jax.nn.sigmoid(jnp.take_along_axis(params['emission'], z, axis=1))
        return jax.random.bernoulli(key, p).T.astype(jnp.float32)


def hidden(params: Params) -> tuple[Tree, Array]:
    """The tree, and p(z_i = a | z_parent(i) = b) [dims, K, K]."""
    tree = Tree(params['constants']['order'], params['constants']['parent'])
    return tree, jax.nn.softmax(rooted(tree, params['transition']), axis=1)


def rooted(tree: Tree, logits: Array) -> Array:
    """The same table with each column of the root's alike, as it has no parent: the first."""
    root = tree.order[0]
    return logits.at[root].set(jnp.broadcast_to(logits[root][:, :1], logits.shape[1:]))


def evidence(params: Params, x: Array, observed: Array | None) -> Array:
    """p(x_i | z_i = a), and 1 where x_i is not observed: [dims, K, batch]."""
    one, nil = (jax.nn.sigmoid(sign * params['emission'])[:, :, None] for sign in (1, -1))
    seen = jnp.where(x.T[:, None] > 0.5, one, nil)
    return seen if observed is None else jnp.where(observed.reshape(-1)[:, None, None], seen, 1.0)
