"""Train one config: python -m scripts.train CONFIG [--set a.b=c ...] [--data NAME_OR_PATH] [--seed N] [--out RUN]."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path

from absl import flags

from research.types import BadInput
from scripts import cli, configs


def define_flags() -> None:
    """Flags are defined when run, not when imported: another script may have one of the same name."""
    flags.DEFINE_multi_string('set', [], 'Change one field of the config: --set trainer.model.beta=4. May be repeated.')
    flags.DEFINE_string(
        'data', None, "Train on this instead of the config's data: a known name, or a .npz, an image folder, a .txt."
    )
    flags.DEFINE_integer('seed', None, 'Seed of initial weights, data order and noise.', lower_bound=0)
    flags.DEFINE_string('out', None, 'Run folder to write; runs/CONFIG where not given.')
    flags.DEFINE_string('data_dir', None, 'Where data sets are looked for, before TFDS_DATA_DIR and LIKENESS_DATA_DIR.')
    flags.DEFINE_bool(
        'resume', False, 'Continue a run folder from its last checkpoint; from the beginning where there is none.'
    )
    flags.DEFINE_bool('overwrite', False, 'Replace a run folder that exists.')
    flags.DEFINE_bool('list', False, 'Show the configs and leave.')


def main(argv: list[str]) -> int:
    options = flags.FLAGS
    if options.list:
        print(configs.listing())
        return 0
    if options.resume and options.overwrite:
        raise BadInput(
            '--resume and --overwrite: one continues the run folder, the other deletes it; expected one of them'
        )
    if len(argv) != 2:
        raise BadInput('expected one config: python -m scripts.train CONFIG (--list shows them)')
    configs.find(argv[1])
    from research import run as runs  # JAX is imported here, and not for --help, --list or an unknown config
    from research.data import named
    from research.engine import override
    from research.engine.fit import Diverged, Interrupted

    run = configs.build(argv[1])
    if options.data:
        run = dataclasses.replace(run, data=named(options.data, run.data, options.data_dir))
    run = override.apply(run, options.set)
    if options.seed is not None:
        run = dataclasses.replace(run, seed=options.seed)
    folder = Path(options.out or Path('runs') / argv[1])
    again = shlex.join(['python', '-m', 'scripts.train', *argv[1:], *_given(), '--resume'])
    try:
        fitted = runs.train(
            run,
            folder,
            config=argv[1],
            summary=configs.summary(argv[1]),
            overrides=tuple(options.set),
            data_dir=options.data_dir,
            resume=options.resume,
            overwrite=options.overwrite,
        )
    except Interrupted as stop:
        print(f'{stop}. Continue with: {again}', flush=True)
        return stop.code
    except Diverged as error:
        print(f'error: {error} in {folder}', file=sys.stderr)
        return 3
    ability = 'evaluate' if hasattr(fitted.model, 'log_prob') else 'sample'
    print(f'done: {folder}. Next: python -m scripts.{ability} {folder}')
    return 0


def _given() -> list[str]:
    """The flags of this command, but for those that say what to do with a folder that exists."""
    flag = flags.FLAGS
    words = [f'--set={assignment}' for assignment in flag.set]
    return words + [
        f'--{name}={flag[name].value}' for name in ('data', 'seed', 'out', 'data_dir') if flag[name].present
    ]


if __name__ == '__main__':
    define_flags()
    cli.run(main)
