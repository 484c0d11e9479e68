"""Recurrent nets against their equations, step by step."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from scipy.special import expit

from research.nets.recurrent import CELLS, Recurrent

KEY = jax.random.key(0)


cells = pytest.mark.parametrize('cell', CELLS)
FRAMES = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)


def by_hand(cell: str, p: Any, name: str, x: np.ndarray, width: int) -> np.ndarray:
    """Equations 1 to 3 of one layer in float64, [batch, time, width]."""
    w, u, b = (p[f'{part}_{name}'] for part in ('input', 'recurrent', 'bias'))
    h, c, found = np.zeros((len(x), width)), np.zeros((len(x), width)), []
    for t in range(x.shape[1]):
        a, q = np.split(x[:, t] @ w + b, w.shape[1] // width, axis=1), np.split(h @ u, w.shape[1] // width, axis=1)
        if cell == 'tanh':
            h = np.tanh(a[0] + q[0])
        elif cell == 'gru':
            r, z = expit(a[0] + q[0]), expit(a[1] + q[1])
            n = np.tanh(a[2] + r * (q[2] + p[f'reset_bias_{name}']))
            h = (1 - z) * n + z * h
        else:
            i, f, o, g = (left + right for left, right in zip(a, q, strict=True))
            c = expit(f) * c + expit(i) * np.tanh(g)
            h = expit(o) * np.tanh(c)
        found.append(h)
    return np.stack(found, axis=1)


@cells
def test_every_cell_is_its_equation(cell: Any) -> None:
    """Two layers, with weights and biases a random way from where they begin."""
    net, shape = Recurrent(cell=cell, width=4, layers=2), (5, 6)
    variables = jax.jit(lambda x: net.init(KEY, x, shape))(FRAMES)
    keys = iter(jax.random.split(KEY, 20))
    variables = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(next(keys), leaf.shape), variables)
    p: Any = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables['params'])
    h = by_hand(cell, p, '1', by_hand(cell, p, '0', FRAMES, 4), 4)
    y = jax.jit(lambda x: net.apply(variables, x, shape))(FRAMES)
    np.testing.assert_allclose(y, h @ p['Dense_0']['kernel'] + p['Dense_0']['bias'], rtol=1e-4, atol=1e-5)


@cells
def test_a_sequence_may_be_cut_and_gone_on_with(cell: Any) -> None:
    net: Any = Recurrent(cell=cell, width=4, layers=2)
    variables = jax.jit(lambda x: net.init(KEY, x, (5, 6)))(FRAMES)
    first = jax.jit(lambda x: net.apply(variables, x, None, (2, 6), method='go_on'))
    rest = jax.jit(lambda x, left: net.apply(variables, x, left, (3, 6), method='go_on'))
    left, y = first(FRAMES[:, :2])
    parts = np.concatenate([y, rest(FRAMES[:, 2:], left)[1]], axis=1)
    np.testing.assert_allclose(parts, net.apply(variables, FRAMES, (5, 6)), rtol=1e-5, atol=1e-6)


def test_weights_begin_as_the_papers_have_them() -> None:
    """Recurrent kernels orthogonal gate by gate, a forget gate that is open; symbols have a row each, and one for nothing."""
    net, symbols = Recurrent(cell='lstm', width=4), np.array([[-1, 0, 2], [1, 2, 2]])
    p = jax.jit(lambda x: net.init(KEY, x, (3, 3)))(symbols)['params']
    for gate in np.split(np.asarray(p['recurrent_0']), 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(4), atol=1e-5)
    np.testing.assert_array_equal(p['bias_0'], np.repeat([0.0, 1.0, 0.0, 0.0], 4))
    assert p['Embed_0']['embedding'].shape == (4, 4)


def test_symbols_enter_as_rows_of_an_embedding() -> None:
    """-1, where nothing is, has a row of its own, the last."""
    net, x = Recurrent(cell='gru', width=4), np.array([[-1, 0, 2, 1, 2], [1, 1, -1, 0, 2]])
    variables = jax.jit(lambda x: net.init(KEY, x, (5, 3)))(x)
    p: Any = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables['params'])
    rows = p['Embed_0']['embedding'][np.where(x < 0, 3, x)]
    y = jax.jit(lambda x: net.apply(variables, x, (5, 3)))(x)
    expected = by_hand('gru', p, '0', rows, 4) @ p['Dense_0']['kernel'] + p['Dense_0']['bias']
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
