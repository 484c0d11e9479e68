"""The table of codes on data whose factors are known: how well single latents stand for single factors, one metric a column.

Rows are those of the leaderboard, in its order. More is better in every column; a mean over training seeds has half of its 95 %
interval beside it.
"""

from __future__ import annotations

from research.maths.statistics import t_interval
from research.report import leaderboard
from research.report.leaderboard import Board, Column
from research.report.markup import plain, shorten
from research.report.rows import Row

ABOUT = 'how well single latents stand for single factors (more is better; ± 95 % over training seeds)'


def columns(board: Board) -> list[Column]:
    """The columns of the table; none where no run was measured."""
    rows = board.rows
    found = list(dict.fromkeys(name for row in rows for name in row.figures if leaderboard.of_codes(name)))
    if not found:
        return []
    same = [column for column in leaderboard.columns(board) if column.key in ('model', 'seeds')]
    return same + [_column(name, rows) for name in found]


def text_table(board: Board) -> str:
    """The table for a terminal; '' where there is none."""
    table = columns(board)
    return '\n'.join([f'{plain(board.data)}: {ABOUT}', *leaderboard.aligned(table)]) if table else ''


def _column(name: str, rows: tuple[Row, ...]) -> Column:
    cells = tuple(_cell(row, name) for row in rows)
    values = {i: round(row.figures[name].value, 3) for i, row in enumerate(rows) if name in row.figures}
    best = (
        frozenset(i for i, value in values.items() if value == max(values.values())) if len(values) > 1 else frozenset()
    )
    return Column(key='figure', head=shorten(plain(name), 32), cells=cells, best=best)


def _cell(row: Row, name: str) -> str:
    if name not in row.figures:
        return ''
    result = row.figures[name]
    interval = t_interval([record.results[result.metric, result.split].value for record in row.records])
    width = '' if interval.low is None or interval.high is None else f' ± {(interval.high - interval.low) / 2:.3f}'
    return f'{result.value:.3f}{width}'
