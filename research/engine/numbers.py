"""The numbers of a trainer: its float-valued settings, which the compiled program takes as arguments.

So one compilation serves any learning rate, penalty weight or beta: a run with another one finds its program in the cache,
a sweep trains many of them at once, and a run that went wrong goes on with half the rate. And since a single run and a member
of a sweep get their numbers in the same way, they compute the same bits (a constant would be folded into its neighbours).

What is inside a net stays a constant (dropout asks whether its rate is 0), and so do whole numbers: they decide shapes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from research.engine import override

Numbers = dict[str, Any]  # {dotted path: a number, or an array with one for each member}


def numbers(trainer: Any) -> Numbers:
    """{'learning_rate': 0.001, 'model.beta': 1.0, ...}, as float32: every float-valued setting outside of nets."""
    found = {}
    for prefix, node in override.walk(trainer):
        if inside_net(trainer, prefix):
            continue
        declared = override.hints(node)
        for field in override.fields(node):
            value = getattr(node, field.name)
            if override.is_number(value) and float in override.alternatives(declared[field.name]):
                found[f'{prefix}.{field.name}' if prefix else field.name] = np.float32(value)
    return found


def inside_net(root: Any, path: str) -> bool:
    """Whether the dataclass at a dotted path is a net or a part of one (a linen module has a scope)."""
    node, names = root, path.split('.') if path else []
    for name in names:
        node = getattr(node, name)
        if hasattr(node, 'scope'):
            return True
    return False


def insert(node: Any, values: Mapping[str, Any]) -> Any:
    """`node` with each number replaced, by a tracer as well: nothing is checked here."""
    own = {path: value for path, value in values.items() if '.' not in path}
    inner: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        if '.' in path:
            name, _, rest = path.partition('.')
            inner.setdefault(name, {})[rest] = value
    changed = {name: insert(getattr(node, name), rest) for name, rest in inner.items()}
    return dataclasses.replace(node, **own, **changed) if own or changed else node


def stack(each: list[Numbers]) -> Numbers:
    """The numbers of several members, [members] each."""
    return {path: np.array([one[path] for one in each], np.float32) for path in each[0]}


def rates(values: Numbers) -> list[str]:
    """The paths of all learning rates."""
    return [path for path in values if path.rpartition('.')[2].endswith('learning_rate')]


def scale(values: Numbers, factor: float) -> Numbers:
    """Every learning rate times `factor`."""
    return values | {path: values[path] * np.float32(factor) for path in rates(values)}


def shapes(values: Numbers) -> Numbers:
    return jax.tree.map(lambda v: jax.ShapeDtypeStruct(np.shape(v), np.float32), values)
