"""One set of parameters with everything that is carried to train it, and the one gradient update of the project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from research.types import MUTABLE, Metrics, Objective, Params


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


def update(
    player: Player,
    objective: Callable[[Params], Objective],
    optimiser: optax.GradientTransformation,
    ema: float | None,
) -> tuple[Player, Metrics]:
    """One gradient step on `objective(variables)`; the moving average is ema * old + (1 - ema) * new."""

    def loss(params: Params) -> tuple[jax.Array, Objective]:
        result = objective(merge(params, player.mutable))
        return result.loss, result

    gradients, result = jax.grad(loss, has_aux=True)(player.params)
    updates, state = optimiser.update(gradients, player.optimiser, player.params)
    params = optax.apply_updates(player.params, updates)
    mutable = merge(player.mutable, result.mutable or {})
    average = None if ema is None else average_with(player.ema, merge(params, mutable), ema)
    return Player(params, mutable, state, average), result.metrics
