"""Convolutional and residual nets: sizes, the papers' layers, what they see, and the refusal of sides that do not fit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.engine import override
from research.nets.convolutional import LOCATELLO_DECODER, LOCATELLO_ENCODER, Decoder, Encoder
from research.nets.mlp import train_apply
from research.nets.residual import ResidualDecoder, ResidualEncoder
from research.types import BadInput, Net

KEY = jax.random.key(0)
ENCODERS = [Encoder(widths=(3, 4), hidden=(5,)), ResidualEncoder(widths=(3, 4), hidden=(5,))]
DECODERS = [Decoder(widths=(4, 3), hidden=(5,)), ResidualDecoder(widths=(4, 3), hidden=(5,))]
IDS = ['plain', 'residual']


def size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shape_of(net: Any, x: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(jax.eval_shape(lambda: net.init_with_output(KEY, x, shape))[0].shape)


@pytest.mark.parametrize('net', ENCODERS, ids=IDS)
@pytest.mark.parametrize('event', [(28, 28, 1), (32, 32, 3), (8, 8, 1), (20, 12, 2), (28, 28, 1, 5)])
def test_an_encoder_takes_images_of_many_sizes(net: Any, event: tuple[int, ...]) -> None:
    assert isinstance(net, Net)
    assert shape_of(net, jnp.zeros((2, *event)), (6,)) == (2, 6)
    assert shape_of(net, jnp.zeros((2, *event), jnp.int32), (2, 3)) == (2, 2, 3)


@pytest.mark.parametrize('net', DECODERS, ids=IDS)
@pytest.mark.parametrize('shape', [(28, 28, 1), (32, 32, 3), (8, 8, 1), (20, 12, 2), (28, 28, 1, 5), (8, 8, 3, 6)])
def test_a_decoder_makes_images_of_many_sizes(net: Any, shape: tuple[int, ...]) -> None:
    assert shape_of(net, jnp.zeros((2, 6)), shape) == (2, *shape)


@pytest.mark.parametrize('side', [32, 64])
def test_the_default_residual_nets_take_both_sides(side: int) -> None:
    assert shape_of(ResidualEncoder(), jnp.zeros((1, side, side, 3)), (20,)) == (1, 20)
    assert shape_of(ResidualDecoder(), jnp.zeros((1, 10)), (side, side, 3)) == (1, side, side, 3)


def test_the_net_of_the_disentanglement_study_is_its_table() -> None:
    """64 -> 32 -> 16 -> 8 -> 4, 1024 numbers, 256, 20; and back."""
    encoder = jax.eval_shape(lambda: LOCATELLO_ENCODER.init(KEY, jnp.zeros((2, 64, 64, 1)), (20,)))['params']
    shapes = {name: layer['kernel'].shape for name, layer in encoder.items()}
    assert shapes == {
        'down_0': (4, 4, 1, 32), 'down_1': (4, 4, 32, 32), 'down_2': (2, 2, 32, 64), 'down_3': (2, 2, 64, 64),
        'hidden_0': (1024, 256), 'out': (256, 20),
    }  # fmt: skip
    decoder = jax.eval_shape(lambda: LOCATELLO_DECODER.init(KEY, jnp.zeros((2, 10)), (64, 64, 1)))['params']
    shapes = {name: layer['kernel'].shape for name, layer in decoder.items()}
    assert shapes == {
        'hidden_0': (10, 256), 'hidden_1': (256, 1024),
        'up_0': (4, 4, 64, 64), 'up_1': (4, 4, 64, 32), 'up_2': (4, 4, 32, 32), 'up_3': (4, 4, 32, 1),
    }  # fmt: skip


NAMED = [*zip([*ENCODERS, ResidualEncoder()], [4, 4, 8], strict=True)]


@pytest.mark.parametrize(('net', 'least'), NAMED, ids=[*IDS, 'three_stages'])
def test_a_side_that_does_not_fit_is_refused_with_one_that_would(net: Any, least: int) -> None:
    expected = f'{type(net).__name__} halves .* multiples of {least}, but the image is 28x30: a side of .* 32 would'
    with pytest.raises(BadInput, match=expected):
        shape_of(net, jnp.zeros((2, 28, 30, 1)), (6,))


@pytest.mark.parametrize('net', DECODERS, ids=IDS)
def test_a_decoder_refuses_likewise(net: Any) -> None:
    with pytest.raises(BadInput, match=rf'{type(net).__name__} .*30x28: a side of 30 does not fit, 28 or 32 would'):
        shape_of(net, jnp.zeros((2, 6)), (30, 28, 1))
    with pytest.raises(BadInput, match='takes images'):
        shape_of(net, jnp.zeros((2, 6)), (784,))


@pytest.mark.parametrize('net', ENCODERS, ids=IDS)
def test_what_is_no_image_is_refused(net: Any) -> None:
    with pytest.raises(BadInput, match=r'takes images \(height, width, channels\), and the data are of shape \(64,\)'):
        shape_of(net, jnp.zeros((2, 64)), (6,))


def test_widths_and_kernels_that_do_not_pair_are_refused() -> None:
    with pytest.raises(BadInput, match='give one kernel for each width'):
        shape_of(Encoder(widths=(3,)), jnp.zeros((2, 8, 8, 1)), (6,))
    with pytest.raises(BadInput, match=r'widths=\(\)'):
        shape_of(ResidualDecoder(widths=()), jnp.zeros((2, 6)), (8, 8, 1))


def test_residual_blocks_begin_as_the_identity() -> None:
    """With and without them, the same convolutions give the same outputs."""
    x = jax.random.normal(KEY, (2, 8, 8, 1))
    deep: Any = ResidualEncoder(widths=(3, 4), hidden=(5,), blocks=2)
    plain: Any = ResidualEncoder(widths=(3, 4), hidden=(5,), blocks=0)
    variables = jax.jit(lambda: deep.init(KEY, x, (6,)))()
    kept = {name: own for name, own in variables['params'].items() if not name.startswith('block')}
    assert len(kept) == len(variables['params']) - 4
    np.testing.assert_allclose(deep.apply(variables, x, (6,)), plain.apply({'params': kept}, x, (6,)), rtol=1e-5)


PAIRS = [*zip(ENCODERS, DECODERS, strict=True)]


@pytest.mark.parametrize(('encoder', 'decoder'), PAIRS, ids=IDS)
def test_every_pixel_is_seen_and_made_and_no_example_sees_another(encoder: Any, decoder: Any) -> None:
    x, shape = jax.random.normal(KEY, (2, 8, 8, 2)), (8, 8, 2)
    variables = jax.jit(lambda: (encoder.init(KEY, x, (4,)), decoder.init(KEY, jnp.zeros((2, 4)), shape)))()
    moved = jax.tree.map(lambda leaf: leaf + 0.3, variables)  # gains of the blocks away from zero too

    def through(x: jax.Array) -> jax.Array:
        y: jax.Array = decoder.apply(moved[1], encoder.apply(moved[0], x, (4,)), shape)
        return y

    slope = jax.jit(jax.grad(lambda x: (through(x)[0] ** 2).sum()))(x)
    assert (jnp.abs(slope[0]) > 0).all()
    np.testing.assert_array_equal(slope[1], 0)
    made = jax.jit(through)(x)
    assert float(made[0].std()) > 0
    y, advanced = train_apply(encoder, variables[0], x, (4,), KEY)
    assert y.shape == (2, 4)
    assert advanced == {}


@pytest.mark.parametrize('net', [*ENCODERS, *DECODERS, LOCATELLO_ENCODER], ids=lambda net: type(net).__name__)
def test_a_net_is_in_range_and_the_same_again_from_a_card(net: Any) -> None:
    override.check(net)
    assert override.from_json(override.to_json(net), 'card.json') == net
