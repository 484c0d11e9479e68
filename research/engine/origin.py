"""Where a NaN or an infinity began: the first operation of a step whose result is not finite although what it takes is.

Not every such operation is to blame. A mask of -inf is meant, and what `where` passes over does no harm. So the search goes
backwards from what came out bad (the metrics and the state after the step), and follows only what is bad:

1. From a NaN that came out, over operations that took a NaN, to those that took none and made one: these are candidates,
   and the earliest is where the NaN began.
2. If that one took an infinity (inf - inf, 0 * inf), the infinity is followed in the same way. Where an operation made
   it of finite numbers (an overflow, log 0, division by 0), that operation is the origin. Where it is a constant of the
   program, such as a mask, the one that made the NaN is.
3. Where no NaN came out, the infinities that came out are followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn

from research.engine import epoch as epochs
from research.engine import mesh as meshes
from research.engine import numbers as settings
from research.engine import tape, wording
from research.engine.numbers import Numbers
from research.engine.plan import Plan
from research.engine.tape import Tape
from research.types import Batch, Key

Chain = tuple[JaxprEqn, ...]  # the calls, loops and branches around an operation, outermost first, and the operation


class Origin(NamedTuple):
    """The operation that made `what` of `taken`, and the one that made a NaN of its infinity."""

    chain: Chain
    what: str
    taken: list[np.ndarray]
    then: Chain = ()


def of_step(plan: Plan, numbers: Numbers, state: Any, raw: Callable[[], Batch], epoch: int, step: int) -> str:
    """A sentence on where the step went wrong that takes `state` and the batch that `raw` gives. Never raises."""

    def origin_of(numbers: Numbers, state: Any, raw: Batch, key_data: Key, key_step: Key) -> Any:
        trainer = settings.insert(wording.named(plan.trainer), numbers)
        return trainer.step(state, plan.transform(raw, key_data), key_step)

    def given() -> dict[str, Any]:
        return {'setting': numbers, 'state': state, 'data': raw()}

    keys = [jax.random.fold_in(epochs.stream(plan.seed, name, epoch), step) for name in ('data', 'step')]
    return tell(origin_of, given, *keys)


def of_end(plan: Plan, numbers: Numbers, state: Any) -> str:
    """A sentence on where the end of an epoch went wrong. Never raises."""

    def origin_of(numbers: Numbers, state: Any) -> Any:
        return settings.insert(wording.named(plan.trainer), numbers).end_epoch(state)

    return tell(origin_of, lambda: {'setting': numbers, 'state': state})


def tell(function: Callable[..., Any], given: Callable[[], dict[str, Any]], *keys: Key) -> str:
    """Where `function` of what is given, and of keys, makes a number that is not finite."""
    try:
        device = jax.local_devices()[0]
        here = {part: jax.device_put(jax.tree.map(meshes.local, tree), device) for part, tree in given().items()}
        closed = jax.make_jaxpr(function)(*here.values(), *keys)
        names = [name for part, tree in here.items() for name in paths(part, tree)]
        found = find(closed, jax.tree.leaves((*here.values(), *keys)), names)
    except Exception as error:  # whatever happens here, what has to be told is that training diverged
        return f'where it began could not be found ({type(error).__name__})'
    if found is None:
        return 'where it began is not known: taken operation by operation it did not come again'
    if isinstance(found, str):
        return found
    return wording.sentence(found.chain, found.what, found.taken, found.then)


def paths(part: str, tree: Any) -> list[str]:
    """'state/params/w' for each leaf."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [f'{part}/{jax.tree_util.keystr(path, simple=True, separator="/")}'.rstrip('/') for path, _ in leaves]


def find(closed: ClosedJaxpr, arguments: Sequence[Any], names: Sequence[str] = ()) -> Origin | str | None:
    """The origin of what comes out bad; a sentence where it came in bad; None where nothing does."""
    taped = tape.record(closed, arguments)
    what = 'NaN' if np.isnan(taped.largest[taped.outputs]).any() else 'infinity'
    test: Callable[[Any], Any] = np.isnan if what == 'NaN' else np.isinf
    makers, takers, sources = followed(taped, taped.outputs, test(taped.largest))
    for name, value in zip(names, taped.inputs, strict=False):
        if value in sources:
            return f'{name} held {"a NaN" if what == "NaN" else "an infinity"} before the step'
    if not makers and not takers:
        return None
    first, then = min(makers or takers), None  # without a maker it is a constant that came out
    infinities, _, _ = followed(taped, taped.operations[first].taken, np.isinf(taped.largest))
    if what == 'NaN' and infinities:
        first, then, what, test = min(infinities), first, 'infinity', np.isinf
    return within(closed, arguments, taped, Origin(chain(taped, first), what, [], chain(taped, then)), first, test)


def followed(taped: Tape, values: Iterable[int], bad: np.ndarray) -> tuple[set[int], set[int], set[int]]:
    """From the bad ones of `values` backwards: the operations that made bad of good, those that took a bad value that
    nobody made, and these values."""
    makers, takers, sources, seen, left = set(), set(), set(), set(), list(values)
    maker_of = {value: i for i, operation in enumerate(taped.operations) for value in operation.made}
    while left:
        value = left.pop()
        if value in seen or not bad[value]:
            continue
        seen.add(value)
        if value not in maker_of:
            sources.add(value)
            continue
        taken = [i for i in taped.operations[maker_of[value]].taken if bad[i]]
        left.extend(taken)
        if not taken:
            makers.add(maker_of[value])
        elif any(i not in maker_of for i in taken):
            takers.add(maker_of[value])
    return makers, takers, sources


def chain(taped: Tape, number: int | None) -> Chain:
    if number is None:
        return ()
    operation = taped.operations[number]
    return (*operation.within, operation.equation)


def within(
    closed: ClosedJaxpr, arguments: Sequence[Any], taped: Tape, origin: Origin, number: int, test: Callable[[Any], Any]
) -> Origin:
    """The origin with what its operation took; where that is a loop or a branch, the operation in there."""
    taken = tape.operands(closed, arguments, number)
    inside = tape.turn(origin.chain[-1], taken, test)
    found = find(*inside) if inside else None
    if isinstance(found, Origin):
        then = origin.then or (found.then and (*origin.chain, *found.then))
        return found._replace(chain=(*origin.chain, *found.chain), then=then)
    return origin._replace(taken=[np.asarray(a, np.float64) for a in taken if jnp.issubdtype(a.dtype, jnp.floating)])
