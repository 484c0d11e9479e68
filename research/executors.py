"""Floor 6: the tasks of a sweep in processes of their own: on this machine, or through Slurm by way of submitit.

What a process comes to is in the sweep's folder and nowhere else, so none of them has to answer. A task that was lost (its
process killed, its node gone, preempted) is started again and goes on from its last checkpoint; one that has done its
members finds nothing left to do. A lock per task keeps two processes from the same one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from research import tasks
from research.engine import loop
from research.engine.logbook import Bar
from research.types import BadInput, ranged

TRIES = 4  # so many times a task is started before it is given up
REFUSED = 2  # exit status of a task that cannot be done at all
HELD = 77  # ... and of one that another process has in hand
POLL, QUEUE_POLL = 0.2, 3.0
PATIENCE = 10.0  # seconds for a job that has done its work to end


@dataclass(frozen=True, kw_only=True)
class Executor:
    """Where tasks run.

    kind     'local': a pool of processes; 'slurm': a job array through submitit
    workers  processes at a time
    slurm    submitit's own parameters, such as {'slurm_partition': 'gpu', 'gpus_per_node': 1, 'timeout_min': 600}
    """

    kind: Literal['local', 'slurm'] = 'local'
    workers: int = ranged(2, at_least=1)
    slurm: tuple[tuple[str, Any], ...] = ()


def run(executor: Executor, out: Path, indices: Sequence[int], quiet: bool = False) -> int:
    """Do these tasks; how many compilations they took. Raises BadInput naming the tasks that could not be done."""
    if not indices:
        return 0
    bar = Bar('tasks', len(indices), quiet)
    bar.start(0)
    try:
        lost = (
            local(executor, out, list(indices), bar) if executor.kind == 'local' else slurm(executor, out, indices, bar)
        )
    finally:
        bar.close()
    if lost:
        told = '; '.join(f'task {index}: {why}' for index, why in sorted(lost.items()))
        raise BadInput(
            f'{out}: {len(lost)} of {len(indices)} tasks could not be done ({told}); their logs are in {out}/tasks'
        )
    return sum(compilations(out, index) for index in indices)


def check(executor: Executor) -> None:
    """Raises BadInput where its processes could not be started, before anything is touched."""
    if executor.kind == 'slurm':
        engine(executor, Path('.'), 'slurm')


def compilations(out: Path, index: int) -> int:
    try:
        return int(json.loads((out / 'tasks' / f'{index}.json').read_text())['compilations'])
    except (OSError, ValueError, KeyError):
        return 0


def do(out: str, index: int) -> None:
    """One task, in whichever process this is."""
    count = tasks.work(Path(out), index)
    (Path(out) / 'tasks' / f'{index}.json').write_text(json.dumps({'compilations': count}))


# on this machine


def local(executor: Executor, out: Path, left: list[int], bar: Bar) -> dict[int, str]:
    """A pool of processes; {task: why} of those that could not be done."""
    running: dict[int, tuple[int, subprocess.Popen[bytes]]] = {}  # worker -> (task, process)
    tries, lost = dict.fromkeys(left, 0), {}
    with loop.signals() as received:
        try:
            while (left or running) and not received():
                for worker in set(range(executor.workers)) - set(running):
                    if left:
                        index = left.pop(0)
                        tries[index] += 1
                        running[worker] = index, start(out, index, worker)
                time.sleep(POLL)
                for worker, (index, process) in list(running.items()):
                    code = process.poll()
                    if code is None:
                        continue
                    del running[worker]
                    if code == 0:
                        bar.move(1, f'task {index} done', None, 0.0)
                    elif code == HELD:  # by a process of an earlier call, which will be done with it
                        tries[index] -= 1
                        left.append(index)
                    elif code == REFUSED or tries[index] >= TRIES:
                        lost[index] = last_line(log(out, index)) or f'exit status {code}'
                    else:
                        left.append(index)
        finally:
            for _, process in running.values():
                process.terminate()  # which saves
            for _, process in running.values():
                process.wait()
        if received():
            raise loop.Interrupted(received())
    return lost


def start(out: Path, index: int, worker: int) -> subprocess.Popen[bytes]:
    """A process for one task; where several accelerators are visible, each worker has its own."""
    environment = dict(os.environ)
    visible = [name for name in environment.get('CUDA_VISIBLE_DEVICES', '').split(',') if name]
    if len(visible) > 1:
        environment['CUDA_VISIBLE_DEVICES'] = visible[worker % len(visible)]
    log(out, index).parent.mkdir(exist_ok=True)
    command = [sys.executable, '-m', 'scripts.sweep', '--task', str(index), '--out', str(out.resolve())]
    root = Path(__file__).resolve().parent.parent
    with log(out, index).open('a') as file:
        return subprocess.Popen(command, cwd=root, env=environment, stdout=file, stderr=subprocess.STDOUT)


def log(out: Path, index: int) -> Path:
    return out / 'tasks' / f'{index}.log'


def last_line(path: Path) -> str:
    lines = path.read_text(errors='replace').split('\n') if path.is_file() else []
    return next((line.removeprefix('error: ') for line in reversed(lines) if line.strip()), '')


# through Slurm


class Job:
    """What submitit pickles: a task, and itself again as what to do after a preemption."""

    def __init__(self, out: str, index: int):
        self.out, self.index = out, index

    def __call__(self) -> None:
        do(self.out, self.index)

    def checkpoint(self) -> Any:
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def engine(executor: Executor, out: Path, cluster: str | None) -> Any:
    """submitit's executor. Raises BadInput where it is not installed, or refuses a parameter."""
    if importlib.util.find_spec('submitit') is None:
        raise BadInput("executor=slurm: needs the package submitit, which is not here; pip install 'submitit>=1.5'")
    import submitit

    try:
        made = submitit.AutoExecutor(folder=out.resolve() / 'tasks' / 'slurm', cluster=cluster)
        made.update_parameters(**dict(executor.slurm))
    except (RuntimeError, NameError, TypeError) as error:
        raise BadInput(f'executor=slurm: {" ".join(str(error).split())}') from None
    if cluster == 'slurm':
        made.update_parameters(slurm_array_parallelism=executor.workers, slurm_additional_parameters={'requeue': True})
    return made


def slurm(
    executor: Executor, out: Path, indices: Sequence[int], bar: Bar, cluster: str | None = 'slurm'
) -> dict[int, str]:
    """One job array; tasks that were lost go out again in another. {task: why} of those that could not be done."""
    array = engine(executor, out, cluster)
    left, why = list(indices), {}
    for _ in range(TRIES):
        with array.batch():
            jobs = {index: array.submit(Job(str(out.resolve()), index)) for index in left}
        why = wait(jobs, out, bar, queued if cluster == 'slurm' else None)
        left = sorted(why)
        if not left:
            break
    return why


def wait(jobs: dict[int, Any], out: Path, bar: Bar, waiting: Callable[[], set[str]] | None = None) -> dict[int, str]:
    """Until every job has ended. A job counts for what it left in the folder, whatever its scheduler says.

    `waiting` tells which jobs a scheduler still has: without accounting (sacct) submitit never learns that one was lost.
    """
    left, why = dict(jobs), {}
    missing = missing_members(out)
    while left:
        there = waiting() if waiting else None
        for index, job in list(left.items()):
            if not missing(index):
                bar.move(1, f'task {index} done', None, 0.0)
                leave(job)
                del left[index]
            elif job.done() if there is None else job.job_id not in there:
                del left[index]
                if missing(index):  # done between the two questions
                    why[index] = reason(job)
        time.sleep(POLL if waiting is None else QUEUE_POLL)
    return why


def queued() -> set[str]:
    """The jobs that Slurm has in its queue, running or waiting, each element of an array by itself."""
    for _ in range(TRIES):
        asked = subprocess.run(['squeue', '-h', '-r', '-o', '%i'], capture_output=True, text=True)
        if asked.returncode == 0:
            return set(asked.stdout.split())
        time.sleep(QUEUE_POLL)
    raise BadInput(f'executor=slurm: squeue does not answer ({" ".join(asked.stderr.split())[:160]})')


def leave(job: Any) -> None:
    """Let a job end that has done its work; its scheduler may take its time to say so."""
    until = time.monotonic() + PATIENCE
    while not job.done() and time.monotonic() < until:
        time.sleep(POLL)


def missing_members(out: Path) -> Callable[[int], bool]:
    """Whether a task has members that are not done."""
    found = tasks.lay_out(tasks.read(out))

    def missing(index: int) -> bool:
        return not all((tasks.folder_of(out, m) / tasks.OUTCOME).exists() for m in found[index].members)

    return missing


def reason(job: Any) -> str:
    try:
        error = job.exception()
    except Exception as failure:  # submitit raises many kinds where a job left nothing
        error = failure
    lines = [line for line in str(error or 'ended without its members').split('\n') if line.strip()]
    return ' '.join(lines[-1].split())[:200]
