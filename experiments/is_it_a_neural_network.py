"""Is generative AI a neural network? The main job: neural and other models on the same data, by the same measure.

    python -m experiments.is_it_a_neural_network                                       # scripts/demo: what comes with the installation
    python -m experiments.is_it_a_neural_network --domains all --seeds 5 --out runs/question --resume

A domain is one data set and the configs that are trained on it, each from every seed; a model that no seed changes is
trained once. The best network and the best model without one are then compared by the test of `scripts.compare`, which
knows that scores vary with the training seed and with the test examples. Prints one leaderboard per data set and writes one
page that opens offline; its first sentences are the verdicts. What is finished in --out is used again with --resume.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple

from absl import flags

from research import run as runs
from research.data import named
from research.report import leaderboard, page, rivals
from research.report.leaderboard import Board
from research.run import Run
from research.types import BadInput
from scripts import cli, configs


class Entry(NamedTuple):
    """A config on a domain's data; `seeded` is False where no seed changes what comes out."""

    config: str
    seeded: bool = True
    data: str | None = None  # in place of the config's own


DOMAINS: dict[str, tuple[Entry, ...]] = {
    'digits': (
        Entry('independent_digits', seeded=False),
        Entry('histogram_digits', seeded=False),
        Entry('mixture_digits'),
        Entry('mixture_gradient_digits'),
        Entry('factor_analysers_digits'),
        Entry('vae_digits'),
        Entry('gan_digits'),
        # the same images as grey levels: probabilities, a table of its own
        Entry('categorical_mixture_digits'),
        Entry('quad_tree_digits'),
        Entry('vae_grey_digits'),
    ),
    'mnist': (
        Entry('chow_liu_mnist'),
        Entry('mixture_mnist'),
        Entry('hclt_mnist'),
        Entry('vae_mnist'),
        Entry('made_mnist'),
    ),
    'jsb_chorales': (
        Entry('independent_jsb', seeded=False),
        Entry('persistence_jsb', seeded=False),
        Entry('chord_chain_jsb', seeded=False),
        Entry('mixture_jsb'),
        Entry('hmm_jsb'),
        Entry('vae_jsb'),
        Entry('recurrent_jsb'),
    ),
    'python_reference': (Entry('ngram_python', seeded=False), Entry('transformer_python')),
    'tiny_shakespeare': (
        Entry('ngram_shakespeare', seeded=False),
        Entry('kneser_ney_shakespeare', seeded=False),
        Entry('ppm_shakespeare', seeded=False),
        Entry('transformer_shakespeare'),
    ),
    **{
        name: (
            Entry('chow_liu_nltcs', seeded=False, data=name),
            Entry('tree_mixture_nltcs', data=name),
            Entry('hclt_nltcs', data=name),
            Entry('made_binary', data=name),
            Entry('vae_binary', data=name),
        )
        for name in ('nltcs', 'plants', 'dna')
    },
}
EMBEDDED = ('digits', 'python_reference')  # what comes with the installation
TITLE = 'Is generative AI a neural network?'
DONE = 'done'  # a file in a run folder: it is trained and scored
MARK = 'likeness-demo'  # a file that says: this folder was made here, and may be made again


def build(entry: Entry) -> Run:
    run = configs.build(entry.config)
    return run if entry.data is None else dataclasses.replace(run, data=named(entry.data, run.data))


def fit_and_score(entry: Entry, seed: int, folder: Path) -> None:
    """Train one config from one seed and score it, unless that is done; a run that was stopped goes on."""
    run, name, began = dataclasses.replace(build(entry), seed=seed), entry.config, time.perf_counter()
    if not (folder / DONE).is_file():
        quiet = not sys.stderr.isatty()
        runs.train(run, folder, config=name, summary=configs.summary(name), resume=True, quiet=quiet)
        runs.evaluate_folder(folder, None, 'test', None)
        (folder / DONE).touch()
    print(f'{name:<32} {seed:>4}  {time.perf_counter() - began:6.1f} s', flush=True)


def lead(boards: list[Board]) -> str:
    """The page's opening: the verdict on each data set, and how to read it."""
    verdicts = ' '.join(rivals.verdict(board) for board in boards)
    several = any(row.interval for board in boards for row in board.rows)
    seeds = (
        'Scores are means over training seeds, with 95 % intervals in brackets.'
        if several
        else 'One training seed each.'
    )
    return (
        f'{verdicts}\n\nFewer nats mean that the model found the test data less surprising. A GAN cannot score, so its cell '
        'stays blank; its samples are compared on raw pixels, which see brightness before shape, so take that column as a '
        f'first look. The VAE’s figure is a bound: its true score is at least as good. {seeds}'
    )


def make_room(out: Path, resume: bool = False) -> None:
    """A folder for the runs, empty unless they are gone on with. Only one that this experiment made is ever deleted."""
    if out.exists():
        if not (out / MARK).is_file():
            raise BadInput(f'--out {out}: it exists and was not made by this experiment; choose another')
        if resume:
            return
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / MARK).touch()


def chosen(names: list[str]) -> list[str]:
    """The domains asked for, each checked to be here before anything is trained."""
    found = list(DOMAINS) if names == ['all'] else names
    for name in found:
        if name not in DOMAINS:
            raise BadInput(f'--domains {name}: expected all, or some of {", ".join(DOMAINS)}')
    for name in found:
        build(DOMAINS[name][0]).data.load(None)
    return found


def main(argv: list[str]) -> int:
    options = flags.FLAGS
    out, domains, began = Path(options.out), chosen(options.domains), time.perf_counter()
    make_room(out, options.resume)
    print(f'{"config":<32} seed      time', flush=True)
    folders = []
    for domain in domains:
        for entry in DOMAINS[domain]:
            for seed in range(options.seeds if entry.seeded else 1):
                folders.append(out / domain / entry.config / f'{seed}')
                fit_and_score(entry, seed, folders[-1])
    records = [leaderboard.read(folder) for folder in folders]
    boards = leaderboard.boards(records)
    written = page.write(records, out / 'index.html', TITLE, lead(boards), rivals.table(boards))
    print()
    for board in boards:
        print(leaderboard.text_table(board), end='\n\n')
        print(rivals.verdict(board), end='\n\n')
    print(rivals.text_table(boards), end='\n\n')
    print(f'all in {time.perf_counter() - began:.0f} s; the page: {written.resolve()}')
    return 0


if __name__ == '__main__':
    flags.DEFINE_string('out', 'demo', 'Folder for the runs and the page, index.html.')
    flags.DEFINE_list('domains', list(EMBEDDED), f'all, or some of {", ".join(DOMAINS)}.')
    flags.DEFINE_integer('seeds', 1, 'Training seeds of each config.', lower_bound=1)
    flags.DEFINE_bool('resume', False, 'Go on with what is in --out.')
    cli.run(main)
