"""Compare runs: python -m scripts.compare RUN RUN ... [--metric test_nll] [--force].

Runs that differ in their seed alone are one cell. Prints each cell's mean with its 95 % t-interval over training seeds and
its rank, where ties share one, and every pair's difference with its interval, p, Holm's p over all pairs, and the test.
Figures of different protocols (binarisation, split, data, estimator, number of samples, unit) are refused; --force shows
them in tables of their own.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from research.report import cells, comparison, leaderboard, protocol, records
from research.report.cells import Group
from research.report.markup import plain, shorten
from research.types import BadInput
from scripts import cli

WIDTH = 120
IN_HEAD = ('data name', 'unit', 'metric', 'score unit')
TELL = ('values', 'samples', 'measure', 'split', 'n', 'data sha256')


def define_flags() -> None:
    """Flags are defined when run, not when imported: another script may have one of the same name."""
    flags.DEFINE_string('metric', 'test_nll', 'The number to compare.')
    flags.DEFINE_bool('force', False, 'Show figures of different protocols, each in a table of its own.')
    flags.DEFINE_integer('pairs', comparison.PAIRS, 'How many pairs to print at most.', lower_bound=0)


def compare(folders: Sequence[str], metric: str, force: bool = False, pairs: int | None = None) -> str:
    """The tables. BadInput says in which part the protocols of the runs differ."""
    if not folders:
        raise BadInput('no run folder given; give two or more: python -m scripts.compare runs/a runs/b')
    unique = {Path(folder).resolve(): Path(folder) for folder in folders}
    found = [cells.find(records.read(folder), metric) for folder in unique.values()]
    if not force:
        cells.refuse_mixture(found)
    groups = cells.groups(found)
    apart = protocol.apart([group.parts for group in groups])
    return '\n\n'.join(_table(group, metric, apart, pairs) for group in groups)


def _table(group: Group, metric: str, apart: Sequence[str], pairs: int | None) -> str:
    less = leaderboard.less_is_better(metric)
    side = {True: ' (less is better)', False: ' (more is better)', None: ''}[less]
    lines = [f'{plain(group.parts["data name"])}: {plain(metric)} in {plain(group.parts["unit"])}{side}']
    told = [
        name for name in dict.fromkeys([*apart, *TELL]) if name not in IN_HEAD and group.parts.get(name) is not None
    ]
    limits = {name: 13 if name == protocol.SHA256 else 48 for name in told}
    facts = '; '.join(f'{name} {shorten(plain(leaderboard.brief(group.parts[name])), limits[name])}' for name in told)
    lines += textwrap.wrap(facts, WIDTH, initial_indent='  ', subsequent_indent='  ')
    lines += [comparison.text(comparison.compare(group.cells, less), pairs)]
    return '\n'.join(lines + [f'({remark})' for remark in group.remarks])


def main(argv: list[str]) -> None:
    options = flags.FLAGS
    print(compare(argv[1:], options.metric, options.force, options.pairs))


if __name__ == '__main__':
    define_flags()
    cli.run(main)
