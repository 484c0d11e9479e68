"""Train a grid of settings from several seeds as one program: python -m scripts.sweep CONFIG --grid a.b=1,2 [--seeds 4] [--out]."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from absl import flags

from research.types import BadInput
from scripts import cli, configs

if TYPE_CHECKING:
    from research.executors import Executor


PREEMPTED = 75  # as engine.loop has it, which would import JAX


def define_flags() -> None:
    """Flags are defined when run, not when imported: another script may have one of the same name."""
    flags.DEFINE_multi_string(
        'grid',
        [],
        'A field and its values: --grid trainer.model.beta=0.5,1,2 (tuples: hidden=64,64;128). May be repeated.',
    )
    flags.DEFINE_multi_string('set', [], 'Change one field for all members: --set epochs=20. May be repeated.')
    flags.DEFINE_integer('seeds', 1, 'Training seeds of each cell, counted from the config’s own on.', lower_bound=1)
    flags.DEFINE_enum(
        'mode',
        'vmap',
        ['vmap', 'map', 'loop'],
        'Members side by side; one after the other in one program (bitwise equal to single runs on CPU); or by single runs.',
    )
    flags.DEFINE_integer(
        'members',
        None,
        'Members in one call of the program; as many as the memory holds where not given.',
        lower_bound=1,
    )
    flags.DEFINE_bool(
        'shared_batches', False, 'All members see the same batches: faster, but no longer equal to single runs.'
    )
    flags.DEFINE_integer(
        'samples', None, 'k of the importance-weighted bound, for models that have one.', lower_bound=1
    )
    flags.DEFINE_string(
        'out',
        None,
        'Folder to write: a run folder for each member, table.csv, index.html; runs/sweep_CONFIG where not given.',
    )
    flags.DEFINE_string('data_dir', None, 'Where data sets are looked for, before TFDS_DATA_DIR and LIKENESS_DATA_DIR.')
    flags.DEFINE_enum(
        'executor',
        None,
        ['local', 'slurm'],
        'Send the tasks to processes of this machine, or to Slurm (needs submitit).',
    )
    flags.DEFINE_integer('workers', 2, 'Tasks at a time, with --executor.', lower_bound=1)
    flags.DEFINE_multi_string(
        'slurm', [], "submitit's parameters: --slurm slurm_partition=gpu --slurm timeout_min=600. May be repeated."
    )
    flags.DEFINE_integer(
        'task', None, 'Do this one task of the sweep in --out: what an executor starts.', lower_bound=0
    )
    flags.DEFINE_bool('resume', False, 'Go on with a sweep folder: members that are done stay, others continue.')
    flags.DEFINE_bool('overwrite', False, 'Replace a sweep folder that exists.')


def main(argv: list[str]) -> int:
    options = flags.FLAGS
    if options.task is not None:
        return one_task(Path(options.out or '.'), options.task)
    if len(argv) != 2:
        raise BadInput(
            'expected one config: python -m scripts.sweep CONFIG --grid field=value,value (train --list shows them)'
        )
    configs.find(argv[1])
    from research import grid, sweep
    from research.engine import override
    from research.engine.fit import Interrupted

    axes = grid.axes(options.grid)
    run = override.apply(configs.build(argv[1]), options.set)
    out = Path(options.out or Path('runs') / f'sweep_{argv[1]}')
    try:
        with cli.terminable():
            swept = sweep.sweep(
                run,
                axes,
                options.seeds,
                mode=options.mode,
                members=options.members,
                shared_batches=options.shared_batches,
                samples=options.samples,
                out=out,
                resume=options.resume,
                overwrite=options.overwrite,
                executor=executor(options.executor, options.workers, options.slurm),
                config=argv[1],
                summary=configs.summary(argv[1]),
                data_dir=options.data_dir,
            )
    except Interrupted as stop:
        print(f'{stop}. Continue with: {again(argv)}', flush=True)
        return stop.code
    except cli.Terminated:  # while it compiles or scores: what is done is in the folder
        print(f'stopped. Continue with: {again(argv)}', flush=True)
        return PREEMPTED
    print(swept.text())
    print(
        f'{len(swept.rows)} members, {swept.groups} compilation group{"s" * (swept.groups != 1)}, '
        f'compilations: {swept.compilations}, {swept.seconds:.1f} s; {out / sweep.TABLE}; page: {out / sweep.PAGE}'
    )
    return 0


def executor(kind: Literal['local', 'slurm'] | None, workers: int, slurm: list[str]) -> Executor | None:
    from research.executors import Executor

    if slurm and kind != 'slurm':
        raise BadInput(f'--slurm {slurm[0]}: goes with --executor slurm')
    pairs = []
    for assignment in slurm:
        name, equals, value = assignment.partition('=')
        if not equals:
            raise BadInput(f'--slurm {assignment}: expected name=value, such as slurm_partition=gpu')
        pairs.append((name, int(value) if value.isdigit() else value))
    return Executor(kind=kind, workers=workers, slurm=tuple(pairs)) if kind else None


def one_task(out: Path, index: int) -> int:
    """A part of a sweep, in a process that an executor has started."""
    from research import executors
    from research.engine.fit import Interrupted
    from research.tasks import Held

    try:
        executors.do(str(out), index)
    except Interrupted as stop:
        print(stop, flush=True)
        return stop.code
    except Held as busy:
        print(busy, flush=True)
        return executors.HELD
    return 0


def again(argv: list[str]) -> str:
    """The command that continues this sweep."""
    flag = flags.FLAGS
    given = [f'--{name}={value}' for name in ('grid', 'set', 'slurm') for value in flag[name].value or ()]
    names = ('seeds', 'mode', 'members', 'shared_batches', 'samples', 'out', 'data_dir', 'executor', 'workers')
    given += [f'--{name}={flag[name].value}' for name in names if flag[name].present]
    return shlex.join(['python', '-m', 'scripts.sweep', *argv[1:], *given, '--resume'])


if __name__ == '__main__':
    define_flags()
    cli.run(main)
