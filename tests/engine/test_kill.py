"""Runs that are killed or told to stop at random moments, and end with the same bits as one that was left in peace.

LIKENESS_KILLS=20 for more than six kills; they are spread over a VAE, a GAN (two optimisers, EMA, batch norm) and EM.
"""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scripts.train
from research import run as runs
from research.engine import card, checkpoint, fit, loop
from research.engine.checkpoint import Checkpoints, Place
from tests.engine import bowl
from tests.engine.nursery import PLAIN, ROOT, Child, Nursery
from tests.engine.test_fit import identical, kill_at_move, newest
from tests.runs import epochs

KILLS = int(os.environ.get('LIKENESS_KILLS', '6'))
EPOCHS = 6
SMALL = {
    'vae': ('vae_digits', 'trainer.model.encoder.hidden=8', 'trainer.model.decoder.hidden=8', 'trainer.model.latent=2'),
    'gan': ('gan_digits', 'trainer.model.generator.hidden=8', 'trainer.model.critic.hidden=8'),  # batch norm and EMA
    'em': ('mixture_digits', 'trainer.model.components=5', 'batch_size=200'),
}


def command(name: str, folder: Path, *more: str) -> list[str]:
    """What a user would type, first and every other time. A checkpoint an epoch: most of the run is spent saving."""
    config, *settings = SMALL[name]
    words = [f'epochs={EPOCHS}', 'checkpoint_every=1', *settings]
    return [config, *(f'--set={word}' for word in words), f'--out={folder}', '--resume', *more]


class Look(NamedTuple):
    """What a run folder shows from outside."""

    card: bool
    logged: int  # epochs
    whole: tuple[int, ...]  # checkpoints
    cut: tuple[str, ...]  # those that were being written

    @classmethod
    def at(cls, folder: Path) -> Look:
        saved, log = folder / 'checkpoints', folder / 'metrics.jsonl'
        lines = log.read_bytes().count(b'\n') if log.is_file() else 0
        cut = tuple(sorted(path.name for path in saved.glob('*') if not path.name.isdigit()))
        return cls((folder / 'card.json').is_file(), lines, tuple(sorted(checkpoint.numbered(saved))), cut)


def phase(folder: Path, before: Look, after: Look) -> str:
    """What a killed process was at, by what it left."""
    if not after.card:
        return 'before the card'
    if set(after.cut) - set(before.cut):
        return 'in a save'
    if before == after:
        return 'before the first step'
    if any(checkpoint.damage(folder / 'checkpoints' / str(step)) for step in after.whole):
        return 'in a deletion'
    if after.whole and not (folder / 'checkpoints' / str(after.whole[-1]) / checkpoint.SEAL).is_file():
        return 'before a seal'
    return 'between saves' if after.logged < EPOCHS or len(after.whole) < 3 else 'after training'


def kill(child: Child, folder: Path, chance: random.Random) -> None:
    """At any time: in the start of the process, which takes a second or two, or in an epoch and its save.

    By progress and not by the clock, for a busy machine takes its time.
    """
    done = min(Look.at(folder).logged, EPOCHS - 1)
    epochs = chance.randrange(done, EPOCHS)
    while Look.at(folder).logged < epochs and child.poll() is None:
        time.sleep(0.002)
    time.sleep(chance.uniform(0.0, 2.0 if epochs == done else 0.3))
    child.send(signal.SIGKILL)


def torment(nursery: Nursery, name: str, folder: Path, kills: int, chance: random.Random) -> list[str]:
    """Run one command again and again until it ends, killed up to `kills` times; what it was at each time."""
    phases: list[str] = []
    while True:
        before = Look.at(folder)
        child = nursery.start(command(name, folder), folder.with_suffix('.log'))
        if len(phases) < kills and (not phases or chance.random() < 0.5):
            kill(child, folder, chance)
        code = child.wait()
        if code != -signal.SIGKILL:
            assert code == 0, child.said
            return phases
        phases.append(phase(folder, before, Look.at(folder)))


def state(folder: Path) -> Any:
    """All of a run's newest checkpoint: parameters, moments, averages, batch statistics, sums."""
    _, template, _ = runs.planned(card.read(folder), folder)
    book = Checkpoints(folder)
    try:
        progress, place, lost, _ = book.restore(template)
    finally:
        book.close()
    assert (place.step, lost) == (0, [])
    return progress


def assert_same(folder: Path, whole: Path) -> None:
    """Two finished runs are the same but for the time they took, and neither left anything half made."""
    identical(state(folder), state(whole))
    assert epochs(folder) == epochs(whole)
    assert card.read(folder)['run'] == card.read(whole)['run']
    with np.load(folder / 'samples.npz') as ours, np.load(whole / 'samples.npz') as theirs:
        np.testing.assert_array_equal(ours['samples'], theirs['samples'])
    saved = folder / 'checkpoints'
    assert set(checkpoint.numbered(saved)) >= set(checkpoint.numbered(whole / 'checkpoints'))
    assert (saved / str(max(checkpoint.numbered(saved))) / checkpoint.SEAL).is_file()
    assert not [path for path in folder.rglob('*') if path.name.endswith(('tmp', '.partial'))]


@pytest.mark.parametrize('name', SMALL)
def test_a_killed_run_ends_with_the_same_bits(nursery: Nursery, tmp_path: Path, name: str) -> None:
    seed, wanted, found = random.SystemRandom().randrange(10**6), -(-KILLS // len(SMALL)), Counter[str]()
    assert nursery.start(command(name, tmp_path / 'whole'), tmp_path / 'whole.log').wait() == 0
    chance = random.Random(seed)
    while (left := wanted - found.total()) > 0:
        folder = tmp_path / f'killed_{found.total()}'
        phases = torment(nursery, name, folder, left, chance)
        print(f'seed {seed}, {name}: killed {", ".join(phases)}')  # shown where a test fails
        assert_same(folder, tmp_path / 'whole')
        found.update(phases)


def test_sigterm_saves_and_the_command_it_names_continues(nursery: Nursery, tmp_path: Path) -> None:
    long = ('--set=epochs=150', '--set=checkpoint_every=0')  # two seconds, and nothing saved but because of the signal
    whole = nursery.start(command('vae', tmp_path / 'whole', *long), tmp_path / 'whole.log')
    words = [sys.executable, '-m', 'scripts.train', *command('vae', tmp_path / 'parts', *long)]
    stopped = subprocess.Popen(words, cwd=ROOT, env=PLAIN, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while stopped.poll() is None and not Look.at(tmp_path / 'parts').logged:
            time.sleep(0.005)
        begun = time.perf_counter()
        stopped.send_signal(signal.SIGTERM)
        out, _ = stopped.communicate(timeout=60)
    finally:
        stopped.kill()
    assert (stopped.returncode, time.perf_counter() - begun < 20) == (75, True), out
    assert len(epochs(tmp_path / 'parts')) < 150
    python, m, module, *again = shlex.split(out.strip().splitlines()[-1].split('Continue with: ')[1])
    assert (python, m, module) == ('python', '-m', 'scripts.train')
    child = nursery.start(again, tmp_path / 'again.log')
    assert (child.wait(), whole.wait()) == (0, 0), child.said
    assert_same(tmp_path / 'parts', tmp_path / 'whole')


def test_sigterm_with_nothing_to_save_has_the_same_status(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def train(argv: list[str]) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception:  # as a reader of damaged files catches whatever they raise
            return 0
        return 0

    monkeypatch.setattr(scripts.train, 'train', train)
    assert scripts.train.main(['train']) == loop.PREEMPTED
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_in_the_last_piece_leaves_a_finished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = bowl.plan(epochs=1)
    pieces: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(fit.Bar, 'move', lambda self, steps, *rest: pieces.append(steps))
        whole = fit.fit(plan, None, quiet=True)
    kill_at_move(monkeypatch, len(pieces), signal.SIGTERM)
    identical(fit.fit(plan, tmp_path, quiet=True), whole)
    assert newest(plan, tmp_path)[1] == Place(1, 0)


@pytest.mark.parametrize('every', [0, 1])
def test_signals_during_a_save_do_not_cut_it_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """A scheduler that sends SIGTERM twice, and one that sends it while the last checkpoint is written."""
    finish = Checkpoints.finish

    def signalled(self: Checkpoints) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        finish(self)

    plan = bowl.plan(epochs=2, every=every)
    whole = fit.fit(plan, None, quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, 'finish', signalled)
        patch.setattr(Checkpoints, 'close', finish)
        if every:  # the first save is followed by another epoch, which is not begun
            with pytest.raises(fit.Interrupted, match='stopped after epoch 1, step 0'):
                fit.fit(plan, tmp_path, quiet=True)
        else:
            identical(fit.fit(plan, tmp_path, quiet=True), whole)
    assert newest(plan, tmp_path)[1] == Place(1 if every else 2, 0)
    identical(fit.fit(plan, tmp_path, resume=True, quiet=True), whole)


def test_a_run_killed_before_its_first_card_was_whole_has_left_nothing(tmp_path: Path) -> None:
    (tmp_path / 'card.json.partial').write_text('{"form')
    assert not runs.occupied(tmp_path)
    (tmp_path / 'card.json').write_text('{}')
    assert runs.occupied(tmp_path)


def test_a_folder_whose_deletion_was_cut_short_still_is_a_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('metrics.jsonl', 'card.json', 'results.jsonl'):
        (tmp_path / name).write_text('')
    deleted: list[str] = []

    def unlink(path: Path) -> None:
        deleted.append(path.name)
        if len(deleted) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, 'unlink', unlink)
    with pytest.raises(KeyboardInterrupt):
        runs.clear(tmp_path)
    assert 'card.json' not in deleted


def test_a_deletion_that_was_cut_short_and_a_save_that_was(tmp_path: Path) -> None:
    """Of the oldest checkpoint some files are gone, the newest is not sealed, and a fourth was being written."""
    tree = {'a': jnp.arange(1000.0)}
    book = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        book.save(step, tree, Place(step, 0), value=10.0 - step)
    book.close()
    saved = tmp_path / 'checkpoints'
    (saved / '1' / checkpoint.SEAL).unlink()
    (saved / '1' / 'state' / '_METADATA').unlink()
    (saved / '3' / checkpoint.SEAL).unlink()
    (saved / '4.orbax-checkpoint-tmp' / 'state').mkdir(parents=True)
    book = Checkpoints(tmp_path)
    template = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), tree)
    assert book.restore(template)[1:3] == (Place(3, 0), [])
    book.forget(3)
    assert not (saved / '4.orbax-checkpoint-tmp').exists()
    for step in (4, 5, 6):
        book.save(step, tree, Place(step, 0), value=9.0)
    book.close()
    assert sorted(checkpoint.numbered(saved)) == [3, 4, 5, 6]  # 3 has the least value
