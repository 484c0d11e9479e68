"""The GRU against the equations of Cho et al. 2014, step by step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from research.nets.recurrent import GRU

KEY = jax.random.key(0)


def test_it_is_the_recursion_of_the_paper() -> None:
    """r and z are gates, n = tanh(W x + r (U h)), h = (1 - z) n + z h; -1 has a row of the embedding for itself."""
    net, x = GRU(width=4), np.array([[-1, 0, 2, 1, 2], [1, 1, -1, 0, 2]])
    variables = jax.jit(lambda x: net.init(KEY, x, (5, 3)))(jnp.asarray(x))
    p: Any = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables['params'])
    cell, embedding = p['GRUCell_0'], p['Embed_0']['embedding']
    assert embedding.shape == (4, 4)
    part = lambda name, v: v @ cell[name]['kernel'] + cell[name].get('bias', 0)  # noqa: E731
    h, outputs = np.zeros((2, 4)), []
    for t in range(5):
        e = embedding[np.where(x[:, t] < 0, 3, x[:, t])]
        r, z = expit(part('ir', e) + part('hr', h)), expit(part('iz', e) + part('hz', h))
        n = np.tanh(part('in', e) + r * part('hn', h))
        h = (1 - z) * n + z * h
        outputs.append(h @ p['Dense_0']['kernel'] + p['Dense_0']['bias'])
    y = jax.jit(lambda x: net.apply(variables, x, (5, 3)))(jnp.asarray(x))
    np.testing.assert_allclose(y, np.stack(outputs, axis=1), rtol=1e-4, atol=1e-5)


def test_layers_are_stacked() -> None:
    shapes = jax.eval_shape(lambda: GRU(width=4, layers=3).init(KEY, jnp.zeros((2, 5), jnp.int32), (5, 3)))['params']
    assert {name for name in shapes if name.startswith('GRUCell')} == {'GRUCell_0', 'GRUCell_1', 'GRUCell_2'}
