"""Hidden Chow-Liu tree (HCLT): the best tree, with hidden states in its place. Liu & Van den Broeck 2021, arXiv:2106.07564.

No network anywhere. Each variable x_i has a hidden state z_i of K values, and the states stand on the tree that Chow & Liu
(1968) find for the variables:

    p(x, z) = prod_i p(z_i | z_parent(i)) p(x_i | z_i),    p(x) = sum_z p(x, z)                               (1)

This is a smooth and decomposable circuit: a sum unit is a row of p(z_i | b), a product unit joins what the children of i say.
One pass up the tree gives log p(x), one pass down the expected counts of every sum unit, from which EM's next parameters
follow (2): (count + smoothing / units) / (total + smoothing), pseudo-counts shared among the inputs of a sum unit. A sum that
no example reaches so becomes uniform. By Fisher's identity the gradient of log p(x) is that of the expected complete
log-likelihood (3), so that training by gradient takes the same two passes. As in the source, several such circuits may be
mixed,

    p(x) = sum_m w_m p_m(x),                                                                                  (4)

one more sum unit above them, each with a tree of its own. The trees are found from the examples that `init` sees: the first
is the best one, the others are best where each example has a random weight (the source takes four of the twenty best).
In the source a leaf of the tree has no state of its own; here it has, which adds no distribution:
p(x_i | b) = sum_a p(x_i | a) p(a | b) is any number either way.

Where EM ends depends on where it starts. On `accidents`, 12 states, one tree: 28.1 nats from a uniform start with noise, 26.9
from one that leans half-way to the Chow-Liu tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from research.maths import trees
from research.maths.trees import Tree
from research.models.chow_liu import tabulate
from research.types import Array, Domain, Key, Kind, Metrics, Objective, Params, ranged


@dataclass(frozen=True, kw_only=True)
class HiddenChowLiu:
    """`trees` of the mixture, 1 for none; `states` of each hidden variable; `alpha` pseudo-counts for a pair's cell when a
    tree is looked for. The start is uniform but for a random `perturbation`: with none, all states would stay alike. It may
    `lean` to the Chow-Liu tree: at 1 every other state stands for a 1, and transitions are those of the values."""

    states: int = ranged(12, at_least=2)
    trees: int = ranged(1, at_least=1)
    smoothing: float = ranged(0.1, above=0)
    alpha: float = ranged(0.1, above=0)
    perturbation: float = ranged(0.8, above=0, below=1)
    lean: float = ranged(0.0, at_least=0, at_most=1)

    log_prob_kind: ClassVar[Kind] = 'exact'
    network: ClassVar[bool] = False

    def fits(self, domain: Domain) -> str | None:
        return None if domain.kind == 'binary' else f'HiddenChowLiu scores binary data, not {domain.kind}'

    def init(self, key: Key, x: Array) -> Params:
        """The tree of `x`, and where there are more those of weighted examples, each with a start of its own."""
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        n, both = jnp.float32(x.shape[0]), jnp.matmul(x.T, x, precision=jax.lax.Precision.HIGHEST)
        best = trees.spanning_tree(trees.mutual_information(n, both, self.alpha))
        if self.trees == 1:
            return self.start(key, best, n, both)
        keys = [jax.random.fold_in(key, i) for i in range(2 * self.trees)]
        found = [best, *(self.other(keys[m], x) for m in range(1, self.trees))]
        members = [self.start(keys[self.trees + m], tree, n, both) for m, tree in enumerate(found)]
        return {**jax.tree.map(lambda *leaves: jnp.stack(leaves), *members), 'logits': jnp.zeros(self.trees)}

    def other(self, key: Key, x: Array) -> Tree:
        """The best tree where each example has a weight drawn from the exponential distribution. Rubin 1981."""
        weight = jax.random.exponential(key, (x.shape[0],))
        both = jnp.matmul((x * weight[:, None]).T, x, precision=jax.lax.Precision.HIGHEST)
        both = (both + both.T) / 2  # rounding is not symmetric
        return trees.spanning_tree(trees.weighted_information(weight.sum(), both, self.alpha))

    def start(self, key: Key, tree: Tree, n: Array, both: Array) -> Params:
        """The parameters on one tree before any training, from the counts of pairs [dims, dims] among `n` examples."""
        key_t, key_e = jax.random.split(key)
        k, dims, mean = self.states, both.shape[0], (both.diagonal() + 1) / (n + 2)
        noise_t = 1 - self.perturbation * jax.random.uniform(key_t, (dims, k, k))
        noise_e = 1 - self.perturbation * jax.random.uniform(key_e, (2, dims, k))
        value = jnp.arange(k) % 2  # for which a state stands
        copy = jnp.exp(tabulate(tree, n, both, self.alpha)['log_p'])[:, value][:, :, value] * noise_t
        near, far = (table / table.sum(axis=1, keepdims=True) for table in (copy, noise_t))
        emission = jax.scipy.special.logit(mean)[:, None] + jnp.log(noise_e[0]) - jnp.log(noise_e[1])
        return {
            'transition': rooted(tree, jnp.log(self.lean * near + (1 - self.lean) * far)),
            'emission': emission + 2 * self.lean * (2 * value - 1),
            'constants': {'order': tree.order, 'parent': tree.parent},
        }

    def passes(self, params: Params, x: Array) -> tuple[Array, dict[str, Array]]:
        """log p(x) [batch], and the expected counts of (2), summed over the batch."""
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        each, joint, u = self.up(params, x, None)
        log_p = jax.nn.logsumexp(joint, axis=0)
        r = jnp.exp(joint - log_p)  # [trees, batch]

        def count(member: tuple[Params, Array, Array]) -> dict[str, Array]:
            one, u, r = member
            q, counts = trees.expected(*hidden(one), u, r)
            ones = jnp.einsum('dkn,nd->dk', q, x, precision=jax.lax.Precision.HIGHEST)
            return {'transition': counts, 'ones': ones, 'zeros': jnp.maximum(q.sum(axis=2) - ones, 0)}

        return log_p, self.leave(jax.lax.map(count, (each, u, r)) | {'logits': r.sum(axis=1)})

    def members(self, params: Params) -> tuple[Params, Array]:
        """The parameters with an axis of trees before all others, and the logarithms of the trees' weights [trees]."""
        if self.trees == 1:
            return jax.tree.map(lambda p: p[None], params), jnp.zeros(1)
        return {n: leaf for n, leaf in params.items() if n != 'logits'}, jax.nn.log_softmax(params['logits'])

    def leave(self, members: dict[str, Array]) -> dict[str, Array]:
        """The way back: the counts of a single tree have neither that axis nor a weight."""
        return members if self.trees > 1 else {n: leaf[0] for n, leaf in members.items() if n != 'logits'}

    def statistics(self, params: Params, x: Array) -> tuple[dict[str, Array], Metrics]:
        log_p, counts = self.passes(params, x)
        return counts, {'loss': -log_p.mean()}

    def solve(self, params: Params, statistics: dict[str, Array]) -> Params:
        """M step, eq. 2."""
        ones, zeros = statistics['ones'] + self.smoothing / 2, statistics['zeros'] + self.smoothing / 2
        solved = {
            'transition': jnp.log(statistics['transition'] + self.smoothing / self.states),
            'emission': jnp.log(ones) - jnp.log(zeros),
        }
        if self.trees > 1:
            solved['logits'] = jnp.log(statistics['logits'] + self.smoothing / self.trees)
        return {**params, **solved}

    def loss(self, params: Params, x: Array, key: Key) -> Objective:
        """-log p(x), with the gradient of eq. 3."""
        log_p, counts = self.passes(jax.lax.stop_gradient(params), x)
        counts = jax.lax.stop_gradient(counts)
        sums = counts['transition'] * jax.nn.log_softmax(params['transition'], axis=-2)
        leaves = counts['ones'] * jax.nn.log_sigmoid(params['emission'])
        leaves += counts['zeros'] * jax.nn.log_sigmoid(-params['emission'])
        complete = sums.sum() + leaves.sum()
        if self.trees > 1:
            complete += counts['logits'] @ jax.nn.log_softmax(params['logits'])
        complete = complete / x.shape[0]
        loss = jax.lax.stop_gradient(complete - log_p.mean()) - complete
        return Objective(loss, {'loss': loss}, {'constants': params['constants']})

    def log_prob(self, params: Params, x: Array, key: Key) -> Array:
        """[batch] nats, eq. 1."""
        return jax.nn.logsumexp(self.up(params, x, None)[1], axis=0)

    def log_marginal(self, params: Params, x: Array, observed: Array) -> Array:
        """[batch] nats of the variables that are observed, the others summed out."""
        return jax.nn.logsumexp(self.up(params, x, observed)[1], axis=0)

    def up(self, params: Params, x: Array, observed: Array | None) -> tuple[Params, Array, Array]:
        """The parameters of each tree, log w_m + log p_m(observed) [trees, batch], and u [trees, dims, K, batch]."""
        x, (each, log_w) = x.reshape(x.shape[0], -1), self.members(params)
        u, log_p = jax.lax.map(lambda one: trees.upward(*hidden(one), evidence(one, x, observed)), each)
        return each, log_w[:, None] + log_p, u

    def conditional(self, params: Params, x: Array, observed: Array, key: Key) -> Array:
        """x with the rest drawn from p(rest | observed), [batch, *shape]: a tree, the states, then what they show."""
        each, joint, u = self.up(params, x, observed)
        return jnp.where(observed, x, self.draw(each, joint, u, key).reshape(x.shape)).astype(jnp.float32)

    def most_probable(self, params: Params, x: Array, observed: Array) -> Array:
        """x with the rest as the most probable tree, states and values together have it, [batch, *shape]."""
        each, log_w = self.members(params)

        def best(one: Params) -> tuple[Array, Array]:
            seen = evidence(one, x.reshape(x.shape[0], -1), observed)
            likely = jnp.exp(jax.nn.log_sigmoid(jnp.abs(one['emission'])))  # of the more probable value
            seen = jnp.where(observed.reshape(-1)[:, None, None], seen, likely[:, :, None])
            z, log_p = trees.most_probable(*hidden(one), seen)
            return jnp.take_along_axis(one['emission'], z, axis=1).T > 0, log_p

        values, log_p = jax.vmap(best)(each)  # [trees, batch, dims], [trees, batch]
        first = (log_w[:, None] + log_p).argmax(axis=0)
        values = jnp.take_along_axis(values, first[None, :, None], axis=0)[0]
        return jnp.where(observed, x, values.reshape(x.shape)).astype(jnp.float32)

    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
        each, log_w = self.members(params)
        joint = jnp.broadcast_to(log_w[:, None], (self.trees, n))
        return self.draw(each, joint, jnp.ones((*each['emission'].shape, n)), key).reshape(n, *shape)

    def draw(self, each: Params, joint: Array, u: Array, key: Key) -> Array:
        """Values [batch, dims] of a tree of its own for each example: every tree draws, one is taken."""
        key_z, key_x = jax.random.split(key)
        if self.trees == 1:
            return show(jax.tree.map(lambda leaf: leaf[0], each), u[0], key_z, key_x)
        keys = jax.vmap(jax.random.split)(jax.random.split(key_x, self.trees))  # [trees, 2]
        m = jax.random.categorical(key_z, joint, axis=0)  # [batch]
        values = jax.vmap(lambda one, u, keys: show(one, u, keys[0], keys[1]))(each, u, keys)
        return jnp.take_along_axis(values, m[None, :, None], axis=0)[0]


def show(params: Params, u: Array, key_z: Key, key_x: Key) -> Array:
    """States drawn on one tree from the `u` of `upward`, and what they show: [batch, dims]."""
    z = trees.draw(*hidden(params), u, key_z)  # [dims, batch]
    p = jax.nn.sigmoid(jnp.take_along_axis(params['emission'], z, axis=1))
    return jax.random.bernoulli(key_x, p).T.astype(jnp.float32)


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
