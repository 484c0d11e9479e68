"""The causal Transformer: its refusals, its count of parameters, its beginnings, and its attention by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.nets.attention import Block, Transformer
from research.nets.mlp import train_apply
from research.types import BadInput

KEY = jax.random.key(0)


def start(net: Transformer, time: int = 6, values: int = 5) -> Any:
    return jax.jit(lambda x: net.init(KEY, x, (time, values)))(jnp.zeros((2, time), jnp.int32))


def test_a_width_that_its_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(BadInput, match=r'width=10: .* heads=4 needs a multiple'):
        jax.eval_shape(lambda: Transformer(width=10, heads=4).init(KEY, jnp.zeros((2, 6), jnp.int32), (6, 5)))


def test_more_positions_than_the_window_are_refused() -> None:
    with pytest.raises(BadInput, match='window=4: the data bring 6 positions'):
        jax.eval_shape(lambda: Transformer(window=4).init(KEY, jnp.zeros((2, 6), jnp.int32), (6, 5)))


def test_it_has_twelve_squares_of_its_width_a_layer() -> None:
    """3 w^2 + w^2 for attention, 8 w^2 for the mlp and two norms; an embedding with one row for nothing, and positions."""
    width, layers, window, values = 8, 3, 10, 5
    net = Transformer(layers=layers, heads=2, width=width, window=window)
    params = jax.eval_shape(lambda: net.init(KEY, jnp.zeros((2, 6), jnp.int32), (6, values)))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == layers * (12 * width**2 + 2 * width) + (values + 1) * width + window * width + width


def test_it_begins_as_gpt_2() -> None:
    """N(0, 0.02), residual projections smaller by sqrt(2 layers)."""
    block = start(Transformer(layers=2, heads=2, width=64, window=8))['params']['Block_1']
    for name, deviation in (('Dense_0', 0.02), ('Dense_1', 0.01), ('Dense_2', 0.02), ('Dense_3', 0.01)):
        assert float(block[name]['kernel'].std()) == pytest.approx(deviation, rel=0.05), name


def test_attention_is_a_causal_softmax_of_each_head() -> None:
    """One block with its mlp switched off, against loops over heads and positions."""
    batch, time, width, heads = 2, 5, 6, 2
    x = jax.random.normal(KEY, (batch, time, width))
    block = Block(heads=heads, dropout=0.0, residual_scale=1.0)
    params = jax.tree.map(lambda leaf: 20 * leaf if leaf.ndim > 1 else leaf, block.init(KEY, x, False)['params'])
    params['Dense_3']['kernel'] = jnp.zeros((4 * width, width))
    y = np.asarray(block.apply({'params': params}, x, False))
    h = np.asarray(x, np.float64)
    h = (h - h.mean(axis=-1, keepdims=True)) / np.sqrt(h.var(axis=-1, keepdims=True) + 1e-6)
    qkv = (h @ np.asarray(params['Dense_0']['kernel'])).reshape(batch, time, 3, heads, width // heads)
    out = np.zeros((batch, time, heads, width // heads))
    for b in range(batch):
        for head in range(heads):
            q, k, v = (qkv[b, :, part, head] for part in range(3))
            for t in range(time):
                score = np.exp(k[: t + 1] @ q[t] / np.sqrt(width // heads))
                out[b, t, head] = score @ v[: t + 1] / score.sum()
    expected = x + out.reshape(batch, time, width) @ np.asarray(params['Dense_1']['kernel'])
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)


def test_dropout_falls_in_training_only() -> None:
    net: Any = Transformer(layers=1, heads=2, width=8, window=6, dropout=0.5)
    x = jnp.ones((2, 6), jnp.int32)
    params = start(net)
    plain = net.apply(params, x, (6, 5))
    np.testing.assert_array_equal(plain, net.apply(params, x, (6, 5)))
    one, two = (train_apply(net, params, x, (6, 5), jax.random.key(i))[0] for i in range(2))
    assert not np.allclose(one, two)
    assert not np.allclose(one, plain)


def test_nothing_is_a_symbol_of_its_own_and_is_never_predicted() -> None:
    net: Any = Transformer(layers=1, heads=2, width=8, window=6)
    params = start(net)
    logits = [net.apply(params, jnp.full((1, 6), v), (6, 5)) for v in (-1, 0, 4)]
    assert all(logit.shape == (1, 6, 5) for logit in logits)
    assert not np.allclose(logits[0], logits[1])
    assert not np.allclose(logits[0], logits[2])
