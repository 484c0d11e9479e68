"""Which runs may be compared, in what order, and the table of it.

Two runs share a table only where data, content hash, protocol and unit agree: a likelihood on dynamically binarised
digits and one on thresholded digits are not the same quantity. Blanks sort last and stay blank. The best figure of a
table is the lowest that is *exact* or a *bound*: a bound is on the safe side of the truth (the true figure is no
higher), while an estimate may be lower than the truth by luck, so it is listed in its place but wins nothing.
Runs that differ in their seed alone are one row: means over training seeds, the score with its 95 % t-interval.
"""

from __future__ import annotations

import dataclasses
import json
import math
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from research.report.markup import plain, shorten
from research.report.protocol import CUT, SHA256, UNIT, apart, identities, stable
from research.report.records import Result, RunRecord
from research.report.records import read as read
from research.report.rows import Row, rows_of

BLANK = '-'
NAME_WIDTH = 48
# Sample distances, of which less is better; of any other figure the table takes no side.
DISTANCES = ('mmd', 'frechet', 'wasserstein', 'distance', 'ndb', 'ndb_js')
LOSSES = ('nll', 'bits_per_dim', 'seconds')
# Of codes of data whose factors are known: more is better. They have a table of their own, `research.report.codes`.
CODES = (
    'mig', 'dci_disentanglement', 'dci_completeness', 'dci_informativeness', 'sap', 'modularity', 'beta_vae_score',
    'factor_vae_score',
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Board:
    """One table: the runs of one data set under one protocol, best test score first.

    identity  what its runs share, as `protocol.identities` has it
    apart     fields in which this board differs from others of the same data set: why they are not one table
    """

    data: str
    unit: str
    sha256: str
    modality: str
    identity: Mapping[str, Any]
    rows: tuple[Row, ...]
    apart: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One column: a string per row, '' where there is nothing to say, and the rows whose value is best."""

    key: str
    head: str
    cells: tuple[str, ...]
    numeric: bool = True
    best: frozenset[int] = frozenset()


def boards(records: Sequence[RunRecord]) -> list[Board]:
    """The tables of these runs, in the order in which their data first appear."""
    groups: dict[str, list[tuple[RunRecord, dict[str, Any]]]] = {}
    for record, shared in zip(records, identities(records), strict=True):
        groups.setdefault(stable(shared), []).append((record, shared))
    names = list(dict.fromkeys(record.card['data']['name'] for record in records))
    return [
        _board(group, list(groups.values()))
        for group in sorted(groups.values(), key=lambda group: names.index(group[0][0].card['data']['name']))
    ]


def _board(group: Sequence[tuple[RunRecord, dict[str, Any]]], groups: Sequence[Any]) -> Board:
    """The table of one group, set apart from the others on the same data."""
    members, (first, shared) = [record for record, _ in group], group[0]
    name = first.card['data']['name']
    rows = rows_of(members)
    return Board(
        data=name,
        unit=first.unit,
        sha256=str(first.card['data'].get('sha256') or ''),
        modality=str(first.card['domain'].get('modality') or 'points'),
        identity=shared,
        rows=tuple(sorted(rows, key=lambda row: (row.nll is None, row.nll.value if row.nll else 0.0, row.label))),
        apart=apart([other[0][1] for other in groups if other[0][0].card['data']['name'] == name]),
    )


def columns(board: Board) -> list[Column]:
    """The columns of a table; one that no row fills is left out, but for the score itself."""
    rows = board.rows
    nll, bits = [row.nll for row in rows], [row.bits for row in rows]
    units = sorted({result.unit for result in bits if result and result.unit}) or ['bits per dimension']
    names = tuple(shorten(plain(row.label), NAME_WIDTH) for row in rows)
    table = [
        Column(key='model', head='model', cells=names, numeric=False),
        Column(key='network', head='network', cells=tuple(_yes_no(row.record.network) for row in rows), numeric=False),
        Column(key='nll', head=f'nats per {plain(board.unit)}', cells=_scores(nll), best=_winners(nll, True)),
        Column(key='seeds', head='seeds', cells=_seeds(rows)),
        Column(key='interval', head='95 % over seeds', cells=_intervals(rows)),
        Column(key='error', head='standard error', cells=_numbers([r.error if r else None for r in nll], 3)),
        Column(key='kind', head='kind', cells=tuple(result.kind if result else '' for result in nll), numeric=False),
        Column(key='bits', head=plain(' or '.join(units)), cells=_numbers(_values(bits), 4)),
    ]
    for name in dict.fromkeys(name for row in rows for name in row.figures if not of_codes(name)):
        results = [row.figures.get(name) for row in rows]
        best = _winners(results, False) if name.endswith(DISTANCES) else frozenset()
        table.append(
            Column(
                key='figure',
                head=shorten(plain(name), 32),
                cells=_numbers(_values(results), 4),
                best=best,
            )
        )
    parameters = tuple('' if row.parameters is None else f'{row.parameters:,.0f}' for row in rows)
    spent = [row.seconds for row in rows]
    places = 2 if any(time is not None and time < 1 for time in spent) else 1
    seconds = tuple('' if time is None else f'{time:,.{places}f}' for time in spent)
    table.append(Column(key='parameters', head='parameters', cells=parameters))
    table.append(Column(key='seconds', head='training seconds', cells=seconds))
    return [column for column in table if column.key in ('model', 'nll', 'kind') or any(column.cells)]


def text_table(board: Board) -> str:
    """The table for a terminal: numbers flush right, '-' for blank, '*' behind the best."""
    lines = [f'{plain(board.data)}: test score in nats per {plain(board.unit)} (less is better)']
    told = [f'{plain(field)}: {shorten(plain(value), 60)}' for field, value in facts(board).items()]
    lines += textwrap.wrap('; '.join(told), 140, initial_indent='  ', subsequent_indent='  ')
    lines += aligned(columns(board))
    return '\n'.join(lines + [f'({note})' for note in notes(board)])


def aligned(table: Sequence[Column]) -> list[str]:
    """The lines of a table for a terminal."""
    return ['  '.join(cells).rstrip() for cells in zip(*map(_text_column, table), strict=True)]


def notes(board: Board) -> list[str]:
    """What a reader of this table should not miss."""
    counts = {row.label: row.nll.n for row in board.rows if row.nll and row.nll.n is not None}
    remarks = []
    if len(set(counts.values())) > 1:
        told = ', '.join(f'{plain(label)} {n:,}' for label, n in counts.items())
        remarks.append(f'scored on different numbers of test cases: {told}')
    cuts = {
        row.label: [f'{name} {brief(row.record.protocol[name])}' for name in CUT[1:] if name in row.record.protocol]
        for row in board.rows
    }
    if len({stable(cut) for cut in cuts.values()}) > 1:
        told = '; '.join(f'{plain(label)}: {plain(", ".join(cut))}' for label, cut in cuts.items())
        remarks.append(f'the text was cut differently for each model ({told})')
    if board.apart:
        fields = plain(', '.join(board.apart))
        remarks.append(f'not one table with the other runs on {plain(board.data)}: they differ in {fields}')
    return remarks


def headline(board: Board) -> str:
    """One sentence: the best test score of this table, and whether a network is behind it."""
    best = _best([row.nll for row in board.rows], True)
    if not best:
        return 'No run here has a test score that is exact or a bound.'
    i = min(best)
    row, number = board.rows[i], _scores([row.nll for row in board.rows])[i]
    behind = {True: ', a neural network', False: ', which holds no neural network', None: ''}[row.record.network]
    at_most = 'at most ' if row.nll and row.nll.kind == 'bound' else ''
    return f'Lowest test score: {at_most}{number} nats per {plain(board.unit)}, by {plain(row.label)}{behind}.'


def facts(board: Board) -> dict[str, str]:
    """What every row of a board shares, what sets it apart from other boards of the same data first."""
    told = {name: brief(value) for name, value in board.identity.items() if value is not None}
    shared = {name: value for name, value in told.items() if name not in ('data name', UNIT)}
    shared[SHA256] = board.sha256[:12] or 'not recorded'
    return dict(sorted(shared.items(), key=lambda fact: fact[0] not in board.apart))


def name(board: Board) -> str:
    """The data set, with the three shortest facts that set this board apart: 'digits (binarise dynamic)'."""
    told = [f'{field} {shorten(value, 40)}' for field, value in facts(board).items() if field in board.apart]
    told += [f'per {board.unit}'] if UNIT in board.apart else []
    return f'{board.data} ({", ".join(sorted(told, key=len)[:3])})' if told else board.data


def less_is_better(metric: str) -> bool | None:
    """True or False where it is known, None where not."""
    if metric in CODES:
        return False
    return True if metric.endswith(DISTANCES + LOSSES) else None


def of_codes(figure: str) -> bool:
    """Whether a figure, 'mig' or 'mig (valid)', is one of CODES."""
    return figure.partition(' ')[0] in CODES


def brief(value: object) -> str:
    """A setting as one short string: text as it is, a mapping as its names and values, everything else as JSON."""
    if isinstance(value, Mapping):
        return ', '.join(f'{name} {brief(one)}' for name, one in value.items())
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _seeds(rows: Sequence[Row]) -> tuple[str, ...]:
    """How many, where any row has more than one."""
    several = any(len(row.records) > 1 for row in rows)
    return tuple(str(len(row.records)) if several else '' for row in rows)


def _intervals(rows: Sequence[Row]) -> tuple[str, ...]:
    ends = [end for row in rows for end in row.interval or (None, None)]
    told = _numbers(ends, 5, most=4)
    return tuple(f'{low} to {high}' if low else '' for low, high in zip(told[::2], told[1::2], strict=True))


def _scores(results: Sequence[Result | None]) -> tuple[str, ...]:
    return _numbers(_values(results), 5, most=4)


def _values(results: Sequence[Result | None]) -> list[float | None]:
    return [result.value if result else None for result in results]


def _numbers(values: Sequence[float | None], digits: int, most: int = 6) -> tuple[str, ...]:
    """Values with one number of decimals, `most` at most, so that points align: `digits` significant in the largest."""
    size = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    decimals = min(most, max(0, digits - 1 - (math.floor(math.log10(size)) if size else 0)))
    return tuple('' if value is None else f'{value:,.{decimals}f}' for value in values)


def _best(results: Sequence[Result | None], guaranteed: bool) -> frozenset[int]:
    """The rows with the lowest value, among those no luck can have lowered where `guaranteed`."""
    sound = {i: r for i, r in enumerate(results) if r and math.isfinite(r.value)}
    entered = {i: r.value for i, r in sound.items() if not (guaranteed and r.kind == 'estimate')}
    return frozenset(i for i, value in entered.items() if value == min(entered.values()))


def _winners(results: Sequence[Result | None], guaranteed: bool) -> frozenset[int]:
    """The best rows of a column in which at least two rows compete; a run alone has won nothing."""
    return _best(results, guaranteed) if sum(result is not None for result in results) > 1 else frozenset()


def _yes_no(flag: bool | None) -> str:
    return {True: 'yes', False: 'no', None: ''}[flag]


def _text_column(column: Column) -> list[str]:
    """Head and cells of one column, all of one width."""
    blank = ' ' * bool(column.best)  # where a star stands in some row, the others keep its place free
    cells = [(cell or BLANK) + ('*' if i in column.best else blank) for i, cell in enumerate(column.cells)]
    head = column.head + blank
    width = max(_width(cell) for cell in (head, *cells))
    return [_padded(cell, width, column.numeric) for cell in (head, *cells)]


def _padded(cell: str, width: int, right: bool) -> str:
    space = ' ' * (width - _width(cell))
    return space + cell if right else cell + space


def _width(cell: str) -> int:
    """Columns a terminal gives to a string: two for a wide character, none for a combining one."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in 'WF' else 1 for c in cell)
