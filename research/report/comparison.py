"""Cells side by side: mean and interval over training seeds, ranks with ties, and every pair with its test.

A cell is one configuration, trained from one or several seeds; `research.report.cells` makes cells of run folders, a
sweep has them in memory. The tests are those of `research.maths.statistics`: paired over examples where both cells have
the nats of each example, else a permutation of the seeds. Holm's correction is over all pairs of the table.
"""

from __future__ import annotations

import dataclasses
import itertools
import string
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from research.maths import statistics
from research.maths.statistics import ONE_FIT, Difference
from research.report.markup import plain, shorten

LABEL = 44
PAIRS = 45  # as many pairs are printed as ten cells have
SMALL_P = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One configuration.

    values  [seeds] the figure of each fit
    nats    [seeds, n] what each test example contributed, with values = nats.sum(1) / units.sum(); None where unknown
    units   [n] scored units of each example; None: one each
    kind    'exact', 'bound' or 'estimate'
    seeds   [seeds] which they were, where known
    """

    label: str
    values: Sequence[float]
    nats: np.ndarray | None = None
    units: np.ndarray | None = None
    unit: str = ''
    kind: str = 'exact'
    seeds: Sequence[int] = ()


class Table(NamedTuple):
    """A comparison as tidy rows, which go into a file as they are.

    cells   cell (its letter), rank, label, seeds, mean, low, high, kind, unit; best first
    pairs   first, second (letters), difference, low, high, p, adjusted, verdict, test
    """

    cells: list[dict[str, Any]]
    pairs: list[dict[str, Any]]


def compare(cells: Sequence[Cell], less_is_better: bool | None = True) -> Table:
    """All cells and all pairs of them. Where it is not known which side is better there is an order, and no rank."""
    sign = -1 if less_is_better is False else 1
    ordered = sorted(cells, key=lambda cell: sign * float(np.mean(cell.values)))
    found = {(i, j): pair(ordered[i], ordered[j]) for i, j in itertools.combinations(range(len(ordered)), 2)}
    adjusted = dict(zip(found, statistics.holm([one.p for one in found.values()]), strict=True))
    beaten = {
        (i, j): (i, j) if sign * found[i, j].mean < 0 else (j, i)
        for (i, j), p in adjusted.items()
        if p is not None and p < statistics.LEVEL
    }
    ranks: Sequence[int | None] = [None] * len(ordered)
    if less_is_better is not None:
        ranks = statistics.ranks(len(ordered), beaten.values())
    names = letters(len(ordered))
    pairs = []
    for (i, j), one in found.items():
        kinds = {names[i]: ordered[i].kind, names[j]: ordered[j].kind}
        better, worse = (names[place] for place in beaten[i, j]) if (i, j) in beaten else (None, None)
        test = {ONE_FIT.format(side): ONE_FIT.format(names[k]) for side, k in (('a', i), ('b', j))}.get(
            one.test, one.test
        )
        row = {
            'first': names[i],
            'second': names[j],
            'difference': one.mean,
            'low': one.low,
            'high': one.high,
            'p': one.p,
        }
        row |= {'adjusted': adjusted[i, j], 'verdict': 'tie' if one.p is not None else 'not tested', 'test': test}
        if better and worse:
            doubt = '?' if kinds[worse] == 'bound' else ''  # its true figure may be lower than the bound
            row['verdict'] = f'{better} better{doubt}' if less_is_better is not None else 'they differ'
        pairs.append(row)
    return Table([_row(cell, name, rank) for cell, name, rank in zip(ordered, names, ranks, strict=True)], pairs)


def pair(a: Cell, b: Cell) -> Difference:
    """Mean of a minus mean of b: paired over examples where both scored the same ones, else by permuting seeds."""
    if a.nats is not None and b.nats is not None and a.nats.shape[1] == b.nats.shape[1]:
        ones = np.ones(a.nats.shape[1])
        units, others = (ones if cell.units is None else np.asarray(cell.units) for cell in (a, b))
        if np.array_equal(units, others):
            same = len(a.seeds) == len(a.nats) and list(a.seeds) == list(b.seeds)
            return statistics.difference(a.nats, b.nats, units, same_seeds=same)
    return statistics.permutation(a.values, b.values)


def letters(count: int) -> list[str]:
    """A, B, ... Z, AA, AB, ..."""
    names = (
        ''.join(name) for size in itertools.count(1) for name in itertools.product(string.ascii_uppercase, repeat=size)
    )
    return list(itertools.islice(names, count))


def text(table: Table, most: int | None = PAIRS) -> str:
    """Both tables for a terminal, and what a reader should know of them. At most `most` pairs: those with the best first."""
    shown = table.pairs[:most]
    lines = [*_cells(table), *([''] if shown else []), *_pairs(shown)]
    if len(shown) < len(table.pairs):
        lines.append(f'... and {len(table.pairs) - len(shown)} more pairs')
    return '\n'.join([*lines, *(f'({note})' for note in notes(table))])


def notes(table: Table) -> list[str]:
    """What a reader of these tables should not miss."""
    tests, kinds = {row['test'] for row in table.pairs}, {row['kind'] for row in table.cells}
    told = []
    if any(row['rank'] for row in table.cells) and table.pairs:
        told.append(
            'rank: 1 + how many cells are better beyond chance, Holm p < 0.05; cells that are tied may differ in rank'
        )
    if 'bound' in kinds:
        told.append("<=: a bound; the model's true figure is at least as good")
    if any(row['verdict'].endswith('?') for row in table.pairs):
        told.append('better?: the worse figure is a bound, so its model may be as good in truth')
    if statistics.TWO_FITS in tests:
        told.append('one seed each: these two fits are compared, and not their models; train more seeds')
    if any('one fit' in test for test in tests):
        told.append('one fit: a cell with one seed speaks of that fit alone, unless no seed changes it')
    if any(row['verdict'] == 'not tested' for row in table.pairs):
        told.append('not tested: without the nats of each example it takes two seeds or more on either side')
    if statistics.PERMUTED in tests:
        told.append(
            "permutation of seeds: p is at least 0.1 with 3 and 3 seeds, 0.029 with 4 and 4; its interval is Welch's"
        )
    return told


def _row(cell: Cell, name: str, rank: int | None) -> dict[str, Any]:
    mean, low, high, seeds = statistics.t_interval(cell.values)
    row = {'cell': name, 'rank': rank, 'label': cell.label, 'seeds': seeds, 'mean': mean, 'low': low, 'high': high}
    return row | {'kind': cell.kind, 'unit': cell.unit}


def _cells(table: Table) -> list[str]:
    decimals = places([row['mean'] for row in table.cells], [row['low'] for row in table.cells])
    rows = [
        [
            '' if row['rank'] is None else str(row['rank']),
            row['cell'],
            shorten(plain(row['label']), LABEL),
            str(row['seeds']),
            ('<= ' if row['kind'] == 'bound' else '') + number(row['mean'], decimals),
            between(row['low'], row['high'], decimals),
            row['kind'],
        ]
        for row in table.cells
    ]
    head = ['rank', '', 'cell', 'seeds', 'mean', '95 % interval', 'kind']
    return aligned([head, *rows], right={0, 3, 4, 5})


def _pairs(pairs: Sequence[dict[str, Any]]) -> list[str]:
    if not pairs:
        return []
    decimals = places([row['difference'] for row in pairs], [row['low'] for row in pairs])
    rows = [
        [
            f'{row["first"]} - {row["second"]}',
            number(row['difference'], decimals, '+'),
            between(row['low'], row['high'], decimals, '+'),
            chance(row['p']),
            chance(row['adjusted']),
            row['verdict'],
            row['test'],
        ]
        for row in pairs
    ]
    return aligned(
        [['pair', 'difference', '95 % interval', 'p', 'Holm p', 'verdict', 'test'], *rows], right={1, 2, 3, 4}
    )


def places(values: Sequence[float], lows: Sequence[float | None]) -> int:
    """Decimals that show two digits of the narrowest half-width, 2 to 6; 4 where nothing has an interval."""
    halves = [value - low for value, low in zip(values, lows, strict=True) if low is not None and value > low]
    return min(6, max(2, 1 - int(np.floor(np.log10(min(halves)))))) if halves else 4


def number(value: float | None, decimals: int, sign: str = '-') -> str:
    return '-' if value is None else f'{value:{sign},.{decimals}f}'


def between(low: float | None, high: float | None, decimals: int, sign: str = '-') -> str:
    return '-' if low is None or high is None else f'{number(low, decimals, sign)} to {number(high, decimals, sign)}'


def chance(p: float | None) -> str:
    return '-' if p is None else f'< {SMALL_P:.4f}' if p < SMALL_P else f'{p:.4f}'


def aligned(rows: Sequence[Sequence[str]], right: set[int]) -> list[str]:
    """Rows as lines, columns of one width; those in `right` flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        '  '.join(
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
