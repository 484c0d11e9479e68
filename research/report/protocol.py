"""Of what a number is: which figures are the same quantity, measured in the same way, and which part differs if not.

A likelihood on dynamically binarised digits and one on thresholded digits are not the same quantity; neither are the
probability of a grey level, a density on [0, 1], and the cross-entropy that a Bernoulli gives to grey values (which is no
likelihood of them at all). And an estimate with 5 samples is not that with 50.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from research.report.records import Result, RunRecord

SHA256, UNIT, MEASURE = 'data sha256', 'score unit', 'measure'  # beside the names that the data's protocol has
# How a text or music was cut for a model. Every character or time step of the test part that is scored is still scored once
# (music says in 'scored' how many are), so such runs do compare.
CUT = ('windows', 'length', 'context', 'example')
OUTCOMES = (
    'standard_error',
    'preprocessing',
)  # settings of a result that came out of it, or that the data's protocol has
DRAWN = 'samples'  # how many an estimator drew; nothing that is exact has it
FREE = (
    'seed',
    'checkpoint_every',
    'keep_last',
    'keep_best',
)  # settings that decide nothing about a number, or that a mean is over


def measure(card: Mapping[str, Any]) -> str | None:
    """With respect to what a run's likelihood is one; None where the card does not say what kind its data are."""
    domain = card.get('domain') or {}
    kind, values = domain.get('kind'), card.get('values') or {}
    if kind in ('binary', 'integer', 'tokens'):
        return 'probability'
    if kind == 'unit' and any(path.endswith('.likelihood') and value == 'Bernoulli' for path, value in values.items()):
        return 'Bernoulli cross-entropy of grey values'
    if kind in ('unit', 'real'):
        return 'density per grey level' if domain.get('cell', 1.0) != 1.0 else 'density'
    return None


def configuration(record: RunRecord) -> str:
    """What runs share that differ in their seed alone."""
    return stable([record.config, settings(record)])


def settings(record: RunRecord) -> dict[str, Any]:
    """The values on a run's card, but for those that are FREE."""
    return {name: value for name, value in (record.card.get('values') or {}).items() if name not in FREE}


def identity(record: RunRecord) -> dict[str, Any]:
    """What two runs must share before any of their figures may stand in one table."""
    data = record.card['data']
    fixed = {'data name': data['name'], SHA256: data.get('sha256'), UNIT: record.unit}
    return {name: value for name, value in record.protocol.items() if name not in CUT} | fixed


def identities(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The identity of each run, with its measure where runs that agree in all else have scores of different ones.

    A run without a score has no measure: it joins the first of them.
    """
    found = [identity(record) for record in records]
    measures: dict[str, list[str | None]] = {}
    for record, shared in zip(records, found, strict=True):
        own = measures.setdefault(stable(shared), [])
        if _scored(record) and measure(record.card) not in own:
            own.append(measure(record.card))
    told = []
    for record, shared in zip(records, found, strict=True):
        own = measures[stable(shared)]
        here = measure(record.card) if _scored(record) else next(iter(own), None)
        told.append(shared | {MEASURE: here} if len(own) > 1 else shared)
    return told


def of(record: RunRecord, result: Result) -> dict[str, Any]:
    """All that makes a result what it is, but for the model. None stands where a part does not apply.

    Exact values and bounds share a kind: both are at least the true negative log-likelihood, which an estimate need not be.
    """
    settings = {name: value for name, value in result.settings.items() if name not in OUTCOMES}
    sure = result.kind in ('exact', 'bound')
    parts = identity(record) | {DRAWN: None} | settings
    parts |= {'metric': result.metric, 'unit': result.unit, 'split': result.split, 'n': result.n}
    parts |= {'estimator': 'exact or bound' if sure else result.kind}
    if result.is_likelihood:
        parts |= {MEASURE: measure(record.card)}
    if result.unit == 'seconds':
        parts |= {'device': record.card.get('device')}
    return parts


def apart(identities: Sequence[Mapping[str, Any]], *free: str) -> tuple[str, ...]:
    """The parts in which some differ. For those named `free`, None agrees with everything."""
    names = dict.fromkeys(name for one in identities for name in one)
    values = {
        name: {stable(one.get(name)) for one in identities} - ({'null'} if name in free else set()) for name in names
    }
    return tuple(name for name in names if len(values[name]) > 1)


def stable(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _scored(record: RunRecord) -> bool:
    return any(result.is_likelihood for result in record.results.values())
