"""Is generative AI a neural network? The main job: neural and other models on the same data, by the same measure.

On `digits`: a VAE, a GAN, a Gaussian mixture by EM, the same mixture by gradient, and the independent baseline. On
`python_reference`, CPython's own documentation: an n-gram model and a Transformer. Both sets come with the installation.
Prints one leaderboard per data set and writes one page that opens offline. `scripts/demo` runs it.

One seed: the intervals over training seeds are another experiment's.
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from pathlib import Path
from types import ModuleType

from absl import flags

from configs import (
    gan_digits,
    independent_digits,
    mixture_digits,
    mixture_gradient_digits,
    ngram_python,
    transformer_python,
    vae_digits,
)
from research import run as runs
from research.report import leaderboard, page
from research.report.leaderboard import Board, Row
from research.types import BadInput
from scripts import cli

CONFIGS = (
    independent_digits,
    mixture_digits,
    mixture_gradient_digits,
    vae_digits,
    gan_digits,
    ngram_python,
    transformer_python,
)
TITLE = 'Is generative AI a neural network?'
MARK = 'likeness-demo'  # a file that says: this folder was made here, and may be made again


def fit_and_score(config: ModuleType, out: Path) -> Path:
    """Train one config, score it, and return its run folder."""
    name, summary = config.__name__.rsplit('.', 1)[1], (config.__doc__ or '').split('\n')[0]
    folder, began = out / name, time.perf_counter()
    terminal = sys.stderr.isatty()
    runs.train(config.config(), folder, config=name, summary=summary, quiet=not terminal)
    runs.evaluate_folder(folder, None, 'test', None)
    print(f'{name:<24} {time.perf_counter() - began:6.1f} s', flush=True)
    return folder


def verdict(board: Board) -> str:
    """What the numbers of one data set say, in one sentence: the best network against the best model without one."""
    best: dict[bool, Row] = {}
    for row in sorted((r for r in board.rows if r.nll), key=lambda r: r.nll.value if r.nll else 0.0):
        if row.record.network is not None:
            best.setdefault(row.record.network, row)
    if len(best) < 2:
        return leaderboard.headline(board)
    first, second = sorted(best.values(), key=lambda r: r.nll.value if r.nll else 0.0)
    assert first.nll is not None and second.nll is not None
    gap, noise = second.nll.value - first.nll.value, math.hypot(first.nll.error or 0.0, second.nll.error or 0.0)
    scores = f'{first.label} {first.nll.value:.4g}, {second.label} {second.nll.value:.4g} nats per {board.unit}'
    if gap < 2 * noise:
        return (
            f'On {board.data}, it is too close to call: {scores}, and the standard error of their difference over the test '
            f'data is up to {noise:.2g}.'
        )
    kind = 'a neural network' if first.record.network else 'a model without a network'
    doubt = f', as far as the bound of {second.label} tells' if second.nll.kind == 'bound' else ''
    return f'On {board.data}, {kind} comes first{doubt}: {scores}.'


def lead(boards: list[Board]) -> str:
    """The page's opening: the verdict on each data set, and how to read it."""
    verdicts = ' '.join(verdict(board) for board in boards)
    return (
        f'{verdicts}\n\nFewer nats mean that the model found the test data less surprising. A GAN cannot score, so its cell '
        'stays blank; its samples are compared on raw pixels, which see brightness before shape, so take that column as a '
        'first look. The VAE’s figure is a bound: its true score is at least as good. One training seed each.'
    )


def make_room(out: Path) -> None:
    """An empty folder. Only one that this experiment made is ever deleted."""
    if out.exists():
        if not (out / MARK).is_file():
            raise BadInput(f'--out {out}: it exists and was not made by this experiment; choose another')
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / MARK).touch()


def main(argv: list[str]) -> int:
    out = Path(flags.FLAGS.out)
    make_room(out)
    began = time.perf_counter()
    print('config                    time', flush=True)
    folders = [fit_and_score(config, out) for config in CONFIGS]
    boards = leaderboard.boards([leaderboard.read(folder) for folder in folders])
    written = page.write([leaderboard.read(folder) for folder in folders], out / 'index.html', TITLE, lead(boards))
    print()
    for board in boards:
        print(leaderboard.text_table(board), end='\n\n')
        print(verdict(board), end='\n\n')
    print(f'all in {time.perf_counter() - began:.0f} s; the page: {written.resolve()}')
    return 0


if __name__ == '__main__':
    flags.DEFINE_string('out', 'demo', 'Folder for the runs and the page, index.html.')
    cli.run(main)
