"""A perceptron is its formula, begins at Glorot's scale, and keeps running statistics for evaluation."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.nets.mlp import ACTIVATIONS, MLP, train_apply

KEY = jax.random.key(0)


def size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize('hidden', [(), (7,), (7, 5)])
def test_it_has_as_many_parameters_as_its_layers_say(hidden: tuple[int, ...]) -> None:
    variables = jax.eval_shape(lambda: MLP(hidden=hidden).init(KEY, jnp.zeros((2, 3, 4)), (2, 3)))
    widths = (12, *hidden, 6)
    assert size(variables) == sum(a * b + b for a, b in itertools.pairwise(widths))


def test_batch_norm_takes_the_place_of_the_biases() -> None:
    variables = jax.eval_shape(lambda: MLP(hidden=(7,), batch_norm=True).init(KEY, jnp.zeros((2, 12)), (6,)))
    assert size(variables['params']) == 12 * 7 + 2 * 7 + 7 * 6 + 6
    assert size(variables['batch_stats']) == 2 * 7


def test_kernels_begin_uniform_at_glorots_scale_and_biases_at_zero() -> None:
    """Uniform within sqrt(6 / (in + out)), whose variance is 2 / (in + out)."""
    layers = jax.jit(lambda: MLP(hidden=(200,)).init(KEY, jnp.zeros((2, 100)), (50,)))()['params']
    for name, ends in (('Dense_0', 300), ('Dense_1', 250)):
        kernel = np.asarray(layers[name]['kernel'])
        assert kernel.var() == pytest.approx(2 / ends, rel=0.03)
        assert np.abs(kernel).max() <= np.sqrt(6 / ends)
        assert (layers[name]['bias'] == 0).all()


@pytest.mark.parametrize('activation', list(ACTIVATIONS))
def test_it_is_its_formula(activation: Any) -> None:
    net: Any = MLP(hidden=(5,), activation=activation)
    x = jax.random.normal(KEY, (3, 2, 2))
    variables = net.init(KEY, x, (2, 3))
    first, last = variables['params']['Dense_0'], variables['params']['Dense_1']
    h = np.asarray(x.reshape(3, 4) @ first['kernel'] + first['bias'], np.float64)
    g = {
        'relu': np.maximum(h, 0), 'tanh': np.tanh(h), 'silu': h / (1 + np.exp(-h)), 'softplus': np.log1p(np.exp(h)),
        'leaky_relu': np.where(h > 0, h, 0.2 * h),
        'gelu': 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3))),
    }[activation]  # fmt: skip
    y = g @ last['kernel'] + last['bias']
    np.testing.assert_allclose(net.apply(variables, x, (2, 3)), y.reshape(3, 2, 3), rtol=1e-4, atol=1e-5)


def test_a_scalar_output_has_the_batchs_shape() -> None:
    net: Any = MLP(hidden=(5,))
    x = jnp.ones((3, 4))
    assert net.apply(net.init(KEY, x, ()), x, ()).shape == (3,)


def test_running_statistics_move_in_training_and_are_used_in_evaluation() -> None:
    """running <- 0.9 running + 0.1 batch; an example then scores the same in any company."""
    net: Any = MLP(hidden=(5,), batch_norm=True)
    x = 2 * jax.random.normal(KEY, (16, 4)) + 1
    variables = net.init(KEY, x, (3,))
    y, advanced = train_apply(net, variables, x, (3,), KEY)
    h = x @ variables['params']['Dense_0']['kernel']
    running = advanced['batch_stats']['BatchNorm_0']
    np.testing.assert_allclose(running['mean'], 0.1 * h.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(running['var'], 0.9 + 0.1 * h.var(axis=0), rtol=1e-4)
    trained = {**variables, **advanced}
    alone = net.apply(trained, x[:1], (3,))
    np.testing.assert_allclose(alone, net.apply(trained, x, (3,))[:1], rtol=1e-4, atol=1e-6)
    assert not np.allclose(y, net.apply(trained, x, (3,)), atol=1e-2)


def test_a_net_without_mutable_collections_brings_none() -> None:
    net: Any = MLP(hidden=(5,))
    x = jnp.ones((3, 4))
    variables = net.init(KEY, x, (2,))
    y, advanced = train_apply(net, variables, x, (2,), KEY)
    assert advanced == {}
    np.testing.assert_allclose(y, net.apply(variables, x, (2,)), rtol=1e-6)
