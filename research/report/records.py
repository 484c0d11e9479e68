"""A run folder, read and checked: the card, the epochs, the results. Any of the last two may still be missing.

Nothing is believed that was not written: a number that a run does not have stays None, all the way to a blank cell.
What is there but broken is refused with the file's name, because a table with a silently dropped row misleads. Only a
last line without its end is passed over: that is what a crash leaves, and it never was a number.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from research.report.markup import plain, shorten
from research.types import BadInput, Kind

FORMAT = 2
TRAINING = 'training_seconds'  # a result of its own, of the last stretch of training
_NUMBER = (int, float)
_OPTIONAL: dict[str, tuple[type, ...]] = {
    'parameters': _NUMBER,
    'network': (bool,),
    'values': (dict,),
    'overrides': (list,),
    'versions': (dict,),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """One line of results.jsonl: a number with everything that is needed to read it.

    origin    the whole line: data, config values, commit, versions ... (`research.evaluate.record`); {} before there were any
    """

    metric: str
    value: float
    unit: str = ''
    kind: Kind = 'estimate'
    n: int | None = None
    split: str = 'test'
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_likelihood(self) -> bool:
        return self.unit.startswith(('nats per ', 'bits per '))

    @property
    def error(self) -> float | None:
        """Standard error of the value over the test cases, where it was worked out."""
        found = self.settings.get('standard_error')
        return float(found) if found is not None and _is_number(found) else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What one run folder says.

    card      card.json as it is
    epochs    the lines of metrics.jsonl by epoch; where a resumed run wrote an epoch again, the later line
    results   (metric, split) -> the last such line of results.jsonl
    lines     all lines of results.jsonl, in order
    """

    folder: Path
    card: Mapping[str, Any]
    epochs: tuple[Mapping[str, Any], ...] = ()
    results: Mapping[tuple[str, str], Result] = dataclasses.field(default_factory=dict)
    lines: tuple[Result, ...] = ()

    @property
    def config(self) -> str:
        return str(self.card['config'])

    @property
    def unit(self) -> str:
        return str(self.card['domain']['unit'])

    @property
    def protocol(self) -> Mapping[str, Any]:
        return self.card['data'].get('protocol') or {}

    @property
    def parameters(self) -> int | None:
        return self.card.get('parameters')

    @property
    def network(self) -> bool | None:
        return self.card.get('network')

    @property
    def seconds(self) -> float | None:
        """Training time: the sum of what each epoch took, which holds for a resumed run too; None where unknown."""
        spent = [epoch['seconds'] for epoch in self.epochs if _is_number(epoch.get('seconds'))]
        whole = self.results.get((TRAINING, 'train'))
        return math.fsum(spent) if spent else whole.value if whole else None


def read(folder: str | Path, scores: bool = True) -> RunRecord:
    """The record of one run folder. BadInput, naming the file, for what is not a run or is broken.

    scores   whether its results are asked for; without them they are not read
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInput(f'{plain(folder)} is not a folder; give run folders, each with a card.json')
    if not (folder / 'card.json').is_file():
        raise BadInput(f'{plain(folder)} is not a run folder: it has no card.json, which every run writes')
    card = _card(folder / 'card.json')
    epochs = {line['epoch']: line for line in _lines(folder / 'metrics.jsonl', {'epoch': _NUMBER})}
    if not scores:
        return RunRecord(folder=folder, card=card, epochs=tuple(epochs[epoch] for epoch in sorted(epochs)))
    results = [_result(folder, line) for line in _lines(folder / 'results.jsonl', {'metric': (str,), 'value': _NUMBER})]
    for result in results:
        _check_unit(folder, result, str(card['domain']['unit']))
    return RunRecord(
        folder=folder,
        card=card,
        epochs=tuple(epochs[epoch] for epoch in sorted(epochs)),
        results={(result.metric, result.split): result for result in results},
        lines=tuple(results),
    )


def _card(path: Path) -> dict[str, Any]:
    card = _json(_text(path), plain(path))
    if not isinstance(card, dict) or card.get('format') not in range(1, FORMAT + 1):
        found = card.get('format') if isinstance(card, dict) else type(card).__name__
        raise BadInput(f'{plain(path)} has format {shorten(plain(found), 40)}; this version reads up to {FORMAT}')
    _fields(path, card, {'config': (str,), 'data': (dict,), 'domain': (dict,)})
    _fields(path, card['data'], {'name': (str,)}, 'data.')
    _fields(path, card['domain'], {'unit': (str,)}, 'domain.')
    _fields(path, card, {name: kinds for name, kinds in _OPTIONAL.items() if card.get(name) is not None})
    if card['data'].get('protocol') is not None:
        _fields(path, card['data'], {'protocol': (dict,)}, 'data.')
    return card


def _result(folder: Path, line: dict[str, Any]) -> Result:
    where = f'{plain(folder / "results.jsonl")} gives {plain(line["metric"])}'
    kind, n, settings = line.get('kind', 'estimate'), line.get('n'), line.get('settings') or {}
    if kind not in get_args(Kind):
        raise BadInput(f'{where} the kind {plain(kind)!r}; it must be one of {", ".join(get_args(Kind))}')
    if math.isnan(line['value']):
        raise BadInput(f'{where} the value NaN; it must be a number')
    if not (n is None or _is_number(n)) or not isinstance(settings, dict):
        raise BadInput(f'{where} an n that is not a number, or settings that are not a mapping')
    return Result(
        metric=line['metric'],
        value=float(line['value']),
        unit=str(line.get('unit') or ''),
        kind=kind,
        n=None if n is None else int(n),
        split=str(line.get('split') or 'test'),
        settings=settings,
        origin=line,
    )


def _check_unit(folder: Path, result: Result, unit: str) -> None:
    """Nats per character and nats per example must never meet in one column."""
    expected = f'nats per {unit}'
    if result.metric == 'test_nll' and result.unit and result.unit != expected:
        where = f'{plain(folder / "results.jsonl")} gives test_nll in {plain(result.unit)!r}'
        raise BadInput(f"{where}; the card's domain asks for {plain(expected)!r}")


def _lines(path: Path, required: dict[str, tuple[type, ...]]) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file, none where there is no file. A last line that was cut short is not one of them."""
    if not path.exists():
        return []
    objects = []
    *whole, last = _text(path).split('\n')
    with contextlib.suppress(ValueError, RecursionError):
        json.loads(last)
        whole.append(last)
    for number, line in enumerate(whole, start=1):
        if line.strip():
            where = f'{plain(path)} line {number}'
            value = _json(line, where)
            if not isinstance(value, dict):
                raise BadInput(f'{where} is not a JSON object')
            _fields(where, value, required)
            objects.append(value)
    return objects


def _fields(where: object, mapping: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]], prefix: str = '') -> None:
    for name, accepted in kinds.items():
        value = mapping.get(name)
        wrong_bool = isinstance(value, bool) and bool not in accepted
        if not isinstance(value, accepted) or wrong_bool:
            found = shorten(plain(repr(value)), 60) if name in mapping else 'missing'
            names = ' or '.join(kind.__name__ for kind in accepted)
            raise BadInput(f'{plain(where)}: {prefix}{name} is {found}; it must be of type {names}')


def _text(path: Path) -> str:
    try:
        return path.read_text('utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f'{plain(path)} cannot be read: {plain(error)}') from error


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f'{where} is not valid JSON ({plain(error)}); it may have been cut short') from error


def _is_number(value: object) -> bool:
    return isinstance(value, _NUMBER) and not isinstance(value, bool) and math.isfinite(value)
