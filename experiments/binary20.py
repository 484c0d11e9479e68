"""The 20 binary sets: models with a network and without, exact scores and bounds, on one table.

    python -m experiments.binary20 --sets nltcs,plants --out runs/binary20 --resume
    python -m experiments.binary20 --sets all --out runs/binary20 --resume                 # many hours on two cores

Each set trains the config of each column once, on its training split, and scores it on its test split: minus log p in nats
per example, less is better. A bound stands behind '<=': the true score is no higher. What is finished in --out is used
again with --resume; a set may also be the path of one's own .npz of zeros and ones.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import NamedTuple

from absl import flags

from experiments.is_it_a_neural_network import DONE, make_room
from research import run as runs
from research.data import named
from research.data.binary import BINARY
from research.report import leaderboard
from research.report.leaderboard import Column
from research.run import Run
from research.types import BadInput
from scripts import cli, configs

COLUMNS = {
    'independent': 'independent_binary',
    'Chow-Liu': 'chow_liu_nltcs',
    'trees': 'tree_mixture_nltcs',
    'HCLT': 'hclt_nltcs',
    'FVSBN': 'fvsbn_binary',
    'MADE': 'made_binary',
    'VAE': 'vae_binary',
}
SMALL = ('nltcs', 'plants', 'baudio', 'jester', 'bnetflix', 'accidents', 'tretail', 'dna')  # minutes each
STEPS = 8  # in an epoch, at least: a set that is small for a config's batches gets smaller ones


class Score(NamedTuple):
    """Nats per example; of what kind; whether a network is behind it."""

    nats: float
    kind: str
    network: bool


def build(config: str, name: str) -> Run:
    """A column's config on one set. Raises BadInput where there is no such set."""
    run = configs.build(config)
    run = dataclasses.replace(run, data=named(name, run.data))
    if run.batch_size is None:
        return run
    largest = max(1, len(run.data.load(None).train) // STEPS)
    return dataclasses.replace(run, batch_size=min(run.batch_size, largest))


def fit_and_score(config: str, name: str, folder: Path) -> Score:
    """Train and score, unless that is done; a run that was stopped goes on."""
    began = time.perf_counter()
    if not (folder / DONE).is_file():
        quiet = not sys.stderr.isatty()
        run = build(config, name)
        runs.train(run, folder, config=config, summary=configs.summary(config), resume=True, quiet=quiet)
        runs.evaluate_folder(folder, None, 'test', None)
        (folder / DONE).touch()
    record = leaderboard.read(folder)
    result = record.results['test_nll', 'test']
    print(f'{name:<12} {config:<24} {result.value:10.4f}  {time.perf_counter() - began:6.1f} s', flush=True)
    return Score(result.value, str(result.kind), bool(record.network))


def cell(score: Score | None) -> str:
    return '' if score is None else f'{"<= " if score.kind == "bound" else ""}{score.nats:.3f}'


def table(scores: dict[str, dict[str, Score]]) -> str:
    """A line for each set, a column for each model; '*' at the lowest of a line, '(net)' over the models with a network."""
    rows = list(scores.values())
    lowest = [min(score.nats for score in row.values()) for row in rows]
    shown = [Column(key='set', head='', cells=tuple(scores), numeric=False)]
    for name in (name for name in COLUMNS if any(name in row for row in rows)):
        found = [row.get(name) for row in rows]
        network = any(score.network for score in found if score)
        best = frozenset(i for i, score in enumerate(found) if score and score.nats == lowest[i])
        head = f'{name} (net)' if network else name
        shown.append(Column(key=name, head=head, cells=tuple(map(cell, found)), best=best))
    return '\n'.join(leaderboard.aligned(shown))


def verdict(scores: dict[str, dict[str, Score]]) -> str:
    """On how many sets the lowest score is a network's, and how far the best of either side are apart."""
    leads = []
    for row in scores.values():
        nets, others = ([score.nats for score in row.values() if score.network is side] for side in (True, False))
        if nets and others:
            leads.append(min(others) - min(nets))
    if not leads:
        return 'Only one side has been scored.'
    won = sum(lead > 0 for lead in leads)
    middle = sorted(leads)[len(leads) // 2]
    side = 'a network' if middle > 0 else 'a model without one'
    return (
        f'A network has the lowest score on {won} of {len(leads)} sets, a model without one on {len(leads) - won}; '
        f'on the set in the middle {side} leads by {abs(middle):.3f} nats.'
    )


def chosen(names: list[str]) -> list[str]:
    """The sets asked for, each checked to be here before anything is trained."""
    found = {'all': list(BINARY), 'small': list(SMALL)}.get(names[0], names) if len(names) == 1 else names
    for name in found:
        domain = named(name).load(None).domain
        if domain.kind != 'binary':
            raise BadInput(f'--sets {name}: it holds {domain.kind} data; expected zeros and ones')
    return found


def models(names: list[str]) -> list[str]:
    """The columns asked for."""
    for name in names:
        if name not in COLUMNS:
            raise BadInput(f'--models {name}: expected some of {", ".join(COLUMNS)}')
    return names


def main(argv: list[str]) -> int:
    options = flags.FLAGS
    out, sets, columns = Path(options.out), chosen(options.sets), models(options.models)
    make_room(out, options.resume)
    scores: dict[str, dict[str, Score]] = {}
    for name in sets:
        label = Path(name).stem
        scores[label] = {c: fit_and_score(COLUMNS[c], name, out / label / COLUMNS[c]) for c in columns}
        told = f'Test score in nats per example (less is better)\n{table(scores)}\n{verdict(scores)}'
        (out / 'table.txt').write_text(told + '\n', encoding='utf-8')  # after each set: all of them take hours
    print(f'\n{told}')
    return 0


def define_flags() -> None:
    flags.DEFINE_string('out', 'runs/binary20', 'Folder for the runs and the table, table.txt.')
    flags.DEFINE_list('sets', ['small'], f'all, small, or some of {", ".join(BINARY)}.')
    flags.DEFINE_list('models', list(COLUMNS), f'Some of {", ".join(COLUMNS)}.')
    flags.DEFINE_bool('resume', False, 'Go on with what is in --out.')


if __name__ == '__main__':
    define_flags()
    cli.run(main)
