"""The rows of a leaderboard: a run, or the runs of one configuration from several seeds, with means over training seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from research.maths.statistics import t_interval
from research.report.protocol import configuration, stable
from research.report.records import TRAINING, Result, RunRecord

NLL, BITS = 'test_nll', 'bits_per_dim'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A run in a table, or the runs of one configuration from several seeds, whose figures are means then.

    `label` is the config's name, with the folder's where two rows would read the same.
    """

    label: str
    records: tuple[RunRecord, ...]  # one for each seed
    nll: Result | None
    bits: Result | None
    figures: Mapping[str, Result]  # every other result by name: 'pixel_mmd', or 'nll (valid)' off the test split
    interval: tuple[float, float] | None = None  # 95 % of the mean score over seeds; one seed has none

    @property
    def record(self) -> RunRecord:
        """The first seed's, for what all share and what is shown of one."""
        return self.records[0]

    @property
    def seconds(self) -> float | None:
        """Training time, the mean over seeds."""
        return _mean([record.seconds for record in self.records])

    @property
    def parameters(self) -> float | None:
        return _mean([record.parameters for record in self.records])


def rows_of(records: Sequence[RunRecord]) -> list[Row]:
    """The rows of these runs; those that differ in their seed alone are one."""
    fits = _by_seed(records)
    return [_row(own, label) for own, label in zip(fits, _labels([own[0] for own in fits]), strict=True)]


def _labels(records: Sequence[RunRecord]) -> list[str]:
    configs = [record.config for record in records]
    return [r.config if configs.count(r.config) == 1 else f'{r.config} [{r.folder.name}]' for r in records]


def _by_seed(records: Sequence[RunRecord]) -> list[tuple[RunRecord, ...]]:
    """Runs of one configuration together, in the order in which they come; the same seed a second time stays apart."""
    found: dict[tuple[str, int], list[RunRecord]] = {}
    seen: dict[str, int] = {}
    for record in records:
        one = stable([configuration(record), record.card.get('seed')])
        seen[one] = seen.get(one, 0) + 1
        found.setdefault((configuration(record), seen[one]), []).append(record)
    return [tuple(own) for own in found.values()]


def _row(records: tuple[RunRecord, ...], label: str) -> Row:
    scores = ((NLL, 'test'), (BITS, 'test'))
    shared = [key for key in records[0].results if all(key in record.results for record in records)]
    results = {key: _over_seeds([record.results[key] for record in records]) for key in shared}
    others = {
        metric if split == 'test' else f'{metric} ({split})': result
        for (metric, split), result in results.items()
        if (metric, split) not in scores and metric != TRAINING
    }
    nll, bits = (results.get(score) for score in scores)
    _, low, high, _ = (
        t_interval([record.results[NLL, 'test'].value for record in records]) if nll else (0, None, None, 0)
    )
    interval = None if low is None or high is None else (low, high)
    return Row(label=label, records=records, nll=nll, bits=bits, figures=others, interval=interval)


def _over_seeds(results: Sequence[Result]) -> Result:
    """The mean; its standard error over test cases is that of the first, for all score the same ones."""
    return dataclasses.replace(results[0], value=math.fsum(result.value for result in results) / len(results))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
