"""The hidden Chow-Liu tree against the sum over all its hidden states, and its EM and gradient against each other."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.models.chow_liu import ChowLiu
from research.models.circuit import HiddenChowLiu
from research.types import Conditional, Domain
from tests.models.completion import check_conditional, check_marginals, probabilities, states

KEY = jax.random.key(0)
MODEL = HiddenChowLiu(states=2, perturbation=0.9)
THREE = HiddenChowLiu(states=2, trees=3, perturbation=0.9, lean=0.3)
Params = dict[str, Any]


def data(dims: int = 4, rows: int = 120) -> np.ndarray:
    """Bits of three prototypes with errors, so that hidden states have something to say."""
    rng = np.random.default_rng(0)
    prototypes = rng.random((3, dims)) < 0.5
    return (prototypes[rng.integers(3, size=rows)] ^ (rng.random((rows, dims)) < 0.15)).astype(np.float32)


def em(model: HiddenChowLiu, params: Params, x: np.ndarray, count: int) -> tuple[Params, np.ndarray]:
    def step(params: Params, _: None) -> tuple[Params, jax.Array]:
        statistics, metrics = model.statistics(params, jnp.asarray(x))
        return model.solve(params, statistics), -metrics['loss']

    fitted, levels = jax.jit(lambda params: jax.lax.scan(step, params, None, length=count))(params)
    return fitted, np.asarray(levels)


def fitted(dims: int = 4, count: int = 5, model: HiddenChowLiu = MODEL) -> Params:
    x = data(dims)
    return em(model, jax.jit(model.init)(KEY, jnp.asarray(x)), x, count)[0]


def joint(params: Params, x: np.ndarray) -> np.ndarray:
    """p(x, z) of one x for every z, by loops over eq. 1: [states^dims]."""
    order, parent = (np.asarray(params['constants'][name]) for name in ('order', 'parent'))
    table = np.asarray(jax.nn.softmax(params['transition'], axis=1), np.float64)
    one = np.asarray(jax.nn.sigmoid(params['emission']), np.float64)
    total = []
    for z in itertools.product(range(table.shape[1]), repeat=len(x)):
        p = 1.0
        for i in range(len(x)):
            p *= table[i, z[i], 0 if i == order[0] else z[parent[i]]]
            p *= one[i, z[i]] if x[i] else 1 - one[i, z[i]]
        total.append(p)
    return np.array(total)


def test_log_prob_is_the_sum_over_hidden_states() -> None:
    params = fitted()
    expected = [np.log(joint(params, x).sum()) for x in states(4)]
    np.testing.assert_allclose(jax.jit(MODEL.log_prob)(params, jnp.asarray(states(4)), KEY), expected, rtol=1e-5)
    assert np.exp(expected).sum() == pytest.approx(1, abs=1e-5)


def test_expected_counts_are_those_of_all_hidden_states() -> None:
    """p(z_i = a, z_parent = b | x) by enumeration, added over three examples."""
    params, x = fitted(), data()[:3]
    found = jax.jit(MODEL.statistics)(params, jnp.asarray(x))[0]
    order, parent = (np.asarray(params['constants'][name]) for name in ('order', 'parent'))
    counts, ones = np.zeros((4, 2, 2)), np.zeros((4, 2))
    for row in x:
        posterior = joint(params, row) / joint(params, row).sum()
        for z, p in zip(itertools.product(range(2), repeat=4), posterior, strict=True):
            for i in range(4):
                ones[i, z[i]] += p * row[i]
                if i == order[0]:
                    counts[i, z[i]] += p / 2  # the root's, the same in every column
                else:
                    counts[i, z[i], z[parent[i]]] += p
    np.testing.assert_allclose(found['transition'], counts, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found['ones'], ones, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found['ones'] + found['zeros'], counts.sum(axis=2), rtol=1e-4, atol=1e-4)


def test_a_mixture_is_the_sum_over_its_trees() -> None:
    """Scores, and the expected counts, by enumeration of trees and states."""
    params, x = fitted(model=THREE), data()[:3]
    weights = np.asarray(jax.nn.softmax(params['logits']), np.float64)
    members = [jax.tree.map(lambda leaf, m=m: leaf[m], {**params, 'logits': jnp.zeros(3)}) for m in range(3)]
    each = np.array([[joint(member, row).sum() for member in members] for row in states(4)])
    log_p = jax.jit(THREE.log_prob)(params, jnp.asarray(states(4)), KEY)
    np.testing.assert_allclose(log_p, np.log(each @ weights), rtol=1e-5)
    assert np.exp(np.asarray(log_p, np.float64)).sum() == pytest.approx(1, abs=1e-5)
    found = jax.jit(THREE.statistics)(params, jnp.asarray(x))[0]
    r, ones = np.zeros(3), np.zeros((3, 4, 2))
    for row in x:
        full = np.array([w * joint(member, row) for w, member in zip(weights, members, strict=True)])
        for m, z in itertools.product(range(3), range(16)):
            r[m] += full[m, z] / full.sum()
            for i in range(4):
                ones[m, i, (z >> (3 - i)) & 1] += row[i] * full[m, z] / full.sum()
    np.testing.assert_allclose(found['logits'], r, rtol=1e-4)
    np.testing.assert_allclose(found['ones'], ones, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found['transition'].sum(axis=(2, 3)), np.tile(r[:, None], 4), rtol=1e-4)


def test_parts_of_x_by_enumeration_of_a_mixture() -> None:
    params = fitted(model=THREE)
    check_marginals(THREE, params, 4)
    check_conditional(THREE, params, 4)
    observed = np.array([True, False, True, False])
    members = [jax.tree.map(lambda leaf, m=m: leaf[m], params) for m in range(3)]
    for x in states(4)[[0, 10, 15]]:
        found = np.asarray(jax.jit(THREE.most_probable)(params, jnp.asarray(x[None]), observed))[0]
        possible = [s for s in states(4) if (s[observed] == x[observed]).all()]
        weights = np.asarray(jax.nn.softmax(params['logits']), np.float64)

        def best(s: np.ndarray, weights: np.ndarray = weights) -> float:
            return max(float(w * joint(m, s).max()) for w, m in zip(weights, members, strict=True))

        assert (found[observed] == x[observed]).all()
        assert best(found) == pytest.approx(max(best(s) for s in possible), rel=1e-4)


def test_trees_of_weighted_examples_differ() -> None:
    """On bits that follow one another at random, not all seven trees are the best one, which comes first."""
    x = (np.random.default_rng(1).random((60, 8)) < 0.5).astype(np.float32)
    found = jax.jit(HiddenChowLiu(states=2, trees=7).init)(KEY, jnp.asarray(x))['constants']['parent']
    one = jax.jit(HiddenChowLiu(states=2).init)(KEY, jnp.asarray(x))['constants']['parent']
    np.testing.assert_array_equal(found[0], one)
    assert len({tuple(np.asarray(parent).tolist()) for parent in found}) > 4


def test_a_start_that_leans_to_the_chow_liu_tree() -> None:
    """At 1, with no noise and values that show clearly, states are values: log p is near that of the Chow-Liu tree."""
    x = data(6, 400)
    tree = ChowLiu(alpha=0.1)
    fit = jax.jit(lambda x: tree.solve({}, tree.statistics({}, x)[0]))(jnp.asarray(x))
    level = []
    for lean in (0.0, 0.5, 1.0):
        model = HiddenChowLiu(states=4, lean=lean, perturbation=1e-3)
        params = dict(jax.jit(model.init)(KEY, jnp.asarray(x)))
        params['emission'] = params['emission'] * 10
        level.append(float(jax.jit(model.log_prob)(params, jnp.asarray(x), KEY).mean()))
    best = float(tree.log_prob(fit, jnp.asarray(x), KEY).mean())
    assert level[0] < level[1] - 0.1
    assert level[2] == pytest.approx(best, abs=0.01)


def test_parts_of_x_by_enumeration() -> None:
    params = fitted(5)
    assert isinstance(MODEL, Conditional)
    assert probabilities(MODEL, params, 5).sum() == pytest.approx(1, abs=1e-5)
    check_marginals(MODEL, params, 5)
    check_conditional(MODEL, params, 5)


def test_the_most_probable_states_and_values() -> None:
    """Of all (z, rest), the one given has the greatest joint probability."""
    params = fitted(4)
    observed = np.array([True, False, True, False])
    for x in states(4)[[0, 5, 10, 15]]:
        found = np.asarray(jax.jit(MODEL.most_probable)(params, jnp.asarray(x[None]), observed))[0]
        possible = [s for s in states(4) if (s[observed] == x[observed]).all()]
        assert (found[observed] == x[observed]).all()
        assert joint(params, found).max() == pytest.approx(max(joint(params, s).max() for s in possible), rel=1e-4)


def test_em_never_lowers_the_likelihood() -> None:
    """From four starts with one tree and two with three; smoothing moves the maximum a little: 1e-4 nats are allowed."""
    x = data(6)
    for seed, many in itertools.chain(itertools.product(range(4), [1]), itertools.product(range(2), [3])):
        model = HiddenChowLiu(states=3, smoothing=1e-4, trees=many, lean=0.5 if many > 1 else 0.0)
        start = jax.jit(model.init)(jax.random.key(seed), jnp.asarray(x))
        levels = em(model, start, x, 25)[1]
        assert (np.diff(levels) > -1e-4).all()
        assert levels[-1] > levels[0] + 0.1


@pytest.mark.parametrize('model', [MODEL, THREE], ids=['one tree', 'three'])
def test_the_gradient_is_that_of_the_log_likelihood(model: HiddenChowLiu) -> None:
    """Fisher's identity (eq. 3) against differences of log_prob in a few random directions."""
    params, x = fitted(model=model), jnp.asarray(data())
    trained = {name: leaf for name, leaf in params.items() if name != 'constants'}

    def loss(part: Params) -> jax.Array:
        return model.loss({**part, 'constants': params['constants']}, x, KEY).loss

    @jax.jit
    def level(part: Params) -> jax.Array:
        return -model.log_prob({**part, 'constants': params['constants']}, x, KEY).mean()

    value, gradient = jax.jit(jax.value_and_grad(loss))(trained)
    assert float(value) == pytest.approx(float(level(trained)), abs=1e-5)
    for seed in range(3):
        keys = jax.random.split(jax.random.key(seed), len(trained))
        along = {n: jax.random.normal(k, trained[n].shape) for n, k in zip(trained, keys, strict=True)}
        root = along['transition'][..., 0, :, :1]  # in whose table every column is the same
        along['transition'] = along['transition'].at[..., 0, :, :].set(root + jnp.zeros((2, 2)))
        ahead, behind = (jax.tree.map(lambda p, d, s=s: p + s * d, trained, along) for s in (3e-3, -3e-3))
        slope = float(level(ahead) - level(behind)) / 6e-3
        assert sum(float((gradient[n] * along[n]).sum()) for n in along) == pytest.approx(slope, abs=5e-4)


@pytest.mark.parametrize('model', [MODEL, THREE], ids=['one tree', 'three'])
def test_samples_fall_as_their_probabilities_say(model: HiddenChowLiu) -> None:
    params, n = fitted(model=model), 20_000
    p = probabilities(model, params, 4)
    drawn = np.asarray(jax.jit(lambda p: model.sample(p, KEY, n, (4,)))(params))
    found = np.bincount((drawn @ (2 ** np.arange(4))[::-1]).astype(int), minlength=16) / n
    assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / n)).all()


@pytest.mark.parametrize('x', [np.zeros((4, 3)), np.ones((1, 1)), np.eye(2)], ids=['constant', 'one bit', 'few'])
def test_degenerate_data_are_defined(x: np.ndarray) -> None:
    """A constant variable, a single one, more states than examples: finite parameters, probabilities that add up to 1."""
    model = HiddenChowLiu(states=5, trees=2, lean=0.5)
    params = em(model, jax.jit(model.init)(KEY, jnp.asarray(x, jnp.float32)), x.astype(np.float32), 4)[0]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    assert probabilities(model, params, x.shape[1]).sum() == pytest.approx(1, abs=1e-5)


def test_a_long_chain_and_a_wide_star_do_not_underflow() -> None:
    """300 variables that all follow one: log p is hundreds of nats below 0, and finite."""
    rng = np.random.default_rng(0)
    x = (rng.random((50, 1)) < 0.5) ^ (rng.random((50, 300)) < 0.02)
    model = HiddenChowLiu(states=3)
    params = em(model, jax.jit(model.init)(KEY, jnp.asarray(x, jnp.float32)), x.astype(np.float32), 3)[0]
    odd = (rng.random((4, 300)) < 0.5).astype(np.float32)
    log_p = np.asarray(jax.jit(model.log_prob)(params, jnp.asarray(odd), KEY))
    assert np.isfinite(log_p).all()
    assert (log_p < -150).all()


def test_other_data_are_refused() -> None:
    assert 'unit' in str(HiddenChowLiu().fits(Domain(kind='unit', shape=(2,))))
