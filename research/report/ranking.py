"""The cells of a sweep as a table: rank, mean, interval in numbers and as a picture, and how many members it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from research.report import comparison, sections, strips
from research.report.markup import shorten, text
from research.report.strips import Strip
from research.report.study import Study

LABEL = 60  # characters of a cell's name


def table(study: Study) -> str:
    """The cells, best first, with their intervals on one axis; those without a figure at the end."""
    drawn = _strips(study)
    scale, failing = strips.axis(drawn), any(study.failed(number) for number in study.labels)
    plot = f'<th scope="col" class="plotted">{strips.head(scale)}</th>' if scale else ''
    heads = [plot, f'<th scope="col" class="number">{text(study.metric)}<br>{text(study.unit)}</th>']
    heads += ['<th scope="col" class="number">95 % interval</th>', '<th scope="col">kind</th>']
    heads += ['<th scope="col" class="number">seeds</th>', '<th scope="col" class="number">failed</th>' * failing]
    body = [_ranked(study, i, drawn, scale, failing) for i in range(len(drawn))]
    body += [_absent(study, number, 5 if scale else 4) for number in study.labels if number not in study.cells]
    notes = ''.join(
        f'<p class="legend">{text(note[:1].upper() + note[1:])}.</p>' for note in _notes(study, bool(scale))
    )
    return (
        '<div class="scroll"><table class="board"><caption>Cells of the grid, best first</caption><thead><tr>'
        f'<th scope="col" class="number">rank</th><th scope="col" class="lettered">cell</th>{"".join(heads)}</tr></thead>'
        f'<tbody>{"".join(body)}</tbody></table></div>{notes}'
    )


def _strips(study: Study) -> list[Strip]:
    rows = study.table.cells if study.table else []
    figures = [study.cells[number].values for number in study.order]
    return [Strip(row['mean'], row['low'], row['high'], values) for row, values in zip(rows, figures, strict=True)]


def _ranked(study: Study, i: int, drawn: Sequence[Strip], scale: strips.Axis | None, failing: bool) -> str:
    assert study.table is not None
    row, number = study.table.cells[i], study.order[i]
    shared = sum(other['rank'] == row['rank'] for other in study.table.cells) > 1
    rank = '' if row['rank'] is None else f'{row["rank"]}{"=" * shared}'
    first = row['rank'] == 1 and len(study.table.cells) > 1
    mean = ('≤ ' if row['kind'] == 'bound' else '') + comparison.number(row['mean'], study.decimals)
    plot = f'<td class="plotted">{strips.strip(drawn[i], scale, drawn[0].mean)}</td>' if scale else ''
    star = '<span class="tick">' if first else '<span>'
    failed = f'<td class="number">{study.failed(number) or sections.BLANK}</td>' if failing else ''
    return (
        f'<tr><td class="number">{rank}</td><th scope="row" class="lettered"><span class="letter">{row["cell"]}</span>'
        f'{text(shorten(study.labels[number], LABEL))}</th>{plot}<td class="number{" best" * first}">'
        f'{star}{mean}</span></td><td class="number">{study.interval(row) or sections.BLANK}'
        f'</td><td><span class="kind {text(row["kind"])}">{text(row["kind"])}</span></td>'
        f'<td class="number">{row["seeds"]}</td>{failed}</tr>'
    )


def _absent(study: Study, number: int, blanks: int) -> str:
    name = text(shorten(study.labels[number], LABEL))
    empty = f'<td class="number">{sections.BLANK}</td>' * (blanks - 1)
    return (
        f'<tr><td></td><th scope="row" class="lettered">{name}</th>{empty}<td class="number">0</td>'
        f'<td class="number">{study.failed(number)}</td></tr>'
    )


def _notes(study: Study, drawn: bool) -> list[str]:
    if study.table is None:
        return []
    marks = ['★ rank 1: no cell is better beyond chance'] if len(study.table.cells) > 1 else []
    marks += ['equal ranks end in ='] if marks else []
    marks += ['dot: mean; bar: 95 % interval (Student’s t over seeds); faint dots below: seeds'] if drawn else []
    marks += ['line: the best mean; a triangle, or a bar without its cap, goes on beyond the axis'] if drawn else []
    return ['; '.join(marks), *(note.replace('<=', '≤') for note in comparison.notes(study.table))]
