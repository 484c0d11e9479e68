"""DCGAN's nets: sizes, the protocol of nets, initial scales, batch statistics, and the gradient penalty's gradient."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.nets.dcgan import Critic, Generator, stages
from research.nets.normalisation import BatchNorm, LayerNorm
from research.types import BadInput

Array = jax.Array


@pytest.mark.parametrize(
    ('shape', 'count', 'base'),
    [
        ((28, 28, 1), 2, (7, 7)),
        ((32, 32, 3), 3, (4, 4)),
        ((8, 8, 1), 1, (4, 4)),
        ((16, 24, 2), 2, (4, 6)),
        ((64, 64, 3), 4, (4, 4)),
    ],
)
def test_images_of_each_size_come_and_go(shape: tuple[int, int, int], count: int, base: tuple[int, int]) -> None:
    assert stages(shape) == count
    generator, critic, key, z = Generator(width=2), Critic(width=2), jax.random.key(0), jnp.ones((3, 5))
    made, variables = jax.eval_shape(lambda: generator.init_with_output(key, z, shape))
    assert made.shape == (3, *shape)
    widest = 2 << (count - 1)
    assert variables['params']['project']['kernel'].shape == (5, base[0] * base[1] * widest)
    logits, variables = jax.eval_shape(lambda: critic.init_with_output(key, jnp.zeros((3, *shape)), ()))
    assert logits.shape == (3,)
    assert variables['params']['score']['kernel'].shape == (base[0] * base[1] * widest, 1)
    assert jax.eval_shape(lambda: critic.init_with_output(key, jnp.zeros((3, *shape)), (2, 4)))[0].shape == (3, 2, 4)


@pytest.mark.parametrize('shape', [(28, 28), (784,), (10, 10, 1), (4, 4, 1), (28, 30, 1)])
def test_an_image_size_it_does_not_serve_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match='divisible by 4'):
        Generator(width=2).init(jax.random.key(0), jnp.zeros((2, 3)), shape)


@pytest.mark.parametrize('shape', [(2, 28, 28), (2, 784)])
def test_the_critic_refuses_what_is_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match=r'batch, height, width, channels.*\(2, '):
        Critic(width=2).init(jax.random.key(0), jnp.zeros(shape), ())


def test_the_generator_refuses_what_is_no_latent() -> None:
    with pytest.raises(BadInput, match='latents'):
        Generator(width=2).init(jax.random.key(0), jnp.zeros((2, 8, 8, 1)), (8, 8, 1))


def test_initial_weights_are_the_papers() -> None:
    net = Generator(width=32)
    params = jax.jit(net.init, static_argnums=2)(jax.random.key(0), jnp.zeros((2, 64)), (16, 16, 3))['params']
    assert set(params) == {'project', 'norm_0', 'norm_1', 'up_0', 'up_1'}
    for name in ('project', 'up_0'):
        assert float(params[name]['kernel'].std()) == pytest.approx(0.02, rel=0.02)
        assert 'bias' not in params[name]  # batch norm follows
    np.testing.assert_array_equal(params['up_1']['bias'], np.zeros(3))
    assert abs(float(params['norm_0']['norm']['scale'].mean()) - 1) < 0.02
    assert 0.01 < float(params['norm_0']['norm']['scale'].std()) < 0.03


def test_the_critics_first_layer_has_no_batch_norm_and_none_has_where_it_is_off() -> None:
    x, key = jnp.zeros((2, 16, 16, 1)), jax.random.key(0)
    variables = jax.eval_shape(lambda: Critic(width=2).init(key, x, ()))
    assert set(variables['params']) == {'down_0', 'down_1', 'norm_1', 'score'}
    assert set(variables['batch_stats']) == {'norm_1'}
    plain = jax.eval_shape(lambda: Critic(width=2, normalise=False).init(key, x, ()))
    assert set(plain) == {'params'}
    assert set(plain['params']) == {'down_0', 'down_1', 'score'}
    assert all('bias' in layer for layer in plain['params'].values())


def test_running_statistics_follow_the_recursion_and_only_in_training() -> None:
    key, x = jax.random.key(0), jax.random.normal(jax.random.key(1), (5, 4, 4, 3)) * 2 + 3
    norm = BatchNorm(momentum=0.75)
    variables = norm.init(key, x)
    y, new = norm.apply(variables, x, train=True, mutable=['batch_stats'])
    assert isinstance(y, jax.Array)
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, atol=1e-4)
    running = new['batch_stats']['norm']
    np.testing.assert_allclose(running['mean'], 0.25 * x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(running['var'], 0.75 + 0.25 * x.var((0, 1, 2)), rtol=1e-4)
    assert running['mean'].dtype == jnp.float32
    z = norm.apply({'params': variables['params'], **new}, x)
    assert isinstance(z, jax.Array)
    np.testing.assert_allclose(z, (x - running['mean']) / np.sqrt(running['var'] + 1e-5), rtol=1e-4, atol=1e-5)


def test_layer_norm_is_of_each_example_alone() -> None:
    x = jax.random.normal(jax.random.key(1), (4, 6)) * 3 + 1
    y = LayerNorm().apply({'params': {'norm': {'scale': jnp.ones(6), 'bias': jnp.zeros(6)}}}, x)
    expected = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(jnp.asarray(y), expected, atol=1e-5)


def test_training_in_a_scan_advances_the_batch_statistics_of_both_nets() -> None:
    shape, key = (8, 8, 1), jax.random.key(0)
    generator = Generator(width=2)
    variables = jax.jit(generator.init, static_argnums=2)(key, jnp.zeros((4, 3)), shape)

    def step(stats: Any, i: Array) -> tuple[Any, Array]:
        z = jax.random.normal(jax.random.fold_in(key, i), (4, 3))
        y, new = generator.apply({**variables, **stats}, z, shape, train=True, mutable=['batch_stats'])
        return dict(new), y

    stats, y = jax.jit(lambda s: jax.lax.scan(step, s, jnp.arange(3)))({'batch_stats': variables['batch_stats']})
    assert y.shape == (3, 4, *shape)
    for before, after in zip(jax.tree.leaves(variables['batch_stats']), jax.tree.leaves(stats), strict=True):
        assert bool((before != after).any())


def test_the_gradient_penalty_has_the_gradient_of_flax_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """d/dparams of |d critic / d x|, the term of WGAN-GP, with our convolution and with flax's in the same net."""
    critic, key = Critic(width=3, normalise=False), jax.random.key(0)
    x = jax.random.normal(key, (3, 16, 16, 1))
    params = jax.tree.map(lambda p: 5 * p, jax.jit(critic.init, static_argnums=2)(key, x, ()))

    def gradient() -> Any:
        def penalty(params: Any) -> Array:
            slope = jax.grad(lambda x: jnp.sum(jnp.asarray(critic.apply(params, x, ()))))(x)
            return ((jnp.sqrt((slope**2).sum((1, 2, 3))) - 1) ** 2).mean()

        return jax.jit(jax.value_and_grad(penalty))(params)

    ours = gradient()
    monkeypatch.setattr('research.nets.dcgan.Conv', lambda kernel, **fields: nn.Conv(kernel_size=kernel, **fields))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(gradient()), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1e-3, float(abs(b).max())))
