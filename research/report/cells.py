"""From run folders to cells that may stand in one table: runs that differ in their seed alone are one cell.

What is compared must be one quantity, measured in one way; `research.report.protocol` says what that is made of. Bounds
and exact values share a table, for both are at least the true figure; two bounds only with the same number of samples.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from research.report import leaderboard, protocol
from research.report.comparison import Cell
from research.report.markup import plain, shorten
from research.report.records import Result, RunRecord
from research.types import BadInput

# Parts that say most where two protocols differ in many, and how many are named.
FIRST = ('data name', 'unit', 'split', 'values', 'estimator', 'samples', 'measure')
NAMED = 3


class Found(NamedTuple):
    """A figure of one run, and all that makes it what it is."""

    record: RunRecord
    result: Result
    parts: Mapping[str, Any]


class Group(NamedTuple):
    """Cells of one protocol. `parts` are what they share; `remarks` what a reader should not miss."""

    parts: Mapping[str, Any]
    cells: list[Cell]
    remarks: list[str]


def find(record: RunRecord, metric: str) -> Found:
    """The last such number of a run, on the test split where there is one. BadInput where the run has none."""
    lines = [result for result in record.lines if result.metric == metric]
    if not lines:
        others = ', '.join(dict.fromkeys(plain(result.metric) for result in record.lines)) or 'no results at all'
        hint = f'python -m scripts.evaluate {plain(record.folder)} adds what its model can give'
        raise BadInput(f'{plain(record.folder)} has no {plain(metric)}, but {others}; {hint}')
    result = next((line for line in reversed(lines) if line.split == 'test'), lines[-1])
    then, now = result.origin.get('values') or {}, record.card.get('values') or {}
    for name in sorted(then.keys() & now.keys() - set(protocol.FREE)):
        if then[name] != now[name]:
            raise BadInput(
                f'{plain(record.folder)}: its {metric} was scored when {name} was {plain(then[name])}, and now it is '
                f'{plain(now[name])}; score it again with python -m scripts.evaluate {plain(record.folder)}'
            )
    return Found(record, result, protocol.of(record, result))


def groups(found: Sequence[Found]) -> list[Group]:
    """The figures by protocol, in order. Exact values, which draw no samples, go with the first bounds."""
    kinds: dict[str, list[Found]] = {}
    for one in found:
        kinds.setdefault(protocol.stable({**one.parts, protocol.DRAWN: None}), []).append(one)
    apart: list[list[Found]] = []
    for members in kinds.values():
        drawn = list(
            dict.fromkeys(one.parts[protocol.DRAWN] for one in members if one.parts[protocol.DRAWN] is not None)
        )
        for i, count in enumerate(drawn or [None]):
            apart.append(
                [o for o in members if o.parts[protocol.DRAWN] == count or (i == 0 and o.parts[protocol.DRAWN] is None)]
            )
    return [_group(members) for members in apart]


def refuse_mixture(found: Sequence[Found]) -> None:
    """BadInput naming the parts in which the protocols of these figures differ, and two runs that do."""
    names = sorted(protocol.apart([one.parts for one in found], protocol.DRAWN), key=_order)
    if not names:
        return
    told = []
    for name in names[:NAMED]:
        values: dict[str, Found] = {}
        for one in found:
            values.setdefault(protocol.stable(one.parts.get(name)), one)
        if name == protocol.DRAWN:
            values.pop('null', None)
        first, other = list(values.values())[:2]
        shown = (f'{_brief(one.parts.get(name))} in {plain(one.record.folder)}' for one in (first, other))
        told.append(f'{name} ({", ".join(shown)})')
    more = f' and {len(names) - NAMED} more' if len(names) > NAMED else ''
    raise BadInput(
        f'no one table can hold these runs, for they differ in {"; ".join(told)}{more}; --force shows them apart'
    )


def _order(name: str) -> int:
    return FIRST.index(name) if name in FIRST else len(FIRST)


def _brief(value: object) -> str:
    return 'none' if value is None else shorten(plain(leaderboard.brief(value)), 40)


def _group(found: Sequence[Found]) -> Group:
    by_config: dict[str, list[Found]] = {}
    for one in found:
        by_config.setdefault(protocol.configuration(one.record), []).append(one)
    members = list(by_config.values())
    labels = _labels([own[0] for own in members])
    remarks: list[str] = []
    cells = [_cell(label, own, remarks) for label, own in zip(labels, members, strict=True)]
    drawn = next((one for one in found if one.parts[protocol.DRAWN] is not None), found[0])
    return Group(drawn.parts, cells, remarks)


def _labels(firsts: Sequence[Found]) -> list[str]:
    """A cell's config, and in what it differs from the other cells of that config: 'vae_digits beta=4'."""
    labels = []
    for one in firsts:
        alike = [protocol.settings(other.record) for other in firsts if other.record.config == one.record.config]
        paths = list(dict.fromkeys(path for values in alike for path in values))
        varied = [path for path in paths if len({protocol.stable(values.get(path)) for values in alike}) > 1]
        ends = [path.rpartition('.')[2] for path in varied]
        own = protocol.settings(one.record)
        names = [end if ends.count(end) == 1 else path for path, end in zip(varied, ends, strict=True)]
        told = [f'{name}={leaderboard.brief(own.get(path))}' for name, path in zip(names, varied, strict=True)]
        labels.append(' '.join([one.record.config or str(one.record.card.get('model', 'run')), *told]))
    return labels


def _cell(label: str, found: Sequence[Found], remarks: list[str]) -> Cell:
    seeds = [one.record.card.get('seed') for one in found]
    for seed in seeds:
        if seeds.count(seed) > 1:
            same = [plain(one.record.folder) for one in found if one.record.card.get('seed') == seed]
            raise BadInput(
                f'{same[0]} and {same[1]} are the same configuration with the same seed, {seed}; give one of them'
            )
    commits = {str(one.record.card.get('commit')) for one in found}
    if len(commits) > 1:
        remarks.append(f'{plain(label)}: its seeds were trained by different commits, {", ".join(sorted(commits))}')
    loaded = [nats(one.record, one.result) for one in found]
    kept = [one for one in loaded if one is not None]
    if found[0].result.is_likelihood and len(kept) < len(found):
        remarks.append(
            f'{plain(label)}: without the nats of each example, which scripts.evaluate keeps, nothing is paired'
        )
    whole = len(kept) == len(found) and all(np.array_equal(units, kept[0][1]) for _, units in kept)
    return Cell(
        label=label, values=[one.result.value for one in found], unit=found[0].result.unit, kind=found[0].result.kind,
        nats=np.stack([values for values, _ in kept]) if whole else None, units=kept[0][1] if whole else None,
        seeds=[seed for seed in seeds if isinstance(seed, int)],
    )  # fmt: skip


def nats(record: RunRecord, result: Result) -> tuple[np.ndarray, np.ndarray] | None:
    """What each example contributed to a figure, in its unit, and the units it has: [n] and [n]; None where not kept.

    BadInput where the file does not add up to the figure: it is then another evaluation's.
    """
    name = result.origin.get('nats')
    if not isinstance(name, str) or not (record.folder / name).is_file():
        return None
    path = record.folder / name
    if not path.resolve().is_relative_to(record.folder.resolve()):
        raise BadInput(f'{plain(path)} is outside of its run folder')
    try:
        with path.open('rb') as stream, np.load(stream, allow_pickle=False) as file:
            values, units = np.asarray(file['nats'], np.float64), np.asarray(file['units'], np.float64)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(f'{plain(path)} cannot be read ({plain(error)}); evaluate the run again') from None
    if result.unit.startswith('bits'):
        values = values / (math.log(2) * variables(record.card['domain']))
    if (
        values.ndim != 1
        or values.shape != units.shape
        or not np.isclose(values.sum() / units.sum(), result.value, rtol=1e-5)
    ):
        raise BadInput(f'{plain(path)} does not add up to {result.metric} {result.value:.6g}; evaluate the run again')
    return values, units


def variables(domain: Mapping[str, Any]) -> int:
    """Scored variables in one unit: those of one time step of a piece, pixels of an image, 1 for a character."""
    if domain.get('kind') == 'tokens':
        return 1
    shape = domain['shape']
    pieces = domain.get('unit') == 'time step' and len(shape) == 2
    return int(shape[1]) if pieces else math.prod(shape)
