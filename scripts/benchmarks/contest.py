"""The same work by several contenders, measured in turn in one run: medians and ratios, since machines are shared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Measure = Callable[[], float]  # seconds for one unit of work; the first call, which compiles, is not counted


PAUSE = 0.2  # s: thread pools go on spinning after their work, and would take the next contender's cores


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Contenders by name, ours first. `want` are the ratios ours has to reach over others: name -> at least."""

    name: str
    unit: str  # of what one measure is: 'step', 'ten iterations', ...
    contenders: dict[str, Measure]
    want: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # contenders left out, and why


@dataclass(frozen=True, kw_only=True)
class Outcome:
    contest: Contest
    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, name: str) -> float:
        """How many times longer `name` takes than ours: the median of the ratios of neighbouring measures."""
        ours = self.seconds[next(iter(self.seconds))]
        return statistics.median(theirs / mine for theirs, mine in zip(self.seconds[name], ours, strict=True))


def hold(contest: Contest, repeats: int) -> Outcome:
    """Warm everybody up, then measure in turn, so that a busy spell of the machine hits all alike."""
    for measure in contest.contenders.values():
        measure()
    seconds: dict[str, list[float]] = {name: [] for name in contest.contenders}
    for _ in range(repeats):
        for name, measure in contest.contenders.items():
            time.sleep(PAUSE)
            seconds[name].append(measure())
    return Outcome(contest=contest, seconds=seconds)


def table(outcome: Outcome) -> str:
    """Aligned lines: milliseconds (median and range) and the ratio to ours, with what was wanted."""
    contest = outcome.contest
    width = max(map(len, contest.contenders))
    lines = [f'{contest.name}, one {contest.unit}', f'  {"":<{width}}  {"median ms":>10}  {"range":>19}  {"ratio":>6}']
    for i, name in enumerate(contest.contenders):
        low, high = min(outcome.seconds[name]) * 1e3, max(outcome.seconds[name]) * 1e3
        ratio = '' if i == 0 else f'{outcome.ratio(name):.2f}'
        wanted = contest.want.get(name)
        verdict = '' if wanted is None else f'  wanted {wanted}: {"yes" if outcome.ratio(name) >= wanted else "NO"}'
        lines.append(
            f'  {name:<{width}}  {outcome.median(name) * 1e3:>10.2f}  {low:>8.2f} ..{high:>8.2f}  {ratio:>6}{verdict}'
        )
    return '\n'.join([*lines, *(f'  left out: {note}' for note in contest.notes)])
