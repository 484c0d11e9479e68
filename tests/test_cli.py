"""The command lines: what they answer at once, what they refuse, and in which words."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from experiments import binary20
from research.engine.checkpoint import Place
from research.engine.fit import Interrupted
from research.report import cells, records
from scripts import evaluate, report, sample, train
from tests.command import Command, caller
from tests.runs import SMALL, digits, epochs, snapshot

ROOT = Path(__file__).resolve().parents[1]
SLOW = ('jax', 'flax', 'optax', 'scipy', 'sklearn', 'tensorflow_datasets', 'orbax')


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits(tmp_path_factory.mktemp('cli') / 'vae_digits')


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return caller(capsys, monkeypatch)


def watched(*line: str | Path) -> tuple[int, str, list[str]]:
    """Exit status, output and slow imports of a command in a process of its own."""
    program = (
        'import atexit, runpy, sys\n'
        f'atexit.register(lambda: print("\\nslow:", *(n for n in {SLOW} if n in sys.modules)))\n'
        'sys.argv = sys.argv[1:]\n'
        'runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)\n'
    )
    whole = [sys.executable, '-c', program, *map(str, line)]
    done = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    said, _, slow = done.stdout.rpartition('slow:')
    return done.returncode, said + done.stderr, slow.split()


def test_what_needs_no_arrays_imports_no_jax(trained: Path, tmp_path: Path) -> None:
    code, said, slow = watched('scripts.train', '--list')
    assert (code, slow) == (0, [])
    assert 'vae_digits  ' in said
    assert 'Kingma' not in said  # one line each
    code, said, slow = watched('scripts.train', '--help')
    assert (code, slow) == (0, [])
    assert all(f'--{flag}' in said for flag in ('set', 'data', 'seed', 'out', 'data_dir', '[no]resume', '[no]list'))
    code, said, slow = watched('scripts.train', 'vae_digit')
    assert (code, slow) == (2, [])
    assert 'config vae_digit: there is none of this name; the nearest are vae_digits' in said
    code, said, slow = watched('scripts.report', trained, '--out', tmp_path / 'page.html')
    assert (code, slow) == (0, [])
    for script in ('evaluate', 'sample'):
        code, said, slow = watched(f'scripts.{script}', '--help')
        assert (code, slow) == (0, [])
        assert f'python -m scripts.{script} RUN' in said


MISTAKES: list[tuple[tuple[str, ...], str]] = [
    ((), 'expected one config'),
    (('vae_digits', 'more'), 'expected one config'),
    (('vae_digits', '--sed', '1'), 'did you mean --'),
    (('vae_digits', '--seed', 'one'), 'seed'),
    (('vae_digits', '--seed', '-1'), 'seed'),
    (('vae_digits', '--seed', '4294967296'), 'seed=4294967296: expected a value at least 0 and at most 4294967295'),
    (('vae_digits', '--set', 'trainer.model.bta=4'), 'no such field; the nearest are trainer.model.beta'),
    (('vae_digits', '--set', 'trainer.model.beta=big'), 'trainer.model.beta=big: expected a finite number'),
    (('vae_digits', '--set', 'trainer.model.beta=-1'), 'trainer.model.beta=-1.0: expected a value at least 0'),
    (('vae_digits', '--set', 'trainer.model.encoder.hidden=-8'), 'hidden=-8: expected a value at least 1'),
    (('vae_digits', '--set', 'batch_size=5000'), 'batch_size=5000: the data have 1400 training examples'),
    (('vae_digits', '--set', 'mesh.data=50'), 'mesh: data=50 takes 50 devices, and there are'),
    (('mixture_digits', '--set', 'batch_size=999'), 'it must divide their number, 1400; expected 700'),
    (('rbm_digits', '--set', 'trainer.accumulate=2'), 'each part would move the model’s chains on; expected 1'),
    (('ngram_python', '--set', 'batch_size=10'), 'batch_size=10: this model counts all the data in one batch'),
    (('ngram_python', '--set', 'data.context=1'), 'order=5 looks back 4 symbols, and data.context=1 gives fewer'),
    (('transformer_python', '--set', 'trainer.model.values=3'), 'trainer.model.values=3: the data decide this'),
    (('transformer_python', '--set', 'data.length=65'), 'window=64: the data bring'),
    (('transformer_python', '--set', 'trainer.model.net.heads=3'), 'needs a multiple of it'),
    (
        ('gan_digits', '--set', 'trainer.critic_steps=3'),
        'expected a multiple of 3 (critic_steps x accumulate x mesh.data)',
    ),
    (('vae_digits', '--set', 'data.values=binarise'), 'trainer.model does not fit data=digits: Gaussian scores'),
    (('vae_digits', '--set', 'data.valid=2000'), '2000'),
    (('vae_digits', '--data', 'digitz'), "did you mean 'digits'?"),
    (('vae_digits', '--data', '../nowhere.npz'), "no file or folder '../nowhere.npz'"),
    (('vae_digits', '--resume', '--overwrite'), 'expected one of them'),
]


@pytest.mark.parametrize(('line', 'said'), MISTAKES, ids=[' '.join(line) or 'nothing' for line, _ in MISTAKES])
def test_a_mistake_is_one_line_and_leaves_nothing(
    line: tuple[str, ...], said: str, tmp_path: Path, command: Command
) -> None:
    done = command(train, *line, '--out', tmp_path / 'run')
    assert (done.code, done.out) == (2, '')
    (error,) = done.err.splitlines()
    assert error.startswith('error: ')
    assert said in error
    assert not (tmp_path / 'run').exists()


def test_missing_data_names_the_set_the_folder_and_the_command(tmp_path: Path, command: Command) -> None:
    done = command(train, 'vae_mnist', '--data_dir', tmp_path, '--out', tmp_path / 'run')
    assert done.code == 2
    assert f"Data set 'mnist' is not in {tmp_path}" in done.err
    assert f'`python -m scripts.prepare_data mnist --data_dir {tmp_path}`' in done.err
    assert not (tmp_path / 'run').exists()


def test_a_run_folder_that_exists_is_left_alone(trained: Path, command: Command) -> None:
    before = snapshot(trained)
    done = command(train, 'vae_digits', *SMALL, '--out', trained)
    assert done.code == 2
    assert f'{trained} exists; continue it with --resume, replace it with --overwrite' in done.err
    assert snapshot(trained) == before


def test_resuming_with_another_config_is_refused_by_field(trained: Path, command: Command) -> None:
    before = snapshot(trained)
    other = ('--set', 'trainer.model.beta=2', '--out', trained, '--resume')
    done = command(train, 'vae_digits', *SMALL, *other)
    assert (done.code, done.out) == (2, '')
    assert 'cannot resume, trainer.model.beta was 1.0 and is now 2.0' in done.err
    done = command(train, 'vae_digits', *SMALL, '--seed', '5', '--out', trained, '--resume')
    assert 'cannot resume, seed was 0 and is now 5' in done.err
    done = command(train, 'gan_digits', '--out', trained, '--resume')
    assert done.code == 2
    assert 'cannot resume' in done.err
    assert snapshot(trained) == before


@pytest.mark.parametrize('flag', ['--resume', '--overwrite'])
def test_a_folder_that_is_no_run_is_neither_continued_nor_deleted(flag: str, tmp_path: Path, command: Command) -> None:
    (tmp_path / 'letters.txt').write_text('dear')
    done = command(train, 'vae_digits', *SMALL, '--out', tmp_path, flag)
    assert done.code == 2
    assert f'{tmp_path}: not a run folder (it has no card.json)' in done.err
    assert [path.name for path in tmp_path.iterdir()] == ['letters.txt']
    done = command(train, 'vae_digits', *SMALL, '--out', tmp_path / 'letters.txt', flag)
    assert done.code == 2
    assert (tmp_path / 'letters.txt').read_text() == 'dear'
    done = command(train, 'vae_digits', *SMALL, '--out', tmp_path / 'letters.txt' / 'run')
    assert done.code == 2
    assert 'a run folder cannot be made there' in done.err


def test_overwrite_replaces_a_run_only_when_the_new_one_can_begin(
    trained: Path, tmp_path: Path, command: Command
) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / 'run'))
    (folder / 'old.txt').write_text('old')
    done = command(train, 'vae_digits', *SMALL, '--set', 'batch_size=5000', '--out', folder, '--overwrite')
    assert done.code == 2
    assert (folder / 'old.txt').exists()
    done = command(train, 'vae_digits', *SMALL, '--set', 'epochs=1', '--out', folder, '--overwrite')
    assert done.code == 0, done.err
    assert not (folder / 'old.txt').exists()
    assert [row['epoch'] for row in epochs(folder)] == [1]


def test_evaluate_prints_a_table_and_appends_lines(trained: Path, tmp_path: Path, command: Command) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / 'run'))
    before = (folder / 'results.jsonl').read_text()
    done = command(evaluate, folder, '--samples', '7')
    assert done.code == 0, done.err
    header, *lines = done.out.splitlines()
    assert header.split() == ['metric', 'value', '+-', 'kind', 'n', 'unit']
    measures = ['test_nll', 'bits_per_dim', 'distortion', 'rate', 'active_units']
    measures += ['pixel_mmd', 'pixel_frechet', 'ndb', 'ndb_js']
    assert [line.split()[0] for line in lines] == measures
    after = (folder / 'results.jsonl').read_text()
    assert after.startswith(before)
    added = [json.loads(line) for line in after[len(before) :].splitlines()]
    assert [row['metric'] for row in added] == [line.split()[0] for line in lines]
    assert added[0]['settings']['samples'] == 7


def test_evaluate_anneals_where_there_are_latent_variables(trained: Path, tmp_path: Path, command: Command) -> None:
    """A second bound beside test_nll, kept with the nats of each image, which add up to it."""
    folder = Path(shutil.copytree(trained, tmp_path / 'run'))
    done = command(evaluate, folder, '--samples', '50', '--annealing', '3')
    assert done.code == 0, done.err
    values = {line.split()[0]: float(line.split()[1]) for line in done.out.splitlines()[1:]}
    assert values['annealed_nll'] > values['test_nll'] - 20
    found = records.read(folder)
    line = next(line for line in found.lines if line.metric == 'annealed_nll')
    assert (line.kind, line.unit, line.n) == ('bound', 'nats per example', 397)
    assert line.settings['temperatures'] == 3 and line.settings['chains'] == 16 and 0 < line.settings['accepted'] <= 1
    assert cells.nats(found, line) is not None


def test_evaluate_refuses_what_it_cannot_score(trained: Path, tmp_path: Path, command: Command) -> None:
    before = snapshot(trained)
    assert 'not a run folder' in command(evaluate, tmp_path).err
    assert 'expected one run folder' in command(evaluate).err
    assert 'hold some out with --set data.valid=N' in command(evaluate, trained, '--split', 'valid').err
    assert command(evaluate, trained, '--samples', '0').code == 2
    assert snapshot(trained) == before


def test_sample_refuses_what_it_cannot_write(trained: Path, tmp_path: Path, command: Command) -> None:
    for out, said in [
        ('x.jpg', 'expected a file that ends in .png, .npz or .txt'),
        ('x', 'expected a file that ends in'),
        ('no/x.png', 'its folder does not exist'),
        ('x.txt', 'this run makes arrays: .png or .npz'),
    ]:
        done = command(sample, trained, '--n', '4', '--out', tmp_path / out)
        assert (done.code, done.out) == (2, '')
        assert said in done.err
    assert 'expected a file' in command(sample, trained).err
    (tmp_path / 'd.png').mkdir()
    assert 'a folder; expected a file' in command(sample, trained, '--out', tmp_path / 'd.png').err
    assert 'only samples of text' in command(sample, trained, '--length', '9', '--out', tmp_path / 'x.png').err
    assert 'not a run folder' in command(sample, tmp_path, '--out', tmp_path / 'x.png').err
    assert [path.name for path in tmp_path.iterdir()] == ['d.png']


def test_data_that_changed_since_training_are_not_scored(tmp_path: Path, command: Command) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / 'own.npz', train=rng.random((40, 2)) - 0.5, test=rng.random((20, 2)))
    line = ('vae_ring', '--data', tmp_path / 'own.npz', '--set', 'batch_size=20', '--set', 'epochs=1')
    done = command(train, *line, '--out', tmp_path / 'run')
    assert done.code == 0, done.err
    np.savez(tmp_path / 'own.npz', train=rng.random((40, 2)) - 0.5, test=rng.random((20, 2)))
    results = (tmp_path / 'run' / 'results.jsonl').read_text()
    done = command(evaluate, tmp_path / 'run')
    assert (done.code, done.out) == (2, '')
    assert 'the data are not those it was trained on (their sha256 differs' in done.err
    assert (tmp_path / 'run' / 'results.jsonl').read_text() == results
    done = command(train, *line, '--out', tmp_path / 'run', '--resume')
    assert done.code == 2
    assert 'cannot resume, the data are not those' in done.err


def test_nan_ends_a_run_with_a_sentence(tmp_path: Path, command: Command) -> None:
    done = command(train, 'vae_digits', *SMALL, '--set', 'trainer.learning_rate=1e30', '--out', tmp_path / 'run')
    assert done.code == 3
    (error,) = done.err.splitlines()
    assert error.startswith('error: NaN or infinity: ')
    assert 'epoch 1, step ' in error
    assert 'the first tensor that is not finite is ' in error
    assert command(sample, tmp_path / 'run', '--n', '2', '--out', tmp_path / 'x.npz').code == 0


def test_sigterm_saves_and_what_it_says_resumes(tmp_path: Path, command: Command) -> None:
    """A process of its own is ended by SIGTERM; the command that it prints goes on to the same figures."""
    line = ('vae_digits', *SMALL, '--set', 'epochs=60', '--out', str(tmp_path / 'a run'))
    process = subprocess.Popen(
        [sys.executable, '-m', 'scripts.train', *line],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        waited, book = time.monotonic(), tmp_path / 'a run' / 'metrics.jsonl'
        while not (book.exists() and book.stat().st_size) and process.poll() is None:
            assert time.monotonic() - waited < 90
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 75, err
    *_, last = out.splitlines()
    assert last.startswith('stopped after epoch ')
    assert 'saved. Continue with: python -m scripts.train vae_digits ' in last
    assert 0 < len(epochs(tmp_path / 'a run')) < 60
    again = shlex.split(last.split('Continue with: ')[1])[3:]
    assert again[-1] == '--resume'
    assert command(train, *again).code == 0
    assert command(train, *line[:-1], tmp_path / 'whole').code == 0
    assert epochs(tmp_path / 'a run') == epochs(tmp_path / 'whole')


def test_a_report_of_a_real_run(trained: Path, tmp_path: Path, command: Command) -> None:
    done = command(report, trained, '--out', tmp_path / 'page.html')
    assert done.code == 0, done.err
    assert 'vae_digits' in done.out
    page = (tmp_path / 'page.html').read_text('utf-8')
    assert page.count('data:image/png;base64,') >= 2  # samples and real data
    assert 'https://' not in page


def test_an_experiment_that_is_stopped_says_how_to_go_on(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stopped(*rest: object, **options: object) -> None:
        raise Interrupted(signal.SIGTERM, Place(0, 3))

    monkeypatch.setattr(binary20, 'fit_and_score', stopped)
    monkeypatch.setattr(binary20, 'chosen', lambda names: names)
    done = command(binary20, '--sets', 'any', '--out', tmp_path / 'runs')
    assert done.code == 75
    assert done.err == 'stopped after epoch 0, step 3; saved; the same command with --resume goes on\n'
