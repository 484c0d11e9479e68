"""Two processes on loopback that train one run, are told to stop, lose each other, and end as if nothing had happened."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from research import run as runs
from research.engine import hosts, override
from scripts import configs
from tests.engine.nursery import Child, Nursery
from tests.engine.test_kill import Look, assert_same
from tests.runs import epochs

EPOCHS = 6
WORDS = (
    f'epochs={EPOCHS}', 'checkpoint_every=1', 'mesh.data=2', 'trainer.model.encoder.hidden=8',
    'trainer.model.decoder.hidden=8', 'trainer.model.latent=2',
)  # fmt: skip


def pair(nursery: Nursery, folder: Path, *more: str) -> list[Child]:
    """Two processes of one device each, on a port that is free."""
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        port = found.getsockname()[1]
    words = ['vae_digits', *(f'--set={word}' for word in WORDS), f'--out={folder}', *more]
    words += ['--distributed', f'--coordinator=127.0.0.1:{port}', '--processes=2']
    return [nursery.start([*words, f'--process={i}'], folder.with_suffix(f'.{i}.log')) for i in range(2)]


def until(children: list[Child], folder: Path, logged: int) -> None:
    """Wait for so many epochs in the log."""
    end = time.perf_counter() + 120
    while Look.at(folder).logged < logged:
        assert time.perf_counter() < end
        assert [child.poll() for child in children] == [None, None], children[0].said + children[1].said
        time.sleep(0.005)


def ends(children: list[Child]) -> tuple[int, ...]:
    return tuple(child.wait() for child in children)


def lose(children: list[Child], victim: int, number: signal.Signals) -> float:
    """Kill or freeze one; the seconds until the other has ended as it should."""
    survivor = children[1 - victim]
    children[victim].send(number)
    begun = time.perf_counter()
    status = survivor.wait(60)
    spent = time.perf_counter() - begun
    children[victim].send(signal.SIGKILL)
    assert children[victim].wait() == -signal.SIGKILL
    assert status == hosts.LOST, survivor.said
    assert survivor.said.endswith(hosts.SENTENCE)
    return spent


@pytest.fixture(scope='module')
def whole(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('hosts') / 'whole'
    children = pair(nursery, folder)
    assert ends(children) == (0, 0), children[0].said + children[1].said
    assert f'done: {folder}' in children[0].said
    assert 'done' not in children[1].said
    return folder


def test_two_processes_train_as_two_devices_of_one(whole: Path, tmp_path: Path) -> None:
    if len(jax.devices()) < 2:
        pytest.skip('needs two devices, simulated or real')
    fitted = runs.train(override.apply(configs.build('vae_digits'), list(WORDS)), tmp_path, quiet=True)
    ours, theirs = epochs(whole), epochs(tmp_path)
    assert len(ours) == EPOCHS
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys()
        np.testing.assert_allclose(a['loss'], b['loss'], rtol=1e-5)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)  # noqa: E731
    jax.tree.map(close, runs.load(whole).params, hosts.local(fitted.params))


def test_what_stops_one_stops_both_and_the_run_goes_on(nursery: Nursery, whole: Path, tmp_path: Path) -> None:
    """One is told to stop, then it freezes, then the other is killed: the end is that of a run which was left in peace.

    Measured: a killed one is noticed in 0.1 s, a frozen one, whose connection holds, in 10.
    """
    folder = tmp_path / 'parts'
    children = pair(nursery, folder)
    until(children, folder, 1)
    children[1].send(signal.SIGTERM)
    assert ends(children) == (75, 75), children[0].said + children[1].said
    assert 'Continue with: ' in children[0].said
    for victim, number in ((1, signal.SIGSTOP), (0, signal.SIGKILL)):  # 0 is the one that the others ask for each other
        done = Look.at(folder).logged
        children = pair(nursery, folder, '--resume')
        until(children, folder, done + 1)
        spent = lose(children, victim, number)
        print(f'{number.name} of process {victim}: the other ended after {spent:.1f} s')
        assert spent < 15
    children = pair(nursery, folder, '--resume')
    assert ends(children) == (0, 0), children[0].said + children[1].said
    assert_same(folder, whole)


def test_a_process_without_work_is_refused(nursery: Nursery, tmp_path: Path) -> None:
    children = pair(nursery, tmp_path / 'run', '--set=mesh.data=1')
    assert ends(children) == (2, 2)
    assert 'which leaves 1 of 2 processes without work; they have 2 devices together' in children[0].said
    assert not (tmp_path / 'run').exists()


def test_nobody_to_ask_and_flags_without_their_meaning(nursery: Nursery, tmp_path: Path) -> None:
    alone = nursery.start(['vae_digits', '--distributed', f'--out={tmp_path / "run"}'], tmp_path / 'alone.log')
    stray = nursery.start(['vae_digits', '--process=0', f'--out={tmp_path / "run"}'], tmp_path / 'stray.log')
    assert ends([alone, stray]) == (2, 2)
    assert 'expected --coordinator HOST:PORT' in alone.said
    assert '--process are for --distributed' in stray.said
