"""What came of a published table: each row's value, its verdict, and the table as text and as a section of RESULTS.md.

A section stands between two HTML comments that name its table; writing it again replaces what is between them and nothing
else in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from research.report.markup import plain, write_atomically
from research.report.papers import Row, Table
from research.report.records import Result
from research.types import BadInput

Verdict = Literal['inside', 'outside', 'unverified', 'not comparable', 'not run']
HEADING = '## Published tables, recomputed'
OUTSIDE, NO_DATA = 1, 4  # exit statuses
COLUMNS = ('row', 'ours', '95 % over seeds', 'seeds', 'published', 'source', 'band', 'verdict')


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One row after it was run, or not.

    values    one for each seed; interval is the 95 % t-interval of their mean, None for a single one
    result    the figure of the first seed: its unit, kind and n hold for all
    cards     the run cards behind the values
    missing   the data were not there
    """

    row: Row
    fast: bool
    values: tuple[float, ...] = ()
    interval: tuple[float, float] | None = None
    why: str = ''
    diverged: bool = False
    missing: bool = False
    result: Result | None = None
    cards: tuple[Mapping[str, Any], ...] = ()

    @property
    def mean(self) -> float | None:
        return sum(self.values) / len(self.values) if self.values else None

    @property
    def verdict(self) -> Verdict:
        if self.row.incomparable:
            return 'not comparable'
        if self.row.tag == 'U':
            return 'unverified'
        if self.diverged:
            return 'outside'
        if self.mean is None or not self.row.judged or self.row.band is None:
            return 'not run'
        low, high = self.row.band
        return 'inside' if low <= self.mean <= high else 'outside'


def status(outcomes: Sequence[Outcome]) -> int:
    """Exit status: OUTSIDE where a judged row left its band, else NO_DATA where one could not be run, else 0."""
    if any(outcome.verdict == 'outside' for outcome in outcomes):
        return OUTSIDE
    return NO_DATA if any(outcome.missing and outcome.row.judged for outcome in outcomes) else 0


def cells(outcome: Outcome) -> tuple[str, ...]:
    """What the columns say of one row."""
    row, mean, interval = outcome.row, outcome.mean, outcome.interval
    spread = '' if row.spread is None else f' +- {row.spread:g}'
    why = row.incomparable or outcome.why
    return (
        row.name,
        '' if mean is None else f'{mean:.4f}',
        f'{interval[0]:.4f} .. {interval[1]:.4f}' if interval else 'deterministic' if row.deterministic else '',
        str(len(outcome.values) or ''),
        '' if row.published is None else f'{row.published:g}{spread}',
        f'[{row.tag}] {row.source}',
        f'{row.band[0]:g} .. {row.band[1]:g}' if row.band else '',
        outcome.verdict + (f': {why}' if why else ''),
    )


def text_table(table: Table, outcomes: Sequence[Outcome]) -> str:
    """Aligned columns, for a terminal."""
    lines = [COLUMNS, *(tuple(plain(cell) for cell in cells(outcome)) for outcome in outcomes)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    rows = ['  '.join(f'{cell:<{width}}' for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return '\n'.join([plain(headline(table)), *rows])


def headline(table: Table) -> str:
    return f'{table.title}. {table.paper}' + (f', arXiv:{table.arxiv}' if table.arxiv else '')


def section(table: Table, outcomes: Sequence[Outcome], command: str, date: str) -> str:
    """The table in Markdown, with what is needed to make it again."""
    lines = [f'### {line_of(headline(table))}', '', f'`{line_of(command)}`, {date}. {origin(outcomes)}']
    lines += [line_of(table.note)] if table.note else []
    lines += ['', '| ' + ' | '.join(COLUMNS) + ' |', '|' + '---|' * len(COLUMNS)]
    lines += ['| ' + ' | '.join(cell_of(cell) for cell in cells(outcome)) + ' |' for outcome in outcomes]
    lines += ['', *(f'- {line_of(said)}' for said in map(protocol, outcomes) if said)]
    return '\n'.join(lines)


def origin(outcomes: Sequence[Outcome]) -> str:
    """Commit, device and versions, as the run folders say."""
    cards = [card for outcome in outcomes for card in outcome.cards]
    commits = dict.fromkeys(str(card.get('commit'))[:12] for card in cards)
    devices = dict.fromkeys(str(card.get('device')) for card in cards)
    versions = dict.fromkeys(', '.join(f'{k} {v}' for k, v in (card.get('versions') or {}).items()) for card in cards)
    if not cards:
        return 'Nothing was trained.'
    return line_of(f'Trained at commit {" and ".join(commits)} on {" and ".join(devices)}; {" and ".join(versions)}.')


def protocol(outcome: Outcome) -> str:
    """How one row's number came to be, in words."""
    row, result = outcome.row, outcome.result
    if not outcome.values or result is None:
        return ''
    settings = ' '.join([row.config, *row.set])
    samples = f', {row.samples} samples' if row.samples else ''
    kind = f'{row.metric}, {result.kind}{samples}, {result.unit}, n = {result.n}'
    band = f' Band: {row.band_from}.' if row.band_from else ''
    sha = {str((card.get('data') or {}).get('sha256'))[:12] for card in outcome.cards}
    return (
        f'{row.name}: {row.protocol.rstrip(".")}. `{settings}`; {kind}; data sha256 {", ".join(sorted(sha))}.{band} '
        f'Cost: {row.cost or "seconds"}.'
    )


def line_of(text: str) -> str:
    """One line that neither ends a comment nor begins one."""
    return ' '.join(plain(text, '\n').replace('<!--', '').replace('-->', '').split())


def cell_of(text: str) -> str:
    return line_of(text).replace('|', '\\|')


def marks(name: str) -> tuple[str, str]:
    """The comments round a section. `name` is the table's, with ' fast' for fast variants."""
    return f'<!-- reproduce {name}: begin; written by scripts.reproduce, which replaces it -->', (
        f'<!-- reproduce {name}: end -->'
    )


def check_marks(text: str, name: str, path: Path) -> None:
    """Raises BadInput where a section's comments do not come once each, in their order."""
    begin, end = marks(name)
    counts = text.count(begin), text.count(end)
    if counts not in ((0, 0), (1, 1)) or (counts == (1, 1) and text.index(end) < text.index(begin)):
        raise BadInput(f'{path}: expected the comments {begin} and {end} once each, in this order, or neither')


def read_text(path: Path) -> str:
    """What a file of results holds, nothing where there is none."""
    try:
        return path.read_bytes().decode() if path.exists() else ''
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f'{path}: cannot be read as text ({error})') from None


def replace_section(path: Path, name: str, content: str) -> None:
    """Write a section into a file of results: in its old place, else after the last one, else under a new heading."""
    text = read_text(path)
    check_marks(text, name, path)
    begin, end = marks(name)
    block = f'{begin}\n{content}\n{end}'
    if begin in text:
        first, last = text.index(begin), text.index(end) + len(end)
        text = text[:first] + block + text[last:]
    elif others := list(re.finditer(r'<!-- reproduce [\w ]+: end -->', text)):
        last = others[-1].end()
        text = f'{text[:last]}\n\n{block}{text[last:]}'
    else:
        text = f'{text.rstrip()}\n\n{HEADING}\n\n{block}\n'.lstrip()
    write_atomically(path, text.encode())
