"""A finished sweep as plain data, and what it comes to in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from research.report import comparison, protocol, responses
from research.report.comparison import Cell, Table
from research.report.markup import shorten
from research.report.records import RunRecord

NAMED = 6  # cells that a sentence names


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """A finished sweep as plain data.

    fields   of the grid, as dotted paths
    labels   cell -> its settings in words, in the order of the grid
    cells    cell -> its figures; a cell of which every member failed has none
    table    the comparison of `cells`; None where there are none
    metric   what the figures are, 'test_nll' for example
    rows     of table.csv: member, cell, every field, seed, status, failed_at, and numbers by name
    records  of the members, in the order of `rows`
    seconds  the time it took, 0 where that is not known; so are `compilations` then
    """

    fields: Sequence[str]
    seeds: Sequence[int]
    mode: str
    groups: int
    compilations: int
    seconds: float
    labels: Mapping[int, str]
    cells: Mapping[int, Cell]
    table: Table | None
    metric: str
    rows: Sequence[Mapping[str, Any]]
    records: Sequence[RunRecord]

    @property
    def order(self) -> list[int]:
        """The cells that have figures, best first."""
        numbers = {cell.label: number for number, cell in self.cells.items()}
        return [numbers[row['label']] for row in self.table.cells] if self.table else []

    def failed(self, number: int) -> int:
        return sum(row['cell'] == number and row['status'] == 'failed' for row in self.rows)

    def settings(self, number: int) -> Mapping[str, Any]:
        return next(row for row in self.rows if row['cell'] == number)

    def trained(self, number: int) -> list[RunRecord]:
        """The records of a cell's members that came through."""
        pairs = zip(self.rows, self.records, strict=True)
        return [record for row, record in pairs if row['cell'] == number and row['status'] == 'done']

    @property
    def unit(self) -> str:
        """Of the figures; '' where there is nothing to add to what the metric is called."""
        unit = str(self.table.cells[0]['unit']) if self.table else ''
        return '' if unit == self.metric else unit

    @property
    def decimals(self) -> int:
        """How many the figures are shown with."""
        rows = self.table.cells if self.table else []
        return comparison.places([row['mean'] for row in rows], [row['low'] for row in rows])

    def interval(self, row: Mapping[str, Any]) -> str:
        """The 95 % interval of a row of `table`; '' where it has none."""
        return '' if row['low'] is None else comparison.between(row['low'], row['high'], self.decimals)


def title(study: Study) -> str:
    config = study.records[0].config if study.records else ''
    varied = [responses.short(study.fields)[field] for field in study.fields]
    over = ' and '.join(filter(None, [', '.join(varied[:-1]), *varied[-1:]])) or f'{len(study.seeds)} seeds'
    return shorten(f'{config or "A sweep"}: ablation over {over}', 160)


def lead(study: Study) -> list[str]:
    """Which cell is best, which are tied with it, and what a reader must know before believing either."""
    if study.table is None:
        return ['No member of this sweep came through.']
    best, *others = study.table.cells
    most = 'at most ' if best['kind'] == 'bound' else ''
    interval = f' (95 % interval {span} over {best["seeds"]} seeds)' if (span := study.interval(best)) else ''
    names = {row['cell']: study.labels[number] for row, number in zip(study.table.cells, study.order, strict=True)}
    figure = f'{most}{comparison.number(best["mean"], study.decimals)} {study.unit}'.rstrip() + interval
    sentences = [f'Best of {len(study.labels)}: {names[best["cell"]]}, {study.metric} {figure}.']
    if not others:
        sentences = [f'{names[best["cell"]]}: {study.metric} {figure}.']
    sentences += _against(study, names)
    failed = sum(row['status'] == 'failed' for row in study.rows)
    sentences += [f'{failed} of {len(study.rows)} members failed.'] if failed else []
    return [' '.join(sentences), *_warnings(study)]


def _against(study: Study, names: Mapping[str, str]) -> list[str]:
    """How the other cells stand to the best."""
    assert study.table is not None
    best = study.table.cells[0]['cell']
    found = {pair['second']: pair['verdict'] for pair in study.table.pairs if pair['first'] == best}
    sentences = []
    for verdict, words in (('tie', 'Tied with it'), ('not tested', 'Not tested against it')):
        same = [names[letter] for letter, own in found.items() if own == verdict]
        more = f' and {len(same) - NAMED} more' if len(same) > NAMED else ''
        sentences += [f'{words}: {", ".join(same[:NAMED])}{more}.'] if same else []
    worse = sum(verdict.startswith(f'{best} better') for verdict in found.values())
    if worse:
        rest = 'all other cells' if worse == len(found) else f'{worse} of the other {len(found)} cells'
        doubt = ', as far as bounds can tell' * any(verdict.endswith('?') for verdict in found.values())
        sentences.append(f'Better than {rest} beyond chance{doubt} (Holm p < 0.05).')
    return sentences


def _warnings(study: Study) -> list[str]:
    """Cells whose figures are not one quantity must not be read as a ranking."""
    done = [record for number in study.cells for record in study.trained(number)]
    parts = [protocol.identity(record) | {protocol.MEASURE: protocol.measure(record.card)} for record in done]
    apart = ', '.join(protocol.apart(parts))
    return [f'Careful: cells differ in {apart}, so their figures may not be one quantity.'] if apart else []
