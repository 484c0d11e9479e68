"""A computation taken operation by operation: which of its values hold a NaN or an infinity, and what each was made from.

The jaxpr is evaluated again with one more output, the largest absolute number of each of its values: NaN where there is a
NaN, infinite where there is an infinity. It is compiled as a whole and keeps no intermediate value. For a step of a small VAE (297
operations) that took 2.7 s of processor time, most of it the compiler's, and 5.2 s operation by operation from Python.
Calls (`jit`, `custom_jvp`, `remat`) are opened; a loop or a branch (`scan`, `while`, `cond`) counts as one operation, and
`turn` looks into it afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun

from research.types import Array

CALLS = {  # primitive: the parameter that holds what it calls, with the same inputs and outputs
    'jit': 'jaxpr',
    'pjit': 'jaxpr',
    'remat2': 'jaxpr',
    'checkpoint': 'jaxpr',
    'closed_call': 'call_jaxpr',
    'core_call': 'call_jaxpr',
    'custom_jvp_call': 'call_jaxpr',
    'custom_vjp_call': 'call_jaxpr',
}

MOVES = {  # what they make is as large as what they take: nothing to measure
    'broadcast_in_dim',
    'concatenate',
    'copy',
    'neg',
    'reshape',
    'squeeze',
    'stop_gradient',
    'transpose',
}


class Operation(NamedTuple):
    """One equation, the calls that it is within (outermost first), and the numbers of the values it takes and makes."""

    equation: JaxprEqn
    within: tuple[JaxprEqn, ...]
    taken: tuple[int, ...]
    made: tuple[int, ...]


class Tape(NamedTuple):
    """All operations in order; `largest[i]` is of value i; `inputs` and `outputs` are values, by number."""

    operations: list[Operation]
    largest: np.ndarray  # [values] float32
    inputs: list[int]
    outputs: list[int]


def opened(found: Any) -> tuple[Any, Sequence[Any]]:
    """A jaxpr and its constants, closed or not (from jax 0.12 on both are one class)."""
    return (found.jaxpr, found.consts) if isinstance(found, ClosedJaxpr) else (found, ())


def record(closed: ClosedJaxpr, arguments: Sequence[Any]) -> Tape:
    """Evaluate a jaxpr and note the largest number of each value."""
    recorder = Recorder()

    def run(arguments: Sequence[Any]) -> Array:
        taken = [recorder.note(a) for a in arguments]
        made = recorder.evaluate(*opened(closed), taken, ())
        recorder.inputs, recorder.outputs = [i for _, i in taken], [i for _, i in made]
        return jnp.stack([jnp.int32(size) for size in recorder.largest if not isinstance(size, tuple)])

    measured = iter(floats(compiled(run)(list(arguments))))
    largest = np.zeros(len(recorder.largest), np.float32)
    for i, size in enumerate(recorder.largest):
        largest[i] = np.max(largest[list(size)]) if isinstance(size, tuple) else next(measured)
    return Tape(recorder.operations, largest, recorder.inputs, recorder.outputs)


def operands(closed: ClosedJaxpr, arguments: Sequence[Any], number: int) -> list[Any]:
    """What operation `number` of the tape takes."""

    def run(arguments: Sequence[Any]) -> list[Any]:
        recorder = Recorder(wanted=number)
        recorder.evaluate(*opened(closed), [recorder.note(a) for a in arguments], ())
        return recorder.found

    return list(compiled(run)(list(arguments)))


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Without optimising machine code on a CPU: what runs once is not worth it (half the time)."""
    quick = {'xla_backend_optimization_level': 0} if jax.default_backend() == 'cpu' else None
    return jax.jit(function, compiler_options=quick)


class Recorder:
    """Evaluates a jaxpr under `jit`. A value is an array and its number."""

    def __init__(self, wanted: int = -1):
        self.wanted, self.found = wanted, []  # type: tuple[int, list[Any]]
        self.operations: list[Operation] = []
        self.largest: list[Any] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []

    def note(self, array: Any, where: Any = None) -> tuple[Any, int]:
        self.largest.append(size(array, where))
        return array, len(self.largest) - 1

    def evaluate(
        self, jaxpr: Jaxpr, constants: Sequence[Any], arguments: list[tuple[Any, int]], within: tuple[JaxprEqn, ...]
    ) -> list[tuple[Any, int]]:
        """What a jaxpr makes of these arguments, with calls opened; every value is noted on the way."""
        values: dict[Any, tuple[Any, int]] = {}

        def read(atom: Any) -> tuple[Any, int]:
            return self.note(atom.val) if isinstance(atom, Literal) else values[atom]

        begun = [*(self.note(c) for c in constants), *arguments]
        values.update(zip((*jaxpr.constvars, *jaxpr.invars), begun, strict=True))
        for equation in jaxpr.eqns:
            taken = [read(atom) for atom in equation.invars]
            name = equation.primitive.name
            if name in CALLS:
                inner = opened(equation.params[CALLS[name]])
                made = self.evaluate(*inner, taken, (*within, equation))
            else:
                made = self.apply(equation, taken, within)
            values.update(zip(equation.outvars, made, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def apply(
        self, equation: JaxprEqn, taken: list[tuple[Any, int]], within: tuple[JaxprEqn, ...]
    ) -> list[tuple[Any, int]]:
        """What one operation makes; it and its results go on the tape."""
        primitive, arrays = equation.primitive, [a for a, _ in taken]
        if primitive.name == 'select_n':
            taken = self.chosen(equation, taken, within)
        if len(self.operations) == self.wanted:
            self.found = arrays
        with equation.ctx.manager:
            answer = primitive.bind(*arrays, **primitive.get_bind_params(equation.params))
        made = [self.note(a) for a in (answer if primitive.multiple_results else [answer])]
        if primitive.name in MOVES:
            self.largest[made[0][1]] = tuple(i for _, i in taken)
        self.operations.append(Operation(equation, within, tuple(i for _, i in taken), tuple(i for _, i in made)))
        return made

    def chosen(
        self, equation: JaxprEqn, taken: list[tuple[Any, int]], within: tuple[JaxprEqn, ...]
    ) -> list[tuple[Any, int]]:
        """The cases of a `where` as far as it takes them: what it passes over is in no way its result."""
        (which, _), *cases = taken
        parts = [taken[0]]
        for i, (case, number) in enumerate(cases):
            parts.append(self.note(case, which == i))
            self.operations.append(Operation(equation, within, (number,), (parts[-1][1],)))
        return parts


def size(array: Any, where: Any = None) -> Any:
    """The largest absolute number, NaN if there is one, as the bits of a float32; with `where`, of those places.

    By their bits, numbers without a sign are in order, NaN after infinity. As floats their maximum is not to be had: in jax
    0.10.2 on a CPU it passes over a NaN among 6400 numbers, and calls the maximum of 6400 NaNs 0.
    """
    if not jnp.issubdtype(jnp.result_type(array), jnp.inexact):
        return np.int32(0)
    sizes = jax.lax.bitcast_convert_type(jnp.abs(array).astype(jnp.float32), jnp.int32) & 0x7FFFFFFF
    sizes = sizes if where is None else jnp.where(where, sizes, 0)
    return jax.lax.reduce(sizes, np.int32(0), jax.lax.max, tuple(range(sizes.ndim)))


def floats(bits: Any) -> np.ndarray:
    """The float32 numbers that have these bits."""
    return np.asarray(bits, np.int32).view(np.float32)


def turn(equation: JaxprEqn, arrays: Sequence[Any], bad: Callable[[Any], Any]) -> tuple[Any, list[Any]] | None:
    """The jaxpr and arguments of the first turn of a loop whose results' sizes are `bad`, or of the branch that was taken.

    `arrays` is what the operation takes. None for an operation that has no inside, or none of whose turns is.
    """
    parameters, name = equation.params, equation.primitive.name
    if name == 'cond':
        return parameters['branches'][int(arrays[0])], list(arrays[1:])
    if name == 'scan':
        body = parameters['jaxpr']
        constants, carry, rows = cut(arrays, *counts(equation))
        order = range(parameters['length'])
        for i in reversed(order) if parameters['reverse'] else order:
            arguments = [*constants, *carry, *(row[i] for row in rows)]
            made = called(body)(*arguments)
            if any(bad(floats(size(m))) for m in made):
                return body, arguments
            carry = made[: len(carry)]
    if name == 'while':
        body, condition = parameters['body_jaxpr'], parameters['cond_jaxpr']
        asked, constants, carry = cut(arrays, parameters['cond_nconsts'], parameters['body_nconsts'])
        while bool(called(condition)(*asked, *carry)[0]):
            made = called(body)(*constants, *carry)
            if any(bad(floats(size(m))) for m in made):
                return body, [*constants, *carry]
            carry = made
    return None


def counts(scan: JaxprEqn) -> tuple[int, int]:
    """How many constants and carried values a scan has; rows have an axis more outside of it. (Its parameters that tell
    are others in jax 0.10 and 0.12.)"""
    body = opened(scan.params['jaxpr'])[0]

    def same(outside: Sequence[Any], inside: Sequence[Any]) -> int:
        return sum(len(o.aval.shape) == len(i.aval.shape) for o, i in zip(outside, inside, strict=True))

    carried = same(scan.outvars, body.outvars)
    return same(scan.invars, body.invars) - carried, carried


def cut(arrays: Sequence[Any], first: int, second: int) -> tuple[list[Any], list[Any], list[Any]]:
    """The first so many, the next so many, and the rest."""
    return list(arrays[:first]), list(arrays[first : first + second]), list(arrays[first + second :])


@functools.cache
def called(closed: ClosedJaxpr) -> Callable[..., list[Any]]:
    """A jaxpr as a compiled function; the cache is for the turns of one loop, which share it."""
    return compiled(jaxpr_as_fun(closed))
