"""One set of parameters with everything that is carried to train it, and the one gradient update of the project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from research.types import MUTABLE, Batch, Key, Metrics, Objective, Params


class Player(NamedTuple):
    """`params` are trained; `mutable` (batch statistics, spectral vectors, constants) are carried; `ema` may be None.

    `ema` averages both: averaged weights need the statistics that belong to them.
    """

    params: Params
    mutable: Params
    optimiser: Any
    ema: Params

    def variables(self, averaged: bool = False) -> Params:
        """The tree that nets and models take; with `averaged`, its moving average where one is kept."""
        return self.ema if averaged and self.ema is not None else merge(self.params, self.mutable)


def split(variables: Params) -> tuple[Params, Params]:
    """A tree of dicts as (what is trained, the collections named in MUTABLE)."""
    params, mutable = {}, {}
    for name, value in variables.items():
        if name in MUTABLE:
            mutable[name] = value
        elif isinstance(value, dict):
            params[name], inner = split(value)
            mutable |= {name: inner} if inner else {}
        else:
            params[name] = value
    return params, mutable


def merge(params: Params, mutable: Params) -> Params:
    """Two trees of dicts as one; where both hold a leaf, `mutable` wins."""
    merged = dict(params)
    for name, value in mutable.items():
        if not isinstance(value, dict):
            merged[name] = value
        elif value:  # a net without mutable collections brings none
            merged[name] = merge(params.get(name, {}), value)
    return merged


def start(variables: Params, optimiser: optax.GradientTransformation, ema: float | None) -> Player:
    params, mutable = split(variables)
    # a copy, not the same arrays: a donated state must not hold one buffer twice
    return Player(params, mutable, optimiser.init(params), None if ema is None else jax.tree.map(jnp.copy, variables))


def average_with(average: Params, now: Params, decay: float) -> Params:
    """decay * average + (1 - decay) * now, leaf by leaf; constants are as they are now."""
    averaged = {}
    for name, old in average.items():
        if name == 'constants':
            averaged[name] = now[name]
        elif isinstance(old, dict):
            averaged[name] = average_with(old, now[name], decay)
        else:
            averaged[name] = optax.incremental_update(now[name], old, 1 - decay)
    return averaged


Loss = Callable[[Params, Batch, Key], Objective]


def update(
    player: Player,
    objective: Loss,
    x: Batch,
    key: Key,
    optimiser: optax.GradientTransformation,
    ema: float | None,
    accumulate: int = 1,
) -> tuple[Player, Metrics]:
    """One gradient step on `objective(variables, x, key)`; the moving average is ema * old + (1 - ema) * new.

    With `accumulate`, the batch goes through in so many parts, one after the other, and their gradients are averaged: the
    memory of a part, the gradient of the whole.
    """

    def loss(params: Params, x: Batch, key: Key) -> tuple[jax.Array, Objective]:
        result = objective(merge(params, player.mutable), x, key)
        return result.loss, result

    if accumulate == 1:
        gradients, result = jax.grad(loss, has_aux=True)(player.params, x, key)
    else:
        gradients, result = in_parts(jax.grad(loss, has_aux=True), accumulate)(player.params, x, key)
    updates, state = optimiser.update(gradients, player.optimiser, player.params)
    params = optax.apply_updates(player.params, updates)
    mutable = merge(player.mutable, result.mutable or {})
    average = None if ema is None else average_with(player.ema, merge(params, mutable), ema)
    return Player(params, mutable, state, average), result.metrics


def in_parts(gradient: Callable[..., Any], parts: int) -> Callable[..., Any]:
    """`gradient(params, x, key)` as the mean over `parts` of the batch, each with a key of its own."""

    def whole(params: Params, x: Batch, key: Key) -> Any:
        batch = jax.tree.leaves(x)[0].shape[0]
        size = batch // parts

        def part(params: Params, x: Batch, rows: jax.Array) -> Any:
            return gradient(params, x, jax.random.fold_in(key, rows[0]))  # a part's first row names it

        mean = optax.microbatching.AccumulationType.MEAN
        return optax.microbatch(part, argnums=(1, 2), microbatch_size=size, accumulator=mean)(
            params, x, jnp.arange(batch)
        )

    return whole
