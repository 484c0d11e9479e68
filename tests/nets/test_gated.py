"""Gated nets are their formula, in their paper's sizes; nets of two inputs see both."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.nets.gated import GatedMLP, GatedPair
from research.nets.mlp import train_apply

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (3, 2, 2))
Z = jax.random.normal(jax.random.key(1), (3, 5))


def size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def gated(layer: Any, x: Any) -> np.ndarray:
    """Eq. 1 in NumPy."""
    value, gate = (np.asarray(x) @ layer[name]['kernel'] + layer[name]['bias'] for name in ('value', 'gate'))
    return np.asarray(value / (1 + np.exp(-gate)))


def test_gated_layers_are_their_formula() -> None:
    net: Any = GatedMLP(hidden=(6, 4))
    variables = net.init(KEY, X, (2, 3))
    layers = variables['params']
    h = gated(layers['gated_1'], gated(layers['gated_0'], X.reshape(3, 4)))
    expected = h @ layers['out']['kernel'] + layers['out']['bias']
    np.testing.assert_allclose(net.apply(variables, X, (2, 3)), expected.reshape(3, 2, 3), rtol=1e-4, atol=1e-5)


def test_a_pair_goes_through_layers_of_its_own_and_then_on_together() -> None:
    net: Any = GatedPair(each=6, hidden=(4,))
    variables = net.init(KEY, (X, Z), (7,))
    layers = variables['params']
    both = np.concatenate([gated(layers['input_0'], X.reshape(3, 4)), gated(layers['input_1'], Z)], axis=1)
    expected = gated(layers['gated_0'], both) @ layers['out']['kernel'] + layers['out']['bias']
    np.testing.assert_allclose(net.apply(variables, (X, Z), (7,)), expected, rtol=1e-4, atol=1e-5)


def test_of_a_tuple_all_is_laid_end_to_end() -> None:
    net: Any = GatedMLP(hidden=(6,))
    variables = net.init(KEY, (X, Z), (7,))
    joined = jnp.concatenate([X.reshape(3, 4), Z], axis=1)
    np.testing.assert_allclose(net.apply(variables, (X, Z), (7,)), net.apply(variables, joined, (7,)), rtol=1e-6)


def test_the_papers_nets_have_the_papers_sizes() -> None:
    """Gated layers are two matrices: 784-300-300 to 80, and (784, 40) to 300 each, 600-300, to 80."""
    x, z = jnp.zeros((2, 28, 28, 1)), jnp.zeros((2, 40))
    encoder = jax.eval_shape(lambda: GatedMLP().init(KEY, x, (80,)))
    assert size(encoder) == 2 * (784 * 300 + 300) + 2 * (300 * 300 + 300) + 300 * 80 + 80
    pair = jax.eval_shape(lambda: GatedPair().init(KEY, (x, z), (80,)))
    inputs = 2 * (784 * 300 + 300) + 2 * (40 * 300 + 300)
    assert size(pair) == inputs + 2 * (600 * 300 + 300) + 300 * 80 + 80


@pytest.mark.parametrize('net', [GatedMLP(hidden=(400,)), GatedPair(each=400, hidden=(400,))], ids=['mlp', 'pair'])
def test_kernels_begin_normal_with_variance_two_over_the_inputs(net: Any) -> None:
    x = jnp.zeros((2, 200))
    given = (x, x) if isinstance(net, GatedPair) else x
    for path, leaf in jax.tree_util.tree_flatten_with_path(jax.jit(lambda: net.init(KEY, given, (100,)))())[0]:
        if path[-1].key == 'bias':
            assert (leaf == 0).all()
        else:
            assert float(leaf.var()) == pytest.approx(2 / leaf.shape[0], rel=0.03)
            assert float(jnp.abs(leaf).max()) > 3 * np.sqrt(2 / leaf.shape[0])  # not cut off


def test_both_take_integers_and_a_training_pass() -> None:
    net: Any = GatedPair(each=6, hidden=())
    given = (jnp.arange(6).reshape(3, 2), Z)
    variables = net.init(KEY, given, (2,))
    y, advanced = train_apply(net, variables, given, (2,), KEY)
    assert y.shape == (3, 2)
    assert advanced == {}
