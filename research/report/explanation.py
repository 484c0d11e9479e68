"""How a number came to be: everything its line in results.jsonl says, in the order in which one would ask."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from research.report import cells, leaderboard
from research.report.markup import plain
from research.report.records import Result, RunRecord
from research.types import BadInput

KINDS = {
    'exact': 'exact: the figure itself, up to rounding',
    'bound': "a bound: the model's true figure is at least as good",
    'estimate': 'an estimate, which may be better or worse than the true figure',
}
WIDTH = 118
Pairs = list[tuple[str, Any]]


def choose(record: RunRecord, wanted: str) -> Result:
    """The result that is called `wanted`, or that reads so when printed. BadInput lists what there is where not one is."""
    folder = plain(record.folder)
    last = {(r.metric, r.split, str(r.settings.get('samples'))): r for r in record.lines}
    if not last:
        raise BadInput(f'{folder} has no results yet; python -m scripts.evaluate {folder} makes some')
    matching = [result for result in last.values() if _matches(result, wanted)]
    if len(matching) == 1:
        return matching[0]
    listed = ', '.join(_name(result) for result in matching or last.values())
    if matching:
        raise BadInput(f'{plain(wanted)} may be any of {listed}; give the number as it is printed')
    raise BadInput(f'{folder} has no result {plain(wanted)}; it has {listed}')


def _matches(result: Result, wanted: str) -> bool:
    """95.96 is 95.9577, and so is 95.958, but not 95.95."""
    try:
        number = Decimal(wanted.replace(',', ''))
    except InvalidOperation:
        return wanted == result.metric
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or not math.isfinite(result.value):
        return False
    return abs(Decimal(result.value) - number) <= Decimal('0.5000001') * Decimal(10) ** exponent


def _name(result: Result) -> str:
    told = [result.split] if result.split not in ('test', 'train') else []
    told += [f'{result.settings["samples"]} samples'] if 'samples' in result.settings else []
    return f'{plain(result.metric)} {result.value:.6g}' + (
        f' ({", ".join(plain(one) for one in told)})' if told else ''
    )


def text(record: RunRecord, result: Result, commands: Sequence[str]) -> str:
    """All there is to know about a number, for a terminal. `commands` make it again."""
    origin = result.origin
    card = record.card if 'trained' not in origin else origin
    head = f'{plain(result.metric)} = {result.value:.8g} {plain(result.unit)}   ({plain(record.folder)})'
    trained = origin.get('trained') or {name: record.card.get(name) for name in ('commit', 'device', 'versions')}
    sections: list[tuple[str, Pairs]] = [
        ('number', _number(record, result)),
        ('data', _data(record, origin)),
        ('model', [(name, card.get(name)) for name in ('config', 'model', 'trainer', 'seed')]),
        ('configuration', list((origin.get('values') or record.card.get('values') or {}).items())),
        ('trained', list(trained.items())),
        ('evaluated', [*(origin.get('evaluated') or {}).items(), ('time', origin.get('time'))]),
    ]
    width = max(len(name) for _, pairs in sections for name, _ in pairs)
    lines = [head]
    for title, pairs in sections:
        lines += ['', title]
        for name, value in pairs:
            start = f'  {plain(name):<{width}}  '
            lines += textwrap.wrap(_value(value), WIDTH, initial_indent=start, subsequent_indent=' ' * len(start))
    if 'trained' not in origin:
        lines.append(
            '  (an older version wrote this line; what is not known here was read from the card, or is missing)'
        )
    return '\n'.join([*lines, '', 'again', *(f'  {plain(command)}' for command in commands)])


def _number(record: RunRecord, result: Result) -> Pairs:
    """What was averaged, over what, and whether the kept nats add up to it."""
    unit = result.unit.partition(' per ')[2] if result.is_likelihood else ''
    cases = f'{result.n:,} ' + (
        'characters' if unit == 'character' else 'time steps' if unit == 'time step' else 'cases'
    )
    pairs: Pairs = [
        ('kind', KINDS[result.kind]),
        ('split', result.split),
        ('n', None if result.n is None else cases),
        *((name, value) for name, value in result.settings.items()),
        ('measure', result.origin.get('measure') if result.is_likelihood else None),
    ]
    kept = cells.nats(record, result)
    if kept is not None:
        values, units = kept
        total = f'{values.sum():,.4f} over {units.sum():,.0f} is {values.sum() / units.sum():.8g}'
        pairs.append(('added up from', f'{result.origin["nats"]}: {len(values):,} values, {total}'))
    return [pair for pair in pairs if pair[1] is not None]


def _data(record: RunRecord, origin: Mapping[str, Any]) -> Pairs:
    data = origin.get('data') or record.card['data']
    protocol = {name: value for name, value in (data.get('protocol') or {}).items() if name != 'values'}
    return [(name, data.get(name)) for name in ('name', 'sha256', 'values')] + list(protocol.items())


def _value(value: object) -> str:
    if isinstance(value, list):
        return plain(', '.join(leaderboard.brief(one) for one in value)) or '-'
    return '-' if value is None or value == '' else plain(leaderboard.brief(value))
