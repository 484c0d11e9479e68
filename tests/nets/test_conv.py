"""The matrix products equal XLA's convolution: values, gradients, gradients of gradients; alone, mapped, sharded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from research.nets.columns import Pair
from research.nets.conv import Conv, ConvTranspose, Padding, conv, conv_transpose
from research.types import BadInput

Array = jax.Array
LAYOUT = ('NHWC', 'HWIO', 'NHWC')

# image, channels, features, kernel, strides, padding
Case = tuple[Pair, int, int, Pair, Pair, Padding]
CASES: list[Case] = [
    ((8, 8), 3, 5, (3, 3), (1, 1), 'SAME'),
    ((8, 7), 5, 3, (3, 3), (1, 1), 'VALID'),
    ((7, 9), 3, 5, (3, 3), (2, 2), 'SAME'),
    ((8, 8), 5, 3, (4, 4), (2, 2), 'SAME'),
    ((9, 8), 3, 4, (4, 4), (2, 2), 'VALID'),
    ((7, 7), 1, 4, (4, 4), (1, 1), 'SAME'),
    ((8, 8), 4, 1, (5, 5), (2, 2), 'SAME'),
    ((9, 7), 3, 4, (5, 5), (1, 1), 'VALID'),
    ((6, 5), 3, 4, (1, 1), (1, 1), 'SAME'),
    ((6, 7), 4, 3, (1, 1), (2, 2), 'SAME'),
    ((6, 7), 2, 3, (2, 3), (3, 1), 'SAME'),
    ((7, 8), 2, 3, (4, 3), (2, 1), ((1, 2), (0, 3))),
    ((6, 6), 3, 2, (5, 5), (2, 2), ((2, 2), (2, 2))),
]


def near(got: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Equal relative to the scale of the whole array, as sums of products in another order are."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1e-30, float(abs(b).max())))


def arrays(case: Case, batch: int = 2) -> tuple[Array, Array]:
    size, channels, features, kernel, _, _ = case
    key = jax.random.key(0)
    x = jax.random.normal(jax.random.fold_in(key, 0), (batch, *size, channels))
    return x, jax.random.normal(jax.random.fold_in(key, 1), (*kernel, channels, features))


def derivatives(function: Callable[[Array, Array], Array], second: bool) -> Callable[[Array, Array], Any]:
    """Value, gradients, and where asked the gradients of a gradient penalty; the loss is not linear in the output."""

    def loss(x: Array, kernel: Array) -> Array:
        y = function(x, kernel)
        return (jnp.tanh(y / 4) * jnp.cos(jnp.arange(y.size)).reshape(y.shape)).sum()

    def penalty(x: Array, kernel: Array) -> Array:
        by_x, by_kernel = jax.grad(loss, (0, 1))(x, kernel)
        return (jnp.sqrt((by_x**2).sum((1, 2, 3)) + 1) - 1).sum() + (by_kernel**3).sum() / 100

    def everything(x: Array, kernel: Array) -> Any:
        first = function(x, kernel), jax.grad(loss, (0, 1))(x, kernel)
        return (*first, jax.grad(penalty, (0, 1))(x, kernel)) if second else first

    return jax.jit(everything)


@pytest.mark.parametrize('index', range(len(CASES)))
def test_conv_is_lax_conv_with_its_derivatives(index: int) -> None:
    *_, strides, padding = CASES[index]

    def reference(x: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=LAYOUT)

    compare(conv, reference, index)


@pytest.mark.parametrize('index', range(len(CASES)))
def test_conv_transpose_is_lax_conv_transpose_with_its_derivatives(index: int) -> None:
    *_, strides, padding = CASES[index]
    compare(conv_transpose, lambda x, kernel: lax.conv_transpose(x, kernel, strides, padding), index)


def compare(function: Callable[..., Array], reference: Callable[[Array, Array], Array], index: int) -> None:
    """The matrix products in every case; XLA's lowering and second derivatives in every third, to save compilation."""
    *_, strides, padding = CASES[index]
    x, kernel = arrays(CASES[index])
    expected = derivatives(reference, index % 3 == 0)(x, kernel)
    for lowering in ('matmul', 'xla', 'auto')[: 3 if index == 0 else 2 if index % 3 == 0 else 1]:
        ours = functools.partial(function, strides=strides, padding=padding, lowering=lowering)
        near(derivatives(ours, index % 3 == 0)(x, kernel), expected)


@pytest.mark.parametrize('function', [conv, conv_transpose])
def test_a_batch_cut_in_pieces_gives_the_same(function: Callable[..., Array], monkeypatch: pytest.MonkeyPatch) -> None:
    case: Case = ((6, 6), 3, 4, (3, 3), (2, 2), 'SAME')
    x, kernel = arrays(case, batch=6)
    ours = functools.partial(function, strides=(2, 2), padding='SAME', lowering='matmul')
    whole = derivatives(ours, second=True)(x, kernel)
    for limit in (1, 3000):  # bytes: pieces of one image, then of two (conv) and one (its transpose)
        monkeypatch.setattr('research.nets.columns.PIECE', limit)
        near(derivatives(ours, second=True)(x, kernel), whole)


def test_a_kernel_of_one_is_a_matrix_product_and_a_delta_shifts() -> None:
    x, kernel = arrays(((4, 5), 3, 2, (1, 1), (1, 1), 'SAME'))
    near(conv(x, kernel, (1, 1), 'SAME', 'matmul'), x @ kernel[0, 0])
    delta = jnp.zeros((3, 3, 3, 3)).at[0, 2].set(jnp.eye(3))  # reads one row up, one column right
    shifted = jnp.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)))[:, :-1, 1:]
    near(conv(x, delta, (1, 1), 'SAME', 'matmul'), shifted)


def test_a_negative_padding_crops() -> None:
    x, kernel = arrays(((8, 8), 2, 3, (3, 3), (1, 1), 'VALID'))
    near(conv(x, kernel, (1, 1), ((-1, 0), (-2, -1)), 'matmul'), conv(x[:, 1:, 2:-1], kernel, (1, 1), 'VALID', 'xla'))


@pytest.mark.parametrize('function', [conv, conv_transpose])
def test_members_of_a_sweep_and_a_scan_see_the_same_layer(function: Callable[..., Array]) -> None:
    x, kernel = arrays(((6, 6), 3, 4, (4, 4), (2, 2), 'SAME'))
    kernels = jnp.stack([kernel, 2 * kernel, kernel - 1])

    def step(kernel: Array) -> tuple[Array, Array]:
        return jax.value_and_grad(lambda k: jnp.sin(function(x, k, (2, 2), 'SAME')).sum())(kernel)

    alone = [step(k) for k in kernels]
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    near(jax.jit(jax.vmap(step))(kernels), expected)
    near(jax.jit(lambda ks: lax.scan(lambda _, k: (None, step(k)), None, ks)[1])(kernels), expected)


@pytest.mark.parametrize('function', [conv, conv_transpose])
def test_data_sharded_over_devices_gives_the_same_gradient(function: Callable[..., Array]) -> None:
    count = max(n for n in (4, 2, 1) if n <= jax.device_count())
    if count == 1:
        pytest.skip('one device only: set XLA_FLAGS=--xla_force_host_platform_device_count=4')
    x, kernel = arrays(((8, 8), 3, 5, (4, 4), (2, 2), 'SAME'), batch=4)
    mesh = jax.make_mesh((count,), ('data',), axis_types=(AxisType.Auto,), devices=jax.devices()[:count])
    spread = jax.device_put(x, NamedSharding(mesh, PartitionSpec('data')))

    @jax.jit
    def step(x: Array, kernel: Array) -> tuple[Array, Array]:
        return jax.value_and_grad(lambda k: jnp.sin(function(x, k, (2, 2), 'SAME')).mean())(kernel)

    near(step(spread, jax.device_put(kernel, NamedSharding(mesh, PartitionSpec()))), step(x, kernel))


@pytest.mark.parametrize(('ours', 'flax'), [(Conv, nn.Conv), (ConvTranspose, nn.ConvTranspose)])
def test_modules_have_the_parameters_of_flax(ours: Any, flax: Any) -> None:
    x, _ = arrays(((6, 6), 3, 4, (4, 4), (2, 2), 'SAME'))
    module = ours(features=4, kernel=(4, 4), strides=(2, 2))
    reference = flax(4, (4, 4), (2, 2), padding='SAME')
    variables = module.init(jax.random.key(1), x)
    near(variables, reference.init(jax.random.key(1), x))
    near(module.apply(variables, x), reference.apply(variables, x))
    assert 'bias' not in ours(features=4, use_bias=False).init(jax.random.key(1), x)['params']


@pytest.mark.parametrize(
    ('shape', 'padding', 'words'),
    [
        ((2, 8, 8, 3), 'same', "'SAME', 'VALID' or"),
        ((2, 8, 8), 'SAME', r'\(2, 8, 8\)'),
        ((2, 8, 8, 4), 'SAME', '3 channels'),
        ((2, 2, 8, 3), 'VALID', 'does not fit'),
    ],
)
def test_what_is_no_image_for_the_kernel_is_refused(shape: tuple[int, ...], padding: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        conv(jnp.zeros(shape), jnp.zeros((3, 3, 3, 2)), (1, 1), padding)


def test_a_padding_that_leaves_nothing_and_a_flat_input_are_refused() -> None:
    with pytest.raises(BadInput, match='leaves nothing'):
        conv_transpose(jnp.zeros((1, 2, 2, 1)), jnp.zeros((3, 3, 1, 1)), (1, 1), ((-2, -2), (0, 0)))
    with pytest.raises(BadInput, match='batch, height, width, channels'):
        Conv(features=2).init(jax.random.key(0), jnp.zeros((2, 9)))
