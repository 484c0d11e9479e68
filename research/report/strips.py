"""Small pictures for the rows of a table: a mean, its interval and each seed's own figure, on an axis that all rows share.

A look down the column shows what the numbers beside it say: which intervals are apart, and whether a wide one is many
seeds that differ or two that leave Student's t with one degree of freedom. An axis that held all of such an interval, or
one cell that went astray, would press the others into one line, so what lies beyond the axis is marked as such.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from research.report import curves
from research.report.markup import text

WIDTH, HEIGHT, EDGE = 260, 24, 9
BAR, SEEDS = 8, 18  # pixels from the top at which the interval and the seeds stand
ASTRAY = 10.0  # how many times as wide the worst quarter must make the axis to be left out of it


class Strip(NamedTuple):
    """One row: its mean, the ends of its interval where it has one, and a figure per seed."""

    mean: float
    low: float | None
    high: float | None
    values: Sequence[float]


class Axis(NamedTuple):
    low: float
    high: float

    @property
    def at(self) -> curves.Place:
        """Where a value lies; beyond the ends the place is beyond them too."""
        return lambda value: EDGE + (WIDTH - 2 * EDGE) * (value - self.low) / (self.high - self.low)


def axis(strips: Sequence[Strip]) -> Axis | None:
    """An axis for these rows, the best first; None where nothing is finite."""
    values = [v for strip in _kept(strips) for v in (strip.mean, *strip.values) if math.isfinite(v)]
    if not values:
        return None
    low, high = min(values), max(values)
    room = (high - low) / 2 or abs(low) / 100 or 1.0
    ends = [v for s in _kept(strips) for v in (s.low, s.high) if v is not None and math.isfinite(v)]
    low, high = max(low - room, min([low, *ends])), min(high + room, max([high, *ends]))
    return Axis(low, high) if low < high else Axis(low - room, high + room)


def _kept(strips: Sequence[Strip]) -> Sequence[Strip]:
    """All rows, or the best three quarters where the rest would press them into one line."""
    most = strips[: math.ceil(0.75 * len(strips))]
    every, fewer = ([v for s in some for v in (s.mean, *s.values) if math.isfinite(v)] for some in (strips, most))
    narrow = max(fewer) - min(fewer) if fewer else 0.0
    return most if narrow and max(every) - min(every) > ASTRAY * narrow else strips


def head(scale: Axis) -> str:
    """The axis itself, for the head of the column."""
    marks = curves.axis([scale.low, scale.high], EDGE, WIDTH - EDGE, False)[1]
    kept: list[float] = []
    for mark in marks:
        wide = 3.5 * len(f'{mark:.6g}')
        clear = wide < scale.at(mark) < WIDTH - wide
        if clear and (not kept or scale.at(mark) - scale.at(kept[-1]) > 2 * wide + 8):
            kept.append(mark)
    ticks = ''.join(
        f'<text x="{scale.at(v):.1f}" y="12" text-anchor="middle">{v:.6g}</text>'
        f'<line class="axis" x1="{scale.at(v):.1f}" x2="{scale.at(v):.1f}" y1="17" y2="{HEIGHT}"/>'
        for v in kept
    )
    return _svg(ticks, 'the axis of this column')


def strip(one: Strip, scale: Axis, best: float) -> str:
    """A row: a bar for the interval, a dot for the mean, a faint one below for each seed, and a rule at the `best` mean."""
    start, end = EDGE / 2, WIDTH - EDGE / 2
    parts = [f'<line class="rule" x1="{scale.at(best):.1f}" x2="{scale.at(best):.1f}" y1="-14" y2="{HEIGHT + 14}"/>']
    if one.low is not None and one.high is not None and one.low <= scale.high and one.high >= scale.low:
        ends = [min(end, max(start, scale.at(value))) for value in (one.low, one.high)]
        parts.append(f'<line class="bar" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{BAR}" y2="{BAR}"/>')
        parts += [_cap(x) for x in ends if start < x < end]
    inside = [scale.at(value) for value in one.values if scale.low <= value <= scale.high]
    parts += [f'<circle class="seed" cx="{x:.1f}" cy="{SEEDS}" r="3"/>' for x in inside]
    if scale.low <= one.mean <= scale.high:
        parts.append(f'<circle class="mean" cx="{scale.at(one.mean):.1f}" cy="{BAR}" r="4.5"/>')
    elif math.isfinite(one.mean):
        tip, back = (WIDTH - 1, WIDTH - 9) if one.mean > scale.high else (1, 9)
        parts.append(f'<polygon class="mean" points="{tip},{BAR} {back},{BAR - 5} {back},{BAR + 5}"/>')
    between = '' if one.low is None or one.high is None else f', 95 % interval {one.low:.6g} to {one.high:.6g}'
    seeds = ', '.join(f'{value:.6g}' for value in one.values)
    return _svg(''.join(parts), f'mean {one.mean:.6g}{between}; by seed {seeds}')


def _cap(x: float) -> str:
    return f'<line class="bar" x1="{x:.1f}" x2="{x:.1f}" y1="{BAR - 4}" y2="{BAR + 4}"/>'


def _svg(body: str, label: str) -> str:
    told = text(label)
    return (
        f'<svg class="strips" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{told}"><title>{told}</title>{body}</svg>'
    )
