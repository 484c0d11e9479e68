"""Training curves as one inline SVG: axes, ticks, legend, bands, and the values under the pointer.

Own code rather than a plotting library because a page of curves should weigh kilobytes and open without a network
(plotly inlined is 4.9 MB), and because a report should not wait 1.9 s for an import. The colours are Okabe and Ito's
(Color Universal Design, 2008), which stay apart for colour-blind readers; every second round of eight is dashed too.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from research.report.markup import shorten, text
from research.types import BadInput

COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#B07D00', '#3FA0DC', '#6B5BBF', '#6E6E6E')
Place = Callable[[float], float]  # a value -> its pixel
DASHES = ('none', '7 3', '2 3', '9 3 2 3')
WIDTH, LEFT, RIGHT, PLOT, BOTTOM = 820, 62, 808, 240, 44
POINTS = 300  # per curve at most: more cannot be told apart on 746 pixels, and a long run would swell the page
NUMBER = 46  # pixels that a number below the x axis takes
LOG_FROM = 50.0  # the ratio of largest to smallest value beyond which a linear axis would flatten all but one curve


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """One curve: y over x, and where they are known the lower and upper edge of a band around it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    lower: Sequence[float] | None = None
    upper: Sequence[float] | None = None


def svg(
    series: Sequence[Series],
    *,
    x_label: str = 'epoch',
    y_label: str = 'loss',
    marks: Sequence[float] = (),
    log_x: bool = False,
) -> str:
    """The curves as an SVG element for an HTML page, well-formed XML. Values that are not finite are left out.

    marks   the only places on the x axis where anything was measured: they are its ticks, and each point gets a dot
    """
    lines = [_thinned(one) for one in series]
    values, cut = _scope(lines, whole=bool(marks))
    log = bool(min(values) > 0 and max(values) / min(values) > LOG_FROM)
    legend, top = _legend([one.name for one in lines])
    x_at, x_ticks = axis([*marks, *(v for one in lines for v in one.x)], LEFT + 8, RIGHT - 8, log_x)
    x_ticks = _apart(marks, x_at) if marks else [v for v in x_ticks if v == int(v)] or x_ticks  # no epoch is 2.5
    y_at, y_ticks = axis(values, top + PLOT - 8, top + 6, log)
    frame = (
        f'<svg y="{top}" width="{WIDTH}" height="{PLOT}" viewBox="0 {top} {WIDTH} {PLOT}">'  # cuts off what is above
    )
    plot = ''.join(_curve(i, one, x_at, y_at, bool(marks)) for i, one in enumerate(lines))
    body = [_ticks(x_ticks, y_ticks, x_at, y_at, top), *legend, f'{frame}{plot}</svg>']
    label = text(f'{y_label} against {x_label}: {", ".join(one.name for one in lines)}')
    note = text(y_label + ' (log scale)' * log + ' (start cut off)' * cut)
    across = text(x_label + ' (log scale)' * log_x)
    middle, height = top + PLOT / 2, top + PLOT + BOTTOM
    return (
        f'<svg class="curves" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}" '
        f'data-across="{text(x_label)}">'
        + ''.join(body)
        + f'<line class="rule" x1="0" x2="0" y1="{top}" y2="{top + PLOT}" visibility="hidden"/>'
        + f'<text x="{(LEFT + RIGHT) / 2}" y="{height - 6}" text-anchor="middle">{across}</text>'
        + f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">{note}</text></svg>'
    )


def _scope(lines: Sequence[Series], whole: bool) -> tuple[list[float], bool]:
    """The values the axis must hold: all, unless leaving out the first fiftieth of each curve halves their range."""
    columns = [column or () for one in lines for column in (one.y, one.lower, one.upper)]
    values, settled = ([v for c in columns for v in c[math.ceil(len(c) * part) :]] for part in (0, 0.02))
    if not values:
        raise BadInput('there is nothing to draw: no curve has a finite point')
    cut = bool(not whole and len(settled) > 9 and max(settled) - min(settled) < (max(values) - min(values)) / 2)
    return (settled if cut else values), cut


def _thinned(one: Series) -> Series:
    """The finite points of a curve, in order of x, no more than POINTS of them, the first and the last among them."""
    bands = [band for band in (one.lower, one.upper) if band is not None]
    if any(len(column) != len(one.x) for column in (one.y, *bands)) or len(bands) == 1:
        raise BadInput(f'the curve {one.name!r} has columns of different lengths, or one edge of a band only')
    rows = sorted(row for row in zip(one.x, one.y, *bands, strict=True) if all(map(math.isfinite, row)))
    steps = min(len(rows), POINTS) - 1
    if steps > 0:
        rows = [rows[round(i * (len(rows) - 1) / steps)] for i in range(steps + 1)]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(2 + len(bands))]
    lower, upper = columns[2:] if bands else (None, None)
    return Series(name=one.name, x=columns[0], y=columns[1], lower=lower, upper=upper)


def axis(values: Sequence[float], start: float, end: float, log: bool) -> tuple[Place, list[float]]:
    """Where a value lies between the pixels start and end, and the round values to mark."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low - abs(low) / 10 - 0.5 * (low == 0), high + abs(high) / 10 + 0.5 * (high == 0)
    scale: Place = math.log10 if log else float
    span = scale(high) - scale(low)

    def at(value: float) -> float:
        return start + (end - start) * (scale(max(value, low)) - scale(low)) / span

    if log:
        marks = [m * 10.0**e for e in range(math.floor(scale(low)), math.ceil(scale(high)) + 1) for m in (1, 2, 5)]
        inside = [mark for mark in marks if low <= mark <= high]
        return at, inside if len(inside) <= 8 else [m for m in inside if math.isclose(scale(m), round(scale(m)))]
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    return at, [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _apart(marks: Sequence[float], at: Place) -> list[float]:
    """Those marks whose numbers do not run into each other."""
    kept: list[float] = []
    for mark in sorted(marks):
        if not kept or at(mark) - at(kept[-1]) >= NUMBER:
            kept.append(mark)
    return kept


def _ticks(xs: list[float], ys: list[float], x_at: Place, y_at: Place, top: int) -> str:
    floor = top + PLOT
    down = ''.join(f'<text x="{x_at(v):.1f}" y="{floor + 17}" text-anchor="middle">{v:.6g}</text>' for v in xs)
    across = ''.join(
        f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y_at(v):.1f}" y2="{y_at(v):.1f}"/>'
        f'<text x="{LEFT - 7}" y="{y_at(v) + 4:.1f}" text-anchor="end">{v:.6g}</text>'
        for v in ys
    )
    return f'{across}<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{floor}" y2="{floor}"/>{down}'


def _legend(names: Sequence[str]) -> tuple[list[str], int]:
    """One swatch and name per curve, in as many rows as they need, and the height that took."""
    parts, left, top = [], LEFT, 14
    for i, name in enumerate(names):
        short = shorten(name, 44)
        width = 40 + round(6.8 * len(short))
        if left > LEFT and left + width > RIGHT:
            left, top = LEFT, top + 19
        swatch = f'x1="{left}" x2="{left + 20}" y1="{top - 4}" y2="{top - 4}" stroke-width="2.5"'
        parts.append(
            f'<line style="{_stroke(i)}" {swatch}/><text class="name" x="{left + 26}" y="{top}">{text(short)}</text>'
        )
        left += width
    return parts, top + 14


def _curve(i: int, one: Series, x_at: Place, y_at: Place, dots: bool) -> str:
    if not one.x:
        return ''
    xs, ys = [f'{x_at(v):.1f}' for v in one.x], [f'{y_at(v):.1f}' for v in one.y]
    band = ''
    if one.lower is not None and one.upper is not None:
        edge = [f'{x},{y_at(v):.1f}' for x, v in zip(xs, one.upper, strict=True)]
        back = [f'{x},{y_at(v):.1f}' for x, v in zip(xs, one.lower, strict=True)]
        band = f'<polygon points="{" ".join(edge + back[::-1])}" style="fill:{_colour(i)};fill-opacity:.18"/>'
    name, last = text(one.name), f'{one.y[-1]:.5g}'
    data = f'data-x="{" ".join(f"{v:.6g}" for v in one.x)}" data-y="{" ".join(f"{v:.5g}" for v in one.y)}"'
    points = ' '.join(f'{x},{y}' for x, y in zip(xs, ys, strict=True))
    look = f'fill="none" stroke-width="2" style="{_stroke(i)}"'
    inner = zip(xs[:-1], ys[:-1], strict=True) if dots else ()
    marked = ''.join(f'<circle cx="{x}" cy="{y}" r="3.5" style="fill:{_colour(i)}"/>' for x, y in inner)
    return (
        f'{band}<polyline data-name="{name}" {data} points="{points}" {look}/>{marked}'
        f'<circle cx="{xs[-1]}" cy="{ys[-1]}" r="3.5" style="fill:{_colour(i)}"><title>{name}: {last}</title></circle>'
    )


def _colour(i: int) -> str:
    return f'var(--c{i % len(COLOURS)},{COLOURS[i % len(COLOURS)]})'


def _stroke(i: int) -> str:
    return f'stroke:{_colour(i)};stroke-dasharray:{DASHES[i // len(COLOURS) % len(DASHES)]}'
