"""The compiled unit: some steps of an epoch in one loop, on the device, with nothing going back to the host.

A step's batch and noise are functions of (seed, epoch, step) alone, by `fold_in`, so an epoch may be cut anywhere and
continued exactly. The loop's bounds are arguments of the compiled program, so one compilation serves an epoch in one piece
or in many: a short epoch runs whole, a long one in pieces of about a second, between which the bar moves and Ctrl-C is heard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from research.engine import mesh as meshes
from research.types import Array, Batch, Key, Metrics, Trainer

Transform = Callable[[Batch, Key], Batch]
STREAMS = {'init': 0, 'order': 1, 'data': 2, 'step': 3, 'sample': 4}  # one key each, folded from the seed


class Progress(NamedTuple):
    """What an epoch has come to: the trainer's state, sums of its metrics, and the first step whose metrics were not finite."""

    state: Any
    totals: Metrics
    bad_step: Array  # int32, -1 while all is well


def stream(seed: int | Array, name: str, epoch: int | Array = 0) -> Key:
    """The key of one use of randomness in one epoch."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), STREAMS[name]), epoch)


def order(key: Key, examples: int, batch_size: int) -> Array:
    """A permutation cut into [steps, batch_size]; what does not fill a batch waits for another epoch's order."""
    steps = examples // batch_size
    return jax.random.permutation(key, examples)[: steps * batch_size].reshape(steps, batch_size)


class Course(NamedTuple):
    """What decides an epoch, step by step. Made once per epoch: within the loop, folding keys takes 5 % of a small step."""

    rows: Array | None  # [steps, batch_size] of the data; None: in the data's own order
    data: Key  # [steps] keys of the transformation
    step: Key  # [steps] keys of the trainer


def course(trainer: Trainer, seed: int | Array, epoch: int | Array, examples: int, batch_size: int) -> Course:
    """The course of one epoch, a function of (seed, epoch) alone."""
    rows = None if trainer.whole_epochs else order(stream(seed, 'order', epoch), examples, batch_size)
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    steps = jnp.arange(examples // batch_size)
    return Course(rows, fold(stream(seed, 'data', epoch), steps), fold(stream(seed, 'step', epoch), steps))


def take(x: Batch, rows: Array | None, batch_size: int, i: Array) -> Batch:
    """Batch `i`: the rows that `rows[i]` names, or the next `batch_size` rows where the order does not matter."""
    if rows is None:
        return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, i * batch_size, batch_size), x)
    return jax.tree.map(lambda a: a[rows[i]], x)


def advance(
    trainer: Trainer,
    transform: Transform,
    mesh: jax.sharding.Mesh,
    progress: Progress,
    x: Batch,
    batch_size: int,
    course: Course,
    first: int | Array,
    last: int | Array,
) -> Progress:
    """Steps `first` .. `last` - 1 of an epoch."""

    def step(i: Array, carry: Progress) -> Progress:
        raw = take(x, course.rows, batch_size, i)
        batch = meshes.split_batch(transform(raw, course.data[i]), mesh)
        state, metrics = trainer.step(carry.state, batch, course.step[i])
        state = meshes.split_state(state, mesh)
        totals = jax.tree.map(jnp.add, carry.totals, metrics)
        finite = jnp.all(jnp.array([jnp.isfinite(m).all() for m in jax.tree.leaves(metrics)] or [True]))
        return Progress(state, totals, jnp.where((carry.bad_step < 0) & ~finite, i, carry.bad_step))

    return jax.lax.fori_loop(first, last, step, progress)


def start(trainer: Trainer, transform: Transform, state: Any, x: Batch, batch_size: int) -> Progress:
    """The progress of an epoch that has not begun: all sums zero."""

    def metrics(state: Any, x: Batch, key: Key) -> Metrics:
        return trainer.step(state, transform(jax.tree.map(lambda a: a[:batch_size], x), key), key)[1]

    shapes = jax.eval_shape(metrics, state, x, jax.random.key(0))
    return Progress(state, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes), jnp.int32(-1))
