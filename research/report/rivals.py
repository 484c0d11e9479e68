"""The question itself, per table: the best network against the best model without one, in a sentence and in one row.

A GAN has no score and takes no part; an estimate wins nothing, so it is nobody's best. The difference is tested as
`scripts.compare` does, over training seeds and test examples; where single nats were not kept, by the standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from research.maths.statistics import LEVEL
from research.report import cells, comparison, leaderboard
from research.report.comparison import Cell
from research.report.leaderboard import Board, Column, Row
from research.report.markup import text


class Rivals(NamedTuple):
    """The two best of a board. `apart`: whether they differ beyond chance, by `reason`."""

    board: Board
    network: Row
    without: Row
    apart: bool
    reason: str

    @property
    def order(self) -> tuple[Row, Row]:
        """The lower score first."""
        first, second = sorted((self.network, self.without), key=score)
        return first, second


def rivals(board: Board) -> Rivals | None:
    """The best of each side; None where one side has no score that is exact or a bound."""
    best: dict[bool, Row] = {}
    for row in sorted((r for r in board.rows if r.nll and r.nll.kind != 'estimate'), key=score):
        if row.record.network is not None:
            best.setdefault(row.record.network, row)
    if len(best) < 2:
        return None
    apart, reason = differ(*sorted(best.values(), key=score))
    return Rivals(board, best[True], best[False], apart, reason)


def verdict(board: Board) -> str:
    """What the numbers of one table say, in one sentence."""
    found, data = rivals(board), leaderboard.name(board)
    if found is None:
        return f'On {data}: {leaderboard.headline(board)}'
    first, second = found.order
    scores = f'{told(first)}, {told(second)} nats per {board.unit}'
    if not found.apart:
        return f'On {data}, it is too close to call: {scores}; {found.reason}.'
    kind = 'a neural network' if first.record.network else 'a model without a network'
    doubt = f', as far as the bound of {second.label} tells' if second.nll and second.nll.kind == 'bound' else ''
    return f'On {data}, {kind} comes first{doubt}: {scores}.'


def score(row: Row) -> float:
    assert row.nll is not None
    return row.nll.value


def told(row: Row) -> str:
    """Label and score, with its interval over seeds where there is one."""
    within = f' ({row.interval[0]:.4g} to {row.interval[1]:.4g})' if row.interval else ''
    most = 'at most ' if row.nll and row.nll.kind == 'bound' else ''
    return f'{row.label} {most}{score(row):.4g}{within}'


def differ(first: Row, second: Row) -> tuple[bool, str]:
    """Whether two rows differ beyond chance, and why one may doubt it."""
    found = comparison.pair(cell(first), cell(second))
    if found.p is not None:
        return found.p < LEVEL, f'p = {found.p:.2g} by the test of {found.test}'
    assert first.nll is not None and second.nll is not None
    noise = math.hypot(first.nll.error or 0.0, second.nll.error or 0.0)
    reason = f'the standard error of their difference over the test data is up to {noise:.2g}'
    return score(second) - score(first) >= 2 * noise, reason


def cell(row: Row) -> Cell:
    """A row as the comparison takes it."""
    results = [record.results['test_nll', 'test'] for record in row.records]
    kept = [cells.nats(record, result) for record, result in zip(row.records, results, strict=True)]
    whole = [one for one in kept if one is not None]
    complete = len(whole) == len(results)
    return Cell(
        label=row.label,
        values=[result.value for result in results],
        nats=np.stack([nats for nats, _ in whole]) if complete else None,
        units=whole[0][1] if complete else None,
        seeds=[int(record.card.get('seed') or 0) for record in row.records],
    )


def columns(boards: Sequence[Board]) -> list[Column]:
    """One row for each table with both sides: the two best, what each scores, its parameters and its training seconds."""
    found = [one for one in map(rivals, boards) if one is not None]
    sides: dict[str, list[Row]] = {
        'network': [one.network for one in found],
        'without one': [one.without for one in found],
    }
    shown = [
        Column(key='model', head='data', cells=tuple(leaderboard.name(one.board) for one in found), numeric=False),
        Column(key='unit', head='nats per', cells=tuple(one.board.unit for one in found), numeric=False),
    ]
    for name, rows in sides.items():
        ahead = {i for i, one in enumerate(found) if one.apart and one.order[0] is rows[i]}
        shown += [
            Column(key='side', head=name, cells=tuple(row.label for row in rows), numeric=False),
            Column(key='nll', head='score', cells=tuple(map(bounded, rows)), best=frozenset(ahead)),
            Column(key='parameters', head='parameters', cells=tuple(f'{row.parameters or 0:,.0f}' for row in rows)),
            Column(key='seconds', head='seconds', cells=tuple(f'{row.seconds or 0:,.1f}' for row in rows)),
        ]
    return shown if found else []


def bounded(row: Row) -> str:
    at_most = '<= ' if row.nll and row.nll.kind == 'bound' else ''
    return f'{at_most}{score(row):,.4f}'


def text_table(boards: Sequence[Board]) -> str:
    """For a terminal; a star marks the side that comes first beyond chance."""
    return '\n'.join(leaderboard.aligned(columns(boards)))


def table(boards: Sequence[Board]) -> str:
    """For a page: HTML, '' where no table has both sides."""
    shown = columns(boards)
    if not shown:
        return ''
    head = ''.join(f'<th scope="col"{" class=number" * one.numeric}>{text(one.head)}</th>' for one in shown)
    body = ''
    for i in range(len(shown[0].cells)):
        cells = ''.join(
            f'<td class="{"number" * one.numeric}{" best" * (i in one.best)}">'
            f'<span{" class=tick" * (i in one.best)}>{text(one.cells[i])}</span></td>'
            for one in shown[1:]
        )
        body += f'<tr><th scope="row">{text(shown[0].cells[i])}</th>{cells}</tr>'
    return (
        '<div class="scroll"><table class="board"><caption>The best network and the best model without one</caption>'
        f'<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div><p class="legend">'
        '<span>★ comes first beyond chance (5 %)</span><span>&lt;= a bound: the true score is no higher</span>'
        '<span>seconds of training, the mean over seeds, on the machine named below</span></p>'
    )
