"""Score a run: python -m scripts.evaluate RUN [--samples K]. Prints a table and appends to RUN/results.jsonl."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from research.types import BadInput
from scripts import cli


def define_flags() -> None:
    """Flags are defined when run, not when imported: another script may have one of the same name."""
    flags.DEFINE_integer(
        'samples', None, 'k of the importance-weighted bound, for models that have one.', lower_bound=1
    )
    flags.DEFINE_enum('split', 'test', ['test', 'valid'], 'Which examples to score.')
    flags.DEFINE_string('data_dir', None, 'Where data sets are looked for, before TFDS_DATA_DIR and LIKENESS_DATA_DIR.')


def main(argv: list[str]) -> int:
    if len(argv) != 2:
        raise BadInput('expected one run folder: python -m scripts.evaluate RUN')
    folder, options = Path(argv[1]), flags.FLAGS
    if not (folder / 'card.json').is_file():
        raise BadInput(f'{folder}: not a run folder (it has no card.json); python -m scripts.train makes one')
    from research import run as runs

    results = runs.evaluate_folder(folder, options.samples, options.split, options.data_dir)
    if not results:
        print(f'{folder}: this model cannot score, and its samples are no images to compare; nothing was added')
        return 0
    width = max(len(r.metric) for r in results)
    print(f'{"metric":<{width}}  {"value":>12}  {"+-":>9}  {"kind":<8}  {"n":>7}  unit')
    for r in results:
        error = r.settings.get('standard_error') if r.metric.endswith('nll') else None
        shown = '' if error is None else f'{error:.4f}'
        print(f'{r.metric:<{width}}  {r.value:>12.4f}  {shown:>9}  {r.kind:<8}  {r.n:>7}  {r.unit}')
    return 0


if __name__ == '__main__':
    define_flags()
    cli.run(main)
