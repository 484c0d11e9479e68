"""Dots and paths in a plane, as SVG: where codes lie, and how a bound divides into rate and distortion.

Rate and distortion are both nats and minus their sum is the bound, so that it is the same all along a falling diagonal; which point
of it a model takes is what beta decides (Alemi et al. 2018, arXiv:1711.00464). A run is a path over its epochs, a sweep has a dot
for each member. Colours are those of the curves; a second round of eight is told by its shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from research.report import curves
from research.report.curves import COLOURS
from research.report.leaderboard import Board
from research.report.markup import shorten, text
from research.report.records import RunRecord

SIDE, LEFT, TOP, BOTTOM = 340, 48, 6, 40  # pixels of the plane of codes, and of what is around a plane
WIDE, TALL = 740, 270  # of that of rates and distortions
LAYERS = 4  # each class of dots is drawn in so many turns, so that the last one does not cover the others
TICKED = 60  # epochs up to which each has a dot
SETTLED = 0.1  # the part of a path that may be cut off at its start
CELLS = 2 * len(COLOURS)  # of a sweep, at most
CSS = """
.plane { display: block; width: 100%; height: auto }
.plot .plane { min-width: 600px }
.plane text { font: 11.5px system-ui, 'Liberation Sans', sans-serif; fill: var(--soft); font-variant-numeric: tabular-nums }
.plane .class { font-size: 13px; font-weight: 700; fill: var(--ink); paint-order: stroke; stroke: var(--card); stroke-width: 3px }
.plane .grid { stroke: var(--line) }
.plane .same { stroke: var(--soft); stroke-dasharray: 2 4 }
.plane .dots { fill: none; stroke-width: 4.5; stroke-opacity: .62 }
.key { display: inline-block }
.swatch { display: inline-block; width: .75em; height: .75em; margin-right: .4em; border-radius: 50% }
.swatch.square { border-radius: 0 }
"""


class Path(NamedTuple):
    """Rates and distortions in nats: of the epochs in order, or of members of a sweep, which no line joins; and of the test split."""

    name: str
    rates: Sequence[float]
    distortions: Sequence[float]
    joined: bool = True
    tested: tuple[float, float] | None = None


def scatter(
    points: NDArray[np.float64],
    members: Sequence[NDArray[np.intp]],
    names: Sequence[int],
    axes: tuple[str, str],
    label: str,
) -> str:
    """Points [n, 2] on one scale for both axes; `members` are the rows of each class, its name is written above its middle."""
    low, high = points.min(axis=0), points.max(axis=0)
    half, middle = max(float((high - low).max()) / 2, 1e-6) * 1.04, (low + high) / 2
    x_at, x_ticks = curves.axis([middle[0] - half, middle[0] + half], LEFT, LEFT + SIDE, False)
    y_at, y_ticks = curves.axis([middle[1] - half, middle[1] + half], TOP + SIDE, TOP, False)
    paths = []
    for layer in range(LAYERS):
        for i, own in enumerate(members):
            spots = ''.join(f'M{x_at(x):.1f} {y_at(y):.1f}h0' for x, y in points[own[layer::LAYERS]])
            cap = 'square' if i >= len(COLOURS) else 'round'
            paths.append(f'<path class="dots" style="stroke:{_colour(i)};stroke-linecap:{cap}" d="{spots}"/>')
    centres = [np.median(points[own], axis=0) for own in members]
    words = ''.join(
        f'<text class="class" x="{x_at(x):.1f}" y="{y_at(y) - 7:.1f}" text-anchor="middle">{name}</text>'
        for name, (x, y) in zip(names, centres, strict=False)
    )
    frame = _frame(x_ticks, y_ticks, x_at, y_at, SIDE, SIDE, axes)
    return _svg(SIDE, SIDE, label, f'{frame}{"".join(paths)}{words}')


def runs(board: Board) -> str:
    """The runs of a board that log both terms, as one plot; nothing where none does."""
    paths = [path for row in board.rows if (path := of_run(row.label, row.record)) is not None]
    told = 'A path goes through the epochs of training, to the ring at the last one. '
    told += 'Diamond: the test split. ' * any(path.tested for path in paths)
    return section(paths, told) if paths else ''


def of_run(label: str, record: RunRecord) -> Path | None:
    """One run's path; None where it does not log both terms."""
    both = [(e.get('rate'), e.get('distortion')) for e in record.epochs]
    logged = [(float(r), float(d)) for r, d in both if _finite(r) and _finite(d)]
    if not logged:
        return None
    found = [record.results.get((name, 'test')) for name in ('rate', 'distortion')]
    tested = (found[0].value, found[1].value) if found[0] and found[1] else None
    rates, distortions = zip(*logged, strict=True)
    return Path(label, rates, distortions, True, tested)


def cells(labelled: Sequence[tuple[str, Sequence[RunRecord]]]) -> str:
    """The cells of a sweep, best first, each with its members' last epochs; nothing where they do not log both terms."""
    paths = []
    for label, members in labelled[:CELLS]:
        ends = [path for record in members if (path := of_run(label, record)) is not None]
        if ends:
            paths.append(Path(label, [p.rates[-1] for p in ends], [p.distortions[-1] for p in ends], False))
    few = f'The best {CELLS} of {len(labelled)} cells. ' if len(labelled) > CELLS else ''
    return section(paths, f'{few}A dot is the last epoch of a member. ') if paths else ''


def section(paths: Sequence[Path], told: str) -> str:
    """The plot with its legend."""
    names = ''.join(swatch(i, path.name) for i, path in enumerate(paths))
    told += 'Dotted: the same sum, so the same bound.'
    legend = f'<p class="legend">{names}</p><p class="legend">{text(told)}</p>'
    return f'<h3>Rate and distortion</h3><div class="scroll plot">{plot(paths)}</div>{legend}'


def plot(paths: Sequence[Path]) -> str:
    """Distortion against rate."""
    pairs = [list(zip(path.rates, path.distortions, strict=True)) for path in paths]
    kept = [own[int(SETTLED * len(own)) :] if path.joined else own for path, own in zip(paths, pairs, strict=True)]
    tested = [path.tested for path in paths if path.tested]
    every, settled = ([*(pair for own in some for pair in own), *tested] for some in (pairs, kept))
    (x_low, x_high, x_cut), (y_low, y_high, y_cut) = (
        _scope([pair[i] for pair in every], [pair[i] for pair in settled]) for i in range(2)
    )
    x_at, x_ticks = _axis(x_low, x_high, LEFT + 10, LEFT + WIDE - 10)
    y_at, y_ticks = _axis(y_low, y_high, TOP + TALL - 10, TOP + 10)
    drawn = ''.join(_path(i, one, own, x_at, y_at) for i, (one, own) in enumerate(zip(paths, pairs, strict=True)))
    least = min(rate + distortion for own in pairs for rate, distortion in own[-1:])
    same = ' '.join(f'{x_at(x):.1f},{y_at(least - x):.1f}' for x in (2 * x_low - x_high, 2 * x_high - x_low))
    inner = f'<polyline class="same" fill="none" points="{same}"/>{drawn}'
    clip = f'x="{LEFT}" y="{TOP}" width="{WIDE}" height="{TALL}" viewBox="{LEFT} {TOP} {WIDE} {TALL}"'
    cut = ' (start cut off)' * (x_cut or y_cut)
    axes = (f'rate, nats per example{cut}', 'distortion, nats per example')
    label = f'Distortion against rate: {", ".join(path.name for path in paths)}'
    frame = _frame(x_ticks, y_ticks, x_at, y_at, WIDE, TALL, axes)
    return _svg(WIDE, TALL, label, f'{frame}<svg {clip}>{inner}</svg>')


def _path(i: int, one: Path, pairs: Sequence[tuple[float, float]], x_at: curves.Place, y_at: curves.Place) -> str:
    """A line with a dot for each epoch and a ring at the last; or nothing but dots."""
    spots = [(f'{x_at(rate):.1f}', f'{y_at(distortion):.1f}') for rate, distortion in pairs]
    fill, stroke = f'style="fill:{_colour(i)}"', f'stroke:{_colour(i)}'
    if not one.joined:
        mark = 'rect' if i >= len(COLOURS) else 'circle'
        return ''.join(_mark(mark, x, y, fill, _told(one.name, *p)) for (x, y), p in zip(spots, pairs, strict=True))
    line = ' '.join(f'{x},{y}' for x, y in spots)
    dash = curves.DASHES[i // len(COLOURS) % len(curves.DASHES)]
    parts = [f'<polyline fill="none" stroke-width="1.5" style="{stroke};stroke-dasharray:{dash}" points="{line}"/>']
    if len(spots) <= TICKED:
        parts += [f'<circle cx="{x}" cy="{y}" r="2.2" {fill}/>' for x, y in spots[:-1]]
    ring, told = f'style="{stroke};fill:var(--card)" stroke-width="2"', f'{one.name}: epoch {len(pairs)}, '
    parts.append(_mark('circle', *spots[-1], ring, told + _told('', *pairs[-1])))
    if one.tested:
        x, y = x_at(one.tested[0]), y_at(one.tested[1])
        told = f'<title>{text(_told(f"{one.name}, test split", *one.tested))}</title>'
        parts.append(
            f'<path d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z" style="fill:{_colour(i)};stroke:var(--card)">{told}</path>'
        )
    return ''.join(parts)


def _mark(shape: str, x: str, y: str, look: str, told: str) -> str:
    title = f'<title>{text(told)}</title>'
    if shape == 'rect':
        return f'<rect x="{float(x) - 4:.1f}" y="{float(y) - 4:.1f}" width="8" height="8" {look}>{title}</rect>'
    return f'<circle cx="{x}" cy="{y}" r="4.5" {look}>{title}</circle>'


def _told(name: str, rate: float, distortion: float) -> str:
    return f'{name}{": " * bool(name)}rate {rate:.5g}, distortion {distortion:.5g}'


def _scope(every: Sequence[float], settled: Sequence[float]) -> tuple[float, float, bool]:
    """Ends of an axis, and whether the start is cut off: where that halves the range."""
    cut = max(settled) - min(settled) < (max(every) - min(every)) / 2
    values = settled if cut else every
    return min(values), max(values), cut


def _axis(low: float, high: float, start: float, end: float) -> tuple[curves.Place, list[float]]:
    """As that of the curves, but going on beyond its ends."""
    if low == high:
        low, high = low - (abs(low) / 10 or 1), high + (abs(high) / 10 or 1)
    ticks = curves.axis([low, high], start, end, False)[1]
    return lambda value: start + (end - start) * (value - low) / (high - low), ticks


def _finite(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _frame(
    xs: Sequence[float],
    ys: Sequence[float],
    x_at: curves.Place,
    y_at: curves.Place,
    wide: int,
    tall: int,
    axes: tuple[str, str],
) -> str:
    """Grid, numbers and names of the axes."""
    floor, right, middle = TOP + tall, LEFT + wide, TOP + tall / 2
    down = ''.join(
        f'<line class="grid" x1="{x_at(v):.1f}" x2="{x_at(v):.1f}" y1="{TOP}" y2="{floor}"/>'
        f'<text x="{x_at(v):.1f}" y="{floor + 15}" text-anchor="middle">{v:.6g}</text>'
        for v in xs
    )
    across = ''.join(
        f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y_at(v):.1f}" y2="{y_at(v):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y_at(v) + 4:.1f}" text-anchor="end">{v:.6g}</text>'
        for v in ys
    )
    return (
        f'{down}{across}<text x="{LEFT + wide / 2}" y="{floor + 34}" text-anchor="middle">{text(axes[0])}</text>'
        f'<text x="11" y="{middle}" text-anchor="middle" transform="rotate(-90 11 {middle})">{text(axes[1])}</text>'
    )


def _svg(wide: int, tall: int, label: str, body: str) -> str:
    size = f'0 0 {LEFT + wide + 12} {TOP + tall + BOTTOM}'
    return f'<svg class="plane" viewBox="{size}" role="img" aria-label="{text(label)}">{body}</svg>'


def _colour(i: int) -> str:
    return f'var(--c{i % len(COLOURS)},{COLOURS[i % len(COLOURS)]})'


def swatch(i: int, name: str) -> str:
    """An entry of a legend."""
    square = ' square' if i // len(COLOURS) % 2 else ''
    return f'<span class="key"><i class="swatch{square}" style="background:{_colour(i)}"></i>{text(shorten(name, 60))}</span>'
