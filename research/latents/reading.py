"""A decoder that reads: p(x | z) = prod_t p(x_t | x_<t, z), for a VAE over sequences (Bowman et al. 2016, arXiv:1511.06349).

Such a decoder takes (z, x) where others take z. It scores in one pass, and draws step by step. A long text is drawn as it is
scored, window by window: each has a z of its own, and is given the last symbols of the one before.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from research.maths.sequences import Sequence
from research.nets.sequential import Reader
from research.types import Array, BadInput, Key, Params


def seen(decoder: Any, z: Array, x: Array | None) -> Any:
    """What the decoder is given: z, and x too if it reads. Raises BadInput where it reads and there is no x."""
    if not isinstance(decoder, Reader):
        return z
    if x is None:
        raise BadInput(f'{type(decoder).__name__} reads x, which is not known here; expected a decoder of z alone')
    return z, x


def misfit(decoder: Any, likelihood: Any) -> str | None:
    """Why a decoder and a likelihood do not go together: to read is for sequences, and sequences are drawn by reading."""
    name, kind = type(decoder).__name__, type(likelihood).__name__
    if isinstance(decoder, Reader) and not isinstance(likelihood, Sequence):
        return f'decoder={name} reads sequences: set likelihood=Sequence(of=...), not {kind}'
    if isinstance(likelihood, Sequence) and not isinstance(decoder, Reader):
        return f'likelihood=Sequence needs a decoder that reads, RecurrentDecoder or TransformerDecoder, not {name}'
    return None


def sample(model: Any, params: Params, key: Key, n: int, shape: tuple[int, ...]) -> Array:
    """[n, *shape], `shape` = (time, ...), from the beginning on: before it there is nothing."""
    context, window = model.likelihood.context, model.likelihood.window
    kind = jnp.int32 if model.likelihood.symbols else jnp.float32

    def nothing(time: int) -> Array:
        return jnp.full((n, time, *shape[1:]), -1, kind)

    def go_on(last: Array, i: Array) -> tuple[Array, Array]:
        x = one_window(model, params, jnp.concatenate([last, nothing(window)], axis=1), jax.random.fold_in(key, i))
        return x[:, window:], x[:, context:]

    windows = jax.lax.scan(go_on, nothing(context), jnp.arange(-(-shape[0] // window)))[1]
    return windows.swapaxes(0, 1).reshape(n, -1, *shape[1:])[:, : shape[0]]


def one_window(model: Any, params: Params, x: Array, key: Key) -> Array:
    """x [n, context + window, ...] with all behind its context drawn, each position given z and what is before it."""
    key_z, key_x = jax.random.split(key)
    z = model.prior.sample(model, params, key_z, x.shape[0])

    def step(x: Array, i: Array) -> tuple[Array, None]:
        outputs = model.decode(params, z, x.shape[1:], x)
        now = jax.lax.dynamic_index_in_dim(outputs, i, axis=1, keepdims=False)
        drawn = model.likelihood.of.sample(now, jax.random.fold_in(key_x, i)).astype(x.dtype)
        return jax.lax.dynamic_update_index_in_dim(x, drawn, i, axis=1), None

    return jax.lax.scan(step, x, jnp.arange(model.likelihood.context, x.shape[1]))[0]
