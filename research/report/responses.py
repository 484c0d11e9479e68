"""What a sweep's settings do to its figure, and how its cells trained, as plots.

A response plot has the grid's numeric field of most values across, and a curve for each value of a second field; fields
beyond these two make a plot of their own for each combination of their values, or none where there would be too many.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from research.report import curves
from research.report.curves import COLOURS, Series
from research.report.leaderboard import brief
from research.report.records import RunRecord

FACETS = 4  # plots at most
CURVES = 16  # in one plot: two rounds of colours, the second dashed
EVEN = 0.5  # steps are told to be even as ratios where their spread is so much less than that of the differences


class Point(NamedTuple):
    """A cell: its settings, its mean and its interval."""

    settings: Mapping[str, Any]
    mean: float
    low: float | None
    high: float | None


class Plot(NamedTuple):
    """An SVG and what it is of, beyond its axes: '' or 'latent=2'."""

    told: str
    svg: str


def values(settings: Sequence[Mapping[str, Any]], field: str) -> list[Any]:
    """The different values of a field: numbers by size, others as they come."""
    found: list[Any] = []
    for one in settings:
        if one[field] not in found:
            found.append(one[field])
    return sorted(found) if all(map(is_number, found)) else found


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def short(fields: Sequence[str]) -> dict[str, str]:
    """Each field by the last name of its path, or by all of it where two would read the same."""
    last = [field.rpartition('.')[2] for field in fields]
    return {field: name if last.count(name) == 1 else field for field, name in zip(fields, last, strict=True)}


def by_ratio(numbers: Sequence[float]) -> bool:
    """Whether these values, in order, are more evenly spaced as ratios (1, 2, 4) than as differences (1, 2, 3)."""
    if len(numbers) < 3 or min(numbers) <= 0:
        return False
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    ratios = [math.log(b / a) for a, b in itertools.pairwise(numbers)]
    return _spread(ratios) < EVEN * _spread(steps)


def _spread(steps: Sequence[float]) -> float:
    mean = sum(steps) / len(steps)
    return math.sqrt(sum((step - mean) ** 2 for step in steps) / len(steps)) / mean


def responses(points: Sequence[Point], fields: Sequence[str], y_label: str) -> list[Plot]:
    """The figure over the grid; none where no field that varies is a number, or where there would be too many plots."""
    axes = {f: found for f in fields if len(found := values([p.settings for p in points], f)) > 1}
    numeric = [field for field in axes if all(map(is_number, axes[field]))]
    if not numeric or not any(math.isfinite(point.mean) for point in points):
        return []
    across = max(numeric, key=lambda field: len(axes[field]))
    others = sorted((f for f in axes if f != across and len(axes[f]) <= CURVES), key=lambda f: f not in numeric)
    along = others[0] if others else None
    rest = [field for field in axes if field not in (across, along)]
    if math.prod(len(axes[field]) for field in rest) > FACETS:
        return []
    names, plots = short(fields), []
    for combination in itertools.product(*(axes[field] for field in rest)):
        fixed = dict(zip(rest, combination, strict=True))
        own = [p for p in points if all(p.settings[field] == value for field, value in fixed.items())]
        series = _series(own, across, along, axes, names)
        if series:
            told = ', '.join(f'{names[field]}={brief(value)}' for field, value in fixed.items())
            marks, ratio = axes[across], by_ratio(axes[across])
            plots.append(
                Plot(told, curves.svg(series, x_label=names[across], y_label=y_label, marks=marks, log_x=ratio))
            )
    return plots


def _series(
    points: Sequence[Point], across: str, along: str | None, axes: Mapping[str, Sequence[Any]], names: Mapping[str, str]
) -> list[Series]:
    """A curve per value of `along`; where a cell has no interval its band is nothing but its mean."""
    curves_ = []
    for value in axes[along] if along else [None]:
        own = [p for p in points if (along is None or p.settings[along] == value) and math.isfinite(p.mean)]
        own.sort(key=lambda point: point.settings[across])
        if own:
            curves_.append(
                Series(
                    name='mean' if along is None else f'{names[along]}={brief(value)}',
                    x=[point.settings[across] for point in own],
                    y=[point.mean for point in own],
                    lower=[point.mean if point.low is None else point.low for point in own],
                    upper=[point.mean if point.high is None else point.high for point in own],
                )
            )
    return curves_


def training(cells: Sequence[tuple[str, Sequence[RunRecord]]]) -> list[Plot]:
    """Curves of each logged loss, one per cell: (label, its members), the mean over them and from the least to the most."""
    shown = cells[: len(COLOURS)]
    logged = dict.fromkeys(name for _, own in shown for record in own for epoch in record.epochs for name in epoch)
    losses = [name for name in logged if name == 'loss' or name.endswith('_loss')]
    plots = []
    for name in losses:
        series = [one for label, own in shown if (one := _curve(label, own, name)).x]
        if series:
            plots.append(Plot(name, curves.svg(series, y_label=f'training {name.replace("_", " ")}')))
    return plots


def _curve(label: str, members: Sequence[RunRecord], name: str) -> Series:
    """Over the epochs that all members have."""
    logs = [{e['epoch']: float(e[name]) for e in m.epochs if isinstance(e.get(name), int | float)} for m in members]
    epochs = sorted(set.intersection(*map(set, logs))) if logs else []
    rows = [[log[epoch] for log in logs] for epoch in epochs]
    finite = [(epoch, row) for epoch, row in zip(epochs, rows, strict=True) if all(map(math.isfinite, row))]
    return Series(
        name=label,
        x=[epoch for epoch, _ in finite],
        y=[sum(row) / len(row) for _, row in finite],
        lower=[min(row) for _, row in finite],
        upper=[max(row) for _, row in finite],
    )
