"""Train one config: python -m scripts.train CONFIG [--set a.b=c ...] [--data NAME_OR_PATH] [--seed N] [--out RUN].

Exit statuses: 0 done, 1 a fault of the program, 2 bad input, 3 training diverged. After these three the same command line with
--resume goes on, to the same bits: 130 Ctrl-C, 75 SIGTERM (both save first), 76 another process of a --distributed run is lost.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path

from absl import flags

from research.types import BadInput
from scripts import cli, configs

PREEMPTED = 75  # as engine.loop has it, which would import JAX
DISTRIBUTED = ('distributed', 'coordinator', 'processes', 'process')


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
    flags.DEFINE_enum(
        'on_divergence',
        'ignore',
        ['stop', 'rollback', 'ignore'],
        'When a loss or a parameter is not finite, or the watch sees a posterior, generator or critic collapse: stop, keeping '
        'the last good state; rollback, to the last good checkpoint, and go on with half the learning rate (three times at '
        'most); ignore, which stops only for what is not finite, and writes down a collapse in RUN/events.jsonl: where '
        'settings are explored, it is a result.',
    )
    flags.DEFINE_bool(
        'distributed',
        False,
        'Train in several processes, which all get this command line (and mesh.data, say, for the devices of all): JAX asks '
        'Slurm, Open MPI, Kubernetes or the TPU pod who they are. --out is a folder that all share. Status 76: one was lost.',
    )
    flags.DEFINE_string('coordinator', None, 'Where nobody can be asked: HOST:PORT of the first process,')
    flags.DEFINE_integer('processes', None, '... how many processes there are,', lower_bound=1)
    flags.DEFINE_integer('process', None, '... and which one of them this is, from 0.', lower_bound=0)
    flags.DEFINE_bool('overwrite', False, 'Replace a run folder that exists.')
    flags.DEFINE_bool('list', False, 'Show the configs and leave.')


def main(argv: list[str]) -> int:
    try:
        with cli.terminable():
            return train(argv)
    except cli.Terminated:
        print('stopped with nothing to save; the same command line with --resume goes on', flush=True)
        return PREEMPTED


def train(argv: list[str]) -> int:
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
    from research.engine import hosts, override
    from research.engine.checkpoint import first_process
    from research.engine.fit import Diverged, Interrupted

    if options.distributed:
        hosts.join(options.coordinator, options.processes, options.process)
    elif (options.coordinator, options.processes, options.process) != (None, None, None):
        raise BadInput('--coordinator, --processes and --process are for --distributed; expected it with them')
    run = configs.build(argv[1])
    if options.data:
        run = dataclasses.replace(run, data=named(options.data, run.data, options.data_dir))
    run = override.apply(run, options.set)
    if options.seed is not None:
        run = dataclasses.replace(run, seed=options.seed)
    folder = Path(options.out or Path('runs') / argv[1])
    again = shlex.join(['python', '-m', 'scripts.train', *argv[1:], *_given(), '--resume'])
    answered = {BadInput: 2, Diverged: 3, Interrupted: PREEMPTED, cli.Terminated: PREEMPTED, KeyboardInterrupt: 130}
    try:
        with hosts.together(answered):
            fitted = runs.train(
                run,
                folder,
                config=argv[1],
                summary=configs.summary(argv[1]),
                overrides=tuple(options.set),
                data_dir=options.data_dir,
                resume=options.resume,
                overwrite=options.overwrite,
                on_divergence=options.on_divergence,
            )
    except Interrupted as stop:
        if first_process():
            print(f'{stop}. Continue with: {again}', flush=True)
        return stop.code
    except Diverged as error:
        if first_process():
            print(f'error: {error}', file=sys.stderr)
        return 3
    if not first_process():
        return 0
    ability = 'evaluate' if hasattr(fitted.model, 'log_prob') else 'sample'
    print(f'done: {folder}. Next: python -m scripts.{ability} {folder}')
    return 0


def _given() -> list[str]:
    """The flags of this command, but for those that say what to do with a folder that exists."""
    flag = flags.FLAGS
    words = [f'--set={assignment}' for assignment in flag.set]
    return words + [
        f'--{name}={flag[name].value}'
        for name in (*('data', 'seed', 'out', 'data_dir', 'on_divergence'), *DISTRIBUTED)
        if flag[name].present
    ]


if __name__ == '__main__':
    define_flags()
    cli.run(main)
