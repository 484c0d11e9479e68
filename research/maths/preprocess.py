"""How a raw training batch becomes what a model sees: drawn anew for each batch, inside the compiled epoch.

The NumPy twin for validation and test data, drawn once, is `research.data.source.prepare`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from research.types import Array, Key


def prepare(x: Array, values: str, levels: int, key: Key) -> Array:
    """Raw grey levels `x` in 0 .. levels - 1 (or anything, for 'as_is') as the model's input.

    'scale' and 'dequantise' give reals in [0, 1], 'binarise' and 'threshold' 0.0 or 1.0, 'integer' int32.
    Dequantisation: Uria et al. 2013 (arXiv:1306.0186). Dynamic binarisation: Burda et al. 2016 (arXiv:1509.00519).
    """
    if values == 'scale':
        return x.astype(jnp.float32) / (levels - 1)
    if values == 'binarise':
        return jax.random.bernoulli(key, x.astype(jnp.float32) / (levels - 1), x.shape).astype(jnp.float32)
    if values == 'threshold':
        return (x > (levels - 1) / 2).astype(jnp.float32)
    if values == 'dequantise':
        return (x + jax.random.uniform(key, x.shape)) / levels
    if values == 'integer' or jnp.issubdtype(x.dtype, jnp.signedinteger):
        return x.astype(jnp.int32)
    return x.astype(jnp.float32)
