"""Floor 6: the members of a sweep, every combination of a grid's values from every seed, and which of them share a program.

What differs in numbers alone (beta, a learning rate, a seed) is one compilation group; whatever decides a shape or a branch
(widths, latent size, epochs, another data set) makes a group of its own.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from research.engine import numbers as settings
from research.engine import override
from research.types import BadInput


class Member(NamedTuple):
    """One run of a sweep: which cell of the grid, the cell's settings, and the whole run with its seed."""

    number: int
    cell: int
    settings: dict[str, Any]
    run: Any  # a research.run.Run

    @property
    def seed(self) -> int:
        return int(self.run.seed)


def axes(assignments: Iterable[str]) -> dict[str, list[str]]:
    """{'a.b': ['1', '2']} of 'a.b=1,2'; values that hold commas themselves (tuples) are separated by semicolons."""
    found: dict[str, list[str]] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition('=')
        path, values = path.strip(), [v.strip() for v in text.split(';' if ';' in text else ',')]
        if not equals or not all(values):
            raise BadInput(f"--grid {assignment}: expected field=value,value, such as 'trainer.model.beta=0.5,1,2'")
        if path in found:
            raise BadInput(f'--grid {path}: given twice; put all its values into one')
        found[path] = values
    return found


def members(run: Any, grid: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> list[Member]:
    """Every cell from every seed, cell by cell. Raises BadInput for a field or value that the config refuses."""
    if not seeds:
        raise BadInput('seeds: none given; expected at least one')
    if len(set(seeds)) < len(seeds):
        raise BadInput(f'seeds={list(seeds)}: one stands twice')
    for path, values in grid.items():
        if path == 'seed':
            raise BadInput('grid: seed is not swept as a field; give seeds')
        if not len(values):
            raise BadInput(f'grid: {path} has no values')
    found: list[Member] = []
    cells = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    for number, cell in enumerate(cells):
        changed = run
        for path, value in cell.items():
            changed = override.put(changed, path, value)
        override.check(changed)
        typed = {path: override.flatten(changed)[path] for path in cell}
        if any(typed == other.settings for other in found):
            raise BadInput(f'grid: {describe(typed)} stands twice')
        for seed in seeds:
            own = dataclasses.replace(changed, seed=seed)
            override.check(own)
            found.append(Member(len(found), number, typed, own))
    return found


def describe(cell: Mapping[str, Any]) -> str:
    """A cell's settings, each by the last name of its path, or the whole of it where two end alike."""
    ends = [path.rpartition('.')[2] for path in cell]
    names = [end if ends.count(end) == 1 else path for end, path in zip(ends, cell, strict=True)]
    return (
        ' '.join(f'{name}={override.text(value)}' for name, value in zip(names, cell.values(), strict=True)) or 'base'
    )


def groups(found: Sequence[Member], traceable: Callable[[Any], Iterable[str]]) -> list[list[Member]]:
    """Members that share a compilation. `traceable` tells, for one run, which numbers its program takes as arguments."""
    alike: dict[str, list[Member]] = {}
    for member in found:
        every = settings.numbers(member.run.trainer)
        alike.setdefault(structure(member.run, every), []).append(member)
    result: dict[str, list[Member]] = {}
    for same in alike.values():
        arguments = list(traceable(same[0].run))
        for member in same:
            result.setdefault(structure(member.run, arguments), []).append(member)
    return list(result.values())


def structure(run: Any, numbers: Iterable[str]) -> str:
    """All of a run but these numbers and its seed, as text."""
    blank = settings.insert(run.trainer, dict.fromkeys(numbers, 0.0))
    return json.dumps(override.to_json(dataclasses.replace(run, trainer=blank, seed=0)), sort_keys=True, default=str)
