"""The parts of a page's section on one data set: settings, table, samples, curves, and where the numbers came from.

Every function returns HTML; every string from a run folder passes through `markup.text` on its way.
"""

from __future__ import annotations

import base64
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from research.report import codes, curves, leaderboard, pictures
from research.report.leaderboard import Board, Column, Row
from research.report.markup import plain, shorten, text
from research.report.records import RunRecord
from research.types import BadInput, Kind

CHARACTERS = 1500  # of a text sample on the page; the rest stays in the run folder
SETTINGS, SETTING = 400, 300  # how many configuration values a run may list, and how long each may be
HEAD = ('metric', 'value', 'unit', 'kind', 'n', 'split', 'settings')
SHOWN = {'image': 64, 'music': 160, 'points': 4000}  # samples drawn from samples.npz where a run has no picture of them
BLANK = '<span class="blank" title="not available">–</span>'
MEANING: dict[Kind, str] = {
    'exact': 'the model’s own likelihood',
    'bound': 'the true score is no higher',
    'estimate': 'may err either way, so it wins nothing',
}


def chips(board: Board) -> str:
    """What was measured, on what: the facts that every row of this table shares."""
    facts = leaderboard.facts(board) | {'modality': board.modality}
    items = (
        f'<li{" class=apart" * (name in board.apart)}>{text(shorten(name, 60))} <b>{text(shorten(value, 60))}</b></li>'
        for name, value in facts.items()
    )
    return f'<ul class="chips">{"".join(items)}</ul>'


def table(board: Board) -> str:
    """The leaderboard, its legend and its notes."""
    columns = [column for column in leaderboard.columns(board) if column.key not in ('error', 'interval')]
    head = ''.join(
        f'<th scope="col"{" class=number" * column.numeric}>{breakable(column.head)}</th>' for column in columns
    )
    rows = [''.join(_cell(column, i, row, board) for column in columns) for i, row in enumerate(board.rows)]
    body = ''.join(f'<tr>{row}</tr>' for row in rows)
    kinds = [kind for kind in MEANING if any(row.nll and row.nll.kind == kind for row in board.rows)]
    legend = [f'<span><span class="kind {kind}">{kind}</span> {MEANING[kind]}</span>' for kind in kinds]
    legend += ['<span>★ best of its column: the lowest</span>'] if any(column.best for column in columns) else []
    legend += ['<span>dot: from the lowest score, left, to the highest</span>'] if _spread(board) else []
    errors = any(row.nll and row.nll.error is not None and not row.interval for row in board.rows)
    legend += ['<span>± standard error over the test cases</span>'] if errors else []
    several = any(row.interval for row in board.rows)
    legend += ['<span>.. 95 % interval of the mean over training seeds</span>'] if several else []
    blank = any(not cell for column in columns for cell in column.cells)
    legend += [f'<span>{BLANK} this run has no such figure</span>'] if blank else []
    notes = ''.join(f'<p class="legend">{text(note[:1].upper() + note[1:])}.</p>' for note in leaderboard.notes(board))
    about = f'<caption>Runs on {text(board.data)}, lowest test score first</caption>'
    return (
        f'<div class="scroll"><table class="board">{about}'
        f'<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="legend">{"".join(legend)}</p>{notes}'
    )


def of_codes(board: Board) -> str:
    """How well codes stand for the factors behind the data, in the order of the leaderboard; nothing where nobody was measured."""
    columns = codes.columns(board)
    if not columns:
        return ''
    head = ''.join(
        f'<th scope="col"{" class=number" * column.numeric}>{breakable(column.head)}</th>' for column in columns
    )
    rows = [''.join(_cell(column, i, row, board) for column in columns) for i, row in enumerate(board.rows)]
    body = ''.join(f'<tr>{row}</tr>' for row in rows)
    return (
        f'<h3>Codes and factors</h3><div class="scroll"><table class="board"><caption>{text(board.data)}: {codes.ABOUT}</caption>'
        f'<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def breakable(name: str) -> str:
    """An identifier, escaped, that may break across lines after its underscores."""
    return text(name).replace('_', '_<wbr>')


def _cell(column: Column, i: int, row: Row, board: Board) -> str:
    value = text(column.cells[i]) or BLANK
    if column.key == 'model':
        overrides = ', '.join(leaderboard.brief(one) for one in row.record.card.get('overrides') or [])
        changed = f'<small>{text(shorten(overrides, 120))}</small>' if overrides else ''
        return f'<th scope="row">{breakable(column.cells[i])}{changed}</th>'
    if column.key == 'network' and column.cells[i]:
        return f'<td><span class="net {column.cells[i]}">{value}</span></td>'
    if column.key == 'kind' and column.cells[i]:
        return f'<td><span class="kind {value}">{value}</span></td>'
    if not column.numeric:
        return f'<td>{value}</td>'
    spread, strip, error = _spread(board), '', ''
    if column.key == 'nll' and row.interval:
        low, high = (f'{end:,.{len(column.cells[i].partition(".")[2])}f}' for end in row.interval)
        error = f'<small title="95 % interval of the mean over seeds">{low} .. {high}</small>'
    elif column.key == 'nll' and row.nll and row.nll.error is not None:
        error = f'<small title="standard error over the test cases">± {row.nll.error:.2g}</small>'
    if column.key == 'nll' and spread and row.nll and math.isfinite(row.nll.value):
        share = (row.nll.value - spread[0]) / (spread[1] - spread[0])
        strip = f'<span class="strip" aria-hidden="true"><i style="left:{100 * share:.1f}%"></i></span>'
    best = i in column.best
    return f'<td class="number{" best" * best}"><span{" class=tick" * best}>{value}</span>{error}{strip}</td>'


def _spread(board: Board) -> tuple[float, float] | None:
    """Lowest and highest finite score, where they differ."""
    values = [row.nll.value for row in board.rows if row.nll and math.isfinite(row.nll.value)]
    return (min(values), max(values)) if values and min(values) < max(values) else None


def gallery(board: Board, budget: int) -> str:
    """Real data, then what each run made, in the order of the table. Pictures take at most `budget` bytes each."""
    real = dict.fromkeys(part for row in board.rows for part in shown(row.record, 'data', budget))
    made = [(row.label, part) for row in board.rows for part in shown(row.record, 'samples', budget)]
    if not made:
        return ''
    figures = [figure('real data', part, board.data, True) for part in real]
    figures += [figure(label, part, board.data, False) for label, part in made]
    wide = ' wide' if board.modality in ('text', 'music') else ''
    return f'<h3>Samples beside real data</h3><div class="gallery{wide}">{"".join(figures)}</div>'


def shown(record: RunRecord, name: str, budget: int) -> list[bytes | str]:
    """The picture (bytes) and the text (str) of this name in a run folder; failing both, its array, drawn."""
    picture, words, array = (record.folder / f'{name}.{ending}' for ending in ('png', 'txt', 'npz'))
    try:
        parts: list[bytes | str] = []
        if picture.is_file():
            parts.append(pictures.fit(picture.read_bytes(), budget, str(picture)))
        if words.is_file():
            with words.open(encoding='utf-8', errors='replace') as lines:
                parts.append(shorten(lines.read(CHARACTERS + 1).strip('\n'), CHARACTERS))
        if not parts and array.is_file():
            parts.append(pictures.fit(_drawn(array, record.card['domain']), budget, str(array)))
        return parts
    except OSError as error:
        raise BadInput(f'{name} of {plain(record.folder)} cannot be read: {plain(error)}') from error


def _drawn(path: Path, domain: Mapping[str, Any]) -> bytes:
    try:
        with path.open('rb') as file:  # opened here, since np.load leaves a file open that it cannot read
            samples = np.load(file, allow_pickle=False)[path.stem]
    except (ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(f'{plain(path)} holds no readable array {path.stem!r}: {plain(error)}') from error
    try:
        return pictures.draw(samples[: SHOWN.get(str(domain.get('modality')), 64)], domain)
    except BadInput as error:
        raise BadInput(f'{plain(path)}: {error}') from error


def figure(label: str, part: bytes | str, data: str, real: bool) -> str:
    """A picture (bytes of a PNG) or a text, with its caption."""
    caption = text(label)
    if isinstance(part, str):
        body = f'<pre tabindex="0">{text(part, keep=chr(10) + chr(9))}</pre>'
    else:
        about = f'Real examples of {text(data)}' if real else f'Samples of {caption}'
        body = f'<img alt="{about}" src="data:image/png;base64,{base64.b64encode(part).decode("ascii")}">'
    return f'<figure{" class=real" if real else ""}><figcaption>{caption}</figcaption>{body}</figure>'


def training(board: Board) -> str:
    """Curves of the loss. Runs that log the same losses share a plot; an adversarial loss never meets a likelihood."""
    plots: dict[tuple[str, ...], list[curves.Series]] = {}
    for row in board.rows:
        logged = {name for epoch in row.record.epochs for name in epoch}
        names = tuple(sorted(name for name in logged if name == 'loss' or name.endswith('_loss')))
        for name in names:
            label = row.label if len(names) == 1 else f'{row.label} {name}'
            curve = _curve(row.record, name, label)
            if any(map(math.isfinite, curve.y)):
                plots.setdefault(names, []).append(curve)
    images = [curves.svg(series, y_label='training loss') for series in plots.values()]
    drawn = ''.join(f'<div class="scroll plot">{image}</div>' for image in images)
    return f'<h3>Training</h3>{drawn}' if drawn else ''


def _curve(record: RunRecord, name: str, label: str) -> curves.Series:
    epochs = [epoch for epoch in record.epochs if isinstance(epoch.get(name), int | float)]
    return curves.Series(name=label, x=[epoch['epoch'] for epoch in epochs], y=[epoch[name] for epoch in epochs])


def provenance(board: Board) -> str:
    """For each run, folded: everything that is needed to make its numbers again."""
    folded = ''.join(_details(row, record) for row in board.rows for record in row.records)
    return f'<h3>How these numbers came to be</h3>{folded}'


def _details(row: Row, record: RunRecord) -> str:
    card = record.card
    named = ('config', 'model', 'trainer', 'overrides', 'seed', 'commit', 'device', 'parameters')
    facts = {name: card.get(name) for name in named}
    facts |= {f'data {name}': value for name, value in card['data'].items()}
    facts |= {f'domain {name}': value for name, value in card['domain'].items()}
    facts |= {f'version of {name}': value for name, value in (card.get('versions') or {}).items()}
    facts['run folder'] = record.folder.name
    results = record.results.values()
    numbers = [[r.metric, f'{r.value:.8g}', r.unit, r.kind, r.n, r.split, r.settings or ''] for r in results]
    summary, seed = card.get('summary'), f', seed {text(card.get("seed"))}' if len(row.records) > 1 else ''
    about = f' <small>{text(shorten(summary, 200))}</small>' if summary else ''
    return (
        f'<details><summary>{text(row.label)}{seed}{about}</summary><div class="inside">{pairs(facts.items())}'
        + (f'<h4>Results</h4>{rows(HEAD, numbers)}' if numbers else '')
        + (f'<h4>Configuration</h4>{pairs(list(card["values"].items())[:SETTINGS])}' if card.get('values') else '')
        + '</div></details>'
    )


def pairs(facts: Iterable[tuple[str, Any]]) -> str:
    """Names and values as a table of two columns."""
    names = ((text(shorten(name, SETTING)), _setting(value)) for name, value in facts)
    body = ''.join(f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in names)
    return f'<table>{body}</table>'


def rows(head: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """A table with a head."""
    top = ''.join(f'<th scope="col">{name}</th>' for name in head)
    body = ''.join(f'<tr>{"".join(f"<td>{_setting(value)}</td>" for value in line)}</tr>' for line in lines)
    return f'<table class="rows"><thead><tr>{top}</tr></thead>{body}</table>'


def _setting(value: object) -> str:
    empty = value is None or value == '' or value == [] or value == {}
    return BLANK if empty else text(shorten(leaderboard.brief(value), SETTING))
