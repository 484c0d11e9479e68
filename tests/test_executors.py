"""The tasks of a sweep in other processes: whoever is killed, nothing is lost and nothing stands twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from research import executors, tasks
from research import sweep as sweeps
from research.engine import loop, override
from research.engine.logbook import Bar
from research.executors import Executor
from research.run import Run
from research.types import BadInput
from scripts import configs
from tests.runs import SMALL, lines

GRID = {'trainer.model.latent': (2, 3), 'trainer.model.beta': (1.0, 4.0)}


def run() -> Run:
    changes = [flag.removeprefix('--set=') for flag in SMALL]
    return override.apply(configs.build('vae_digits'), [*changes, 'epochs=40', 'checkpoint_every=5'])


@pytest.fixture(scope='module')
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep in this process."""
    out = tmp_path_factory.mktemp('alone') / 'out'
    sweeps.sweep(run(), GRID, 1, mode='map', members=2, out=out, quiet=True)
    return out


def numbers(out: Path) -> list[Any]:
    """What a sweep's folder says: every member's scores and epochs."""
    found = []
    for folder in sorted((out / 'members').iterdir()):
        scores = [(line['metric'], line['value']) for line in lines(folder / 'results.jsonl')]
        epochs = [(row['epoch'], row['loss']) for row in lines(folder / 'metrics.jsonl')]
        found.append((folder.name, scores, epochs))
    return found


class Killer(threading.Thread):
    """Kills the first process whose command line holds all of `words`, once `ready()`."""

    def __init__(self, words: tuple[str, ...], ready: Callable[[], bool]):
        super().__init__(daemon=True)
        self.words, self.ready, self.killed = words, ready, 0

    def run(self) -> None:
        for _ in range(600):
            time.sleep(0.1)
            if self.ready() and (found := self.find()):
                os.kill(found, signal.SIGKILL)
                self.killed = found
                return

    def find(self) -> int | None:
        for path in Path('/proc').glob('[0-9]*/cmdline'):
            try:
                words = path.read_bytes().replace(b'\0', b' ').decode()
            except OSError:
                continue
            if all(word in words for word in self.words) and int(path.parent.name) != os.getpid():
                return int(path.parent.name)
        return None


def begun(out: Path, member: str) -> Callable[[], bool]:
    """Whether a member has a checkpoint and is not done."""
    folder = out / 'members' / member
    return lambda: any((folder / 'checkpoints').glob('[0-9]*')) and not (folder / tasks.OUTCOME).exists()


@pytest.mark.long
def test_a_pool_of_processes_of_which_one_is_killed(alone: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    killer = Killer(('scripts.sweep', '--task 1', str(out)), begun(out, '0002'))
    killer.start()
    swept = sweeps.sweep(
        run(), GRID, 1, mode='map', members=2, out=out, quiet=True, executor=Executor(kind='local', workers=2)
    )
    assert killer.killed
    assert (swept.groups, swept.compilations, len(swept.rows)) == (2, 2, 4)
    assert numbers(out) == numbers(alone)
    assert (out / 'table.csv').read_text() == (alone / 'table.csv').read_text()


@pytest.mark.long
def test_submitit_sends_a_lost_task_out_again(alone: Path, tmp_path: Path) -> None:
    """Through submitit's own local executor, which stands where Slurm would."""
    pytest.importorskip('submitit')
    out = tmp_path / 'out'
    spec = sweeps.read(alone)
    sweeps.claim(spec, out, False, False)
    killer = Killer(('submitit', str(out)), begun(out, '0000'))
    killer.start()
    bar = Bar('', 2, True)
    executor = Executor(kind='slurm', slurm=(('timeout_min', 10),))
    assert executors.slurm(executor, out, [0, 1], bar, cluster='local') == {}
    assert killer.killed
    assert sweeps.gather(out).groups == 2
    assert numbers(out) == numbers(alone)


def test_a_task_is_in_one_pair_of_hands(alone: Path) -> None:
    with tasks.held(alone, [1]), pytest.raises(BadInput, match='task 1 is in the hands of another process'):
        tasks.work(alone, 1)
    assert tasks.work(alone, 1) == 0  # all its members are done


def test_a_task_that_cannot_be_done_is_not_tried_again(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def refuse(out: Path, index: int, worker: int) -> subprocess.Popen[bytes]:
        started.append(index)
        executors.log(out, index).parent.mkdir(exist_ok=True)
        executors.log(out, index).write_text('error: data=mnist: not here\n')
        return subprocess.Popen(['sh', '-c', f'exit {2 if index == 0 else 1}'])

    monkeypatch.setattr(executors, 'start', refuse)
    with pytest.raises(BadInput, match=r'2 of 2 tasks could not be done \(task 0: data=mnist: not here'):
        executors.run(Executor(workers=2), tmp_path, [0, 1], quiet=True)
    assert sorted(started) == [0, *[1] * executors.TRIES]


def test_a_pool_that_is_told_to_stop_ends_its_processes(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM between two looks: the processes get it too and are waited for, the exit status is that of a preemption."""
    started = []

    def sleep(out: Path, index: int, worker: int) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(['sleep', '60']))
        return started[-1]

    @contextmanager
    def told() -> Iterator[Callable[[], int]]:
        yield lambda: signal.SIGTERM if started else 0

    monkeypatch.setattr(executors, 'start', sleep)
    monkeypatch.setattr(loop, 'signals', told)
    with pytest.raises(loop.Interrupted) as stop:
        executors.run(Executor(workers=2), tmp_path, [0, 1, 2], quiet=True)
    assert stop.value.code == loop.PREEMPTED
    assert [process.returncode for process in started] == [-signal.SIGTERM] * 2


def test_a_sweep_in_one_process_takes_no_task_that_another_has(alone: Path) -> None:
    spec = sweeps.read(alone)
    with tasks.held(alone, [1]), pytest.raises(tasks.Held, match='task 1 is in the hands of another process'):
        sweeps.sweep(
            spec.run, spec.grid, spec.seeds, mode=spec.mode, members=spec.members, out=alone, resume=True,
            samples=spec.samples, config=spec.config, summary=spec.summary, quiet=True,
        )  # fmt: skip


def test_without_submitit_the_user_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(executors.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(BadInput, match=r"needs the package submitit, which is not here; pip install 'submitit>=1.5'"):
        executors.run(Executor(kind='slurm'), tmp_path, [0], quiet=True)


def test_an_executor_needs_a_folder() -> None:
    with pytest.raises(BadInput, match='executor: its processes meet in a folder; give out'):
        sweeps.sweep(run(), GRID, 1, executor=Executor(), quiet=True)


def test_every_worker_has_an_accelerator_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def popen(command: Any, env: dict[str, str], **more: Any) -> None:
        seen.append(env['CUDA_VISIBLE_DEVICES'])

    monkeypatch.setattr(executors.subprocess, 'Popen', popen)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,7')
    for worker in range(3):
        executors.start(tmp_path, 0, worker)
    assert seen == ['4', '7', '4']


def test_the_folder_alone_tells_the_sweep(alone: Path) -> None:
    spec = sweeps.read(alone)
    assert spec.run == run()
    assert spec.grid == GRID
    assert json.loads((alone / tasks.SPEC).read_text()) == json.loads(json.dumps(sweeps.to_json(spec)))
