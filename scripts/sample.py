"""Draw from a run: python -m scripts.sample RUN --n 64 --out x.png (or .npz, or .txt). Needs the run folder alone."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from research.types import BadInput
from scripts import cli


def define_flags() -> None:
    """Flags are defined when run, not when imported: another script may have one of the same name."""
    flags.DEFINE_integer('n', 64, 'How many samples.', lower_bound=1, upper_bound=1_000_000)
    flags.DEFINE_string('out', None, 'File to write: .png shows, .npz keeps the arrays, .txt is text.')
    flags.DEFINE_integer('seed', 0, 'Seed of the draws.', lower_bound=0)
    flags.DEFINE_integer('length', None, 'Characters in each sample, for text.', lower_bound=1)


def main(argv: list[str]) -> int:
    if len(argv) != 2:
        raise BadInput('expected one run folder: python -m scripts.sample RUN --n 64 --out x.png')
    folder, options = Path(argv[1]), flags.FLAGS
    if not options.out or Path(options.out).suffix not in ('.png', '.npz', '.txt'):
        raise BadInput(f'--out {options.out}: expected a file that ends in .png, .npz or .txt')
    if not Path(options.out).resolve().parent.is_dir():
        raise BadInput(f'--out {options.out}: its folder does not exist')
    if Path(options.out).is_dir():
        raise BadInput(f'--out {options.out}: a folder; expected a file')
    if not (folder / 'card.json').is_file():
        raise BadInput(f'{folder}: not a run folder (it has no card.json); python -m scripts.train makes one')
    from research import run as runs

    runs.sample_folder(folder, Path(options.out), options.n, options.seed, options.length)
    print(f'{options.n} samples in {options.out}')
    return 0


if __name__ == '__main__':
    define_flags()
    cli.run(main)
