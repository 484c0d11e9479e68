"""A run from end to end, by the functions behind the command lines."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from research import run as runs
from research.data import Images, Text, Toy, named
from research.engine import override
from research.evaluate import Result
from research.run import Run
from research.types import BadInput
from scripts import configs
from tests.runs import SMALL, card, digits, epochs, lines

TINY_GAN = ('epochs=1', 'trainer.model.generator.hidden=8', 'trainer.model.critic.hidden=8', 'trainer.model.latent=2')


@pytest.fixture(scope='module')
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits(tmp_path_factory.mktemp('run') / 'vae')


@pytest.fixture(scope='module')
def gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits(tmp_path_factory.mktemp('run') / 'gan', *TINY_GAN, config='gan_digits')


@pytest.fixture(scope='module')
def ngram(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """On the user's own text, with a character that HTML would take for its own."""
    folder = tmp_path_factory.mktemp('run')
    (folder / 'own.txt').write_text('the <b>cat</b> sat on the mat & so on; ' * 40, encoding='utf-8')
    run = configs.build('ngram_python')
    run = dataclasses.replace(run, data=named(str(folder / 'own.txt'), run.data))
    runs.train(override.apply(run, ['data.length=16']), folder / 'ngram', config='ngram_python', quiet=True)
    return folder / 'ngram'


def small(config: str = 'vae_digits', *more: str) -> Run:
    assignments = [flag.removeprefix('--set=') for flag in SMALL] if config == 'vae_digits' else []
    return override.apply(configs.build(config), [*assignments, *more])


def test_a_run_folder_tells_all_about_the_run(vae: Path) -> None:
    files = {path.name for path in vae.iterdir()} - {'tensorboard'}
    pictures = {'samples.npz', 'samples.png', 'data.png', 'latents.npz'}
    assert files == {'card.json', 'metrics.jsonl', 'results.jsonl', 'checkpoints'} | pictures
    found = card(vae)
    assert (found['config'], found['model'], found['trainer'], found['seed']) == (
        'vae_digits',
        'VAE',
        'GradientTrainer',
        0,
    )
    assert found['summary'].startswith("VAE on scikit-learn's 8x8 digits")
    assert found['overrides'][0] == 'epochs=2'
    assert found['values']['trainer.model.encoder.hidden'] == [8]
    assert found['values']['trainer.learning_rate'] == 1e-3
    assert found['network'] is True
    encoder, decoder = 64 * 8 + 8 + 8 * 4 + 4, 2 * 8 + 8 + 8 * 128 + 128
    assert found['parameters'] == encoder + decoder  # and not the constant offset, which is carried
    assert len(found['data']['sha256']) == 64
    assert found['data']['protocol']['sizes'] == {'train': 1400, 'valid': 0, 'test': 397}
    assert {'python', 'jax', 'flax', 'numpy'} <= found['versions'].keys()
    assert 'cores' in found['device']
    assert {'commit', 'domain', 'levels', 'train_shape', 'format'} <= found.keys()


def test_each_epoch_is_one_line_of_finite_numbers(vae: Path) -> None:
    rows = epochs(vae)
    assert [(row['epoch'], row['step']) for row in rows] == [(1, 14), (2, 28)]
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert rows[1]['loss'] < rows[0]['loss']
    assert {'loss', 'rate', 'distortion'} <= rows[0].keys()
    (trained,) = lines(vae / 'results.jsonl')
    assert (trained['metric'], trained['unit'], trained['n']) == ('training_seconds', 'seconds', 1)
    assert trained['value'] > 0


def test_what_is_loaded_is_what_was_trained(tmp_path: Path) -> None:
    fitted = runs.train(small(), tmp_path / 'run', quiet=True)
    again = runs.load(tmp_path / 'run')
    assert again.run == fitted.run
    assert again.domain == fitted.domain
    np.testing.assert_array_equal(runs.draw(again, 5, seed=3), runs.draw(fitted, 5, seed=3))
    assert (runs.draw(again, 5, seed=3) != runs.draw(again, 5, seed=4)).any()


def test_a_score_says_what_it_is_of(vae: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(vae, tmp_path / 'run'))
    results = runs.evaluate_folder(folder, 9, 'test', None)
    told = lines(folder / 'results.jsonl')[1:]
    assert [{name: line[name] for name in Result._fields} for line in told] == [result._asdict() for result in results]
    nll, bits, distortion, rate, active, mmd, frechet, ndb, js = results
    assert (nll.metric, nll.unit, nll.kind, nll.n, nll.split) == ('test_nll', 'nats per example', 'bound', 397, 'test')
    assert nll.settings['samples'] == 9
    assert nll.settings['preprocessing'] == 'dequantise'
    assert nll.settings['per_grey_level'] is True
    assert 0 < nll.settings['standard_error'] < 5
    assert 0 < nll.value < 64 * np.log(17) * 1.5
    assert (bits.metric, bits.unit) == ('bits_per_dim', 'bits per dimension')
    assert bits.value == pytest.approx(nll.value / 64 / np.log(2))
    assert [r.metric for r in (mmd, frechet, ndb, js)] == ['pixel_mmd', 'pixel_frechet', 'ndb', 'ndb_js']
    assert [r.metric for r in (distortion, rate, active)] == ['distortion', 'rate', 'active_units']
    assert 0 < rate.value < 50 and rate.unit == 'nats' and 0 <= active.value <= active.settings['of']
    assert {r.kind for r in (distortion, rate, active, mmd, frechet, ndb, js)} == {'estimate'}
    assert ndb.settings == {
        'threshold': 1.96, 'bins': 10, 'samples': 397, 'binned': 1400, 'preprocessing': 'dequantise',
    }  # fmt: skip


def test_more_samples_tighten_the_bound(vae: Path) -> None:
    fitted, data = runs.load(vae), Images(name='digits', values='dequantise').load()
    loose, tight = (runs.evaluate(fitted, data, k).results[0].value for k in (1, 50))
    assert tight < loose


def test_a_gan_gives_no_score(gan: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(gan, tmp_path / 'run'))
    results = runs.evaluate_folder(folder, None, 'test', None)
    assert [result.metric for result in results] == ['pixel_mmd', 'pixel_frechet', 'ndb', 'ndb_js']
    points = override.apply(configs.build('gan_ring'), [*TINY_GAN, 'data.train=200', 'data.test=50'])
    runs.train(points, tmp_path / 'ring', quiet=True)
    assert runs.evaluate_folder(tmp_path / 'ring', None, 'test', None) == []


def test_a_text_is_scored_by_character(ngram: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ngram, tmp_path / 'run'))
    nll, bits = runs.evaluate_folder(folder, None, 'test', None)
    characters = 39 * 40 // 10
    assert (nll.metric, nll.unit, nll.kind, nll.n) == ('test_nll', 'nats per character', 'exact', characters)
    assert bits.unit == 'bits per character'
    assert bits.value == pytest.approx(nll.value / np.log(2))
    assert nll.value < 0.3  # the text repeats itself
    assert set((folder / 'samples.txt').read_text()) <= set(card(folder)['alphabet']) | {'\n'}
    assert (folder / 'data.txt').read_text().strip() in 'the <b>cat</b> sat on the mat & so on; ' * 40


def test_samples_are_a_picture_arrays_or_text(vae: Path, ngram: Path, tmp_path: Path) -> None:
    runs.sample_folder(vae, tmp_path / 'x.npz', 6, 0, None)
    with np.load(tmp_path / 'x.npz', allow_pickle=False) as kept:
        assert kept['samples'].shape == (6, 8, 8, 1)
        assert np.isfinite(kept['samples']).all()
    runs.sample_folder(vae, tmp_path / 'x.png', 6, 0, None)
    with Image.open(tmp_path / 'x.png') as picture:
        assert picture.format == 'PNG'
        assert min(picture.size) >= 16
    runs.sample_folder(ngram, tmp_path / 'x.txt', 3, 0, 20)
    assert [len(text) for text in (tmp_path / 'x.txt').read_text().rstrip('\n').split('\n\n')] == [20] * 3
    runs.sample_folder(ngram, tmp_path / 'ids.npz', 3, 0, 20)
    with np.load(tmp_path / 'ids.npz', allow_pickle=False) as kept:
        assert kept['samples'].shape == (3, 20)
    for folder, name in ((ngram, 'y.png'), (vae, 'y.txt')):
        with pytest.raises(BadInput, match='this run makes'):
            runs.sample_folder(folder, tmp_path / name, 1, 0, None)
        assert not (tmp_path / name).exists()


def test_sampling_needs_the_run_folder_alone(vae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Any, data_dir: str | None = None) -> Any:
        raise BadInput('there is no data here')

    for source in (Images, Text, Toy):
        monkeypatch.setattr(source, 'load', denied)
    folder = Path(shutil.copytree(vae, tmp_path / 'moved'))
    runs.sample_folder(folder, tmp_path / 'x.npz', 2, 0, None)
    with pytest.raises(BadInput, match='there is no data here'):
        runs.evaluate_folder(folder, None, 'test', None)


def test_a_truncated_checkpoint_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = digits(tmp_path / 'run', 'checkpoint_every=1')
    for path in (folder / 'checkpoints' / '28').rglob('*'):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:20])
    runs.sample_folder(folder, tmp_path / 'x.npz', 2, 0, None)
    said = capsys.readouterr().out
    assert f'{folder}: checkpoint 28 cannot be read' in said
    assert 'using the one before it' in said
    for path in (folder / 'checkpoints' / '14').rglob('*'):
        if path.is_file():
            path.unlink()
    with pytest.raises(BadInput, match='no checkpoint can be read'):
        runs.load(folder)


@pytest.mark.parametrize('shape', [(12, 10), (5, 7, 3)])
def test_the_nets_adapt_to_images_of_another_size(shape: tuple[int, ...], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / 'own.npz', train=rng.integers(0, 256, (60, *shape), np.uint8))
    run = small('vae_digits', 'batch_size=20')
    run = dataclasses.replace(run, data=named(str(tmp_path / 'own.npz'), run.data))
    fitted = runs.train(run, tmp_path / 'run', quiet=True)
    height, width, *channels = shape
    assert fitted.domain.shape == (height, width, *(channels or [1]))
    assert runs.draw(fitted, 3).shape == (3, *fitted.domain.shape)
    assert card(tmp_path / 'run')['data']['protocol']['sizes'] == {'train': 54, 'valid': 0, 'test': 6}
    assert runs.evaluate_folder(tmp_path / 'run', 2, 'test', None)[0].n == 6


def test_rows_of_the_users_own_train_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / 'own.npz',
        train=rng.normal(size=(40, 3)),
        valid=rng.normal(size=(5, 3)),
        test=rng.normal(size=(8, 3)),
    )
    run = small('vae_ring', 'epochs=1', 'batch_size=20', 'trainer.model.encoder.hidden=8')
    run = dataclasses.replace(run, data=named(str(tmp_path / 'own.npz'), run.data))
    runs.train(run, tmp_path / 'run', quiet=True)
    results = [runs.evaluate_folder(tmp_path / 'run', 2, split, None) for split in ('valid', 'test')]
    assert [(r[0].metric, r[0].n) for r in results] == [('valid_nll', 5), ('test_nll', 8)]


def spoilt(kind: str) -> dict[str, np.ndarray]:
    train = np.random.default_rng(0).random((20, 4, 4)).astype(np.float32)
    if kind == 'nan':
        train[3, 1, 2] = np.nan
    if kind == 'objects':
        return {'train': np.array([{'run': 'me'}] * 20, dtype=object)}
    if kind == 'sizes':
        return {'train': train, 'test': train[:, :3]}
    if kind == 'empty':
        return {'train': train[:0]}
    return {'train': train} if kind == 'nan' else {'other': train}


@pytest.mark.parametrize(
    ('kind', 'said'),
    [
        ('nan', r'1 values are NaN, infinite .*, the first at \(3, 1, 2\)'),
        ('objects', r"array 'train': it cannot be read"),
        ('sizes', r"array 'test': one example has shape \(3, 4\), and in 'train' \(4, 4\)"),
        ('empty', 'it is empty'),
        ('other', "has no array 'train': it has 'other'"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(kind: str, said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / 'own.npz', **spoilt(kind))  # type: ignore[arg-type]
    run = dataclasses.replace(small(), data=Images(name=str(tmp_path / 'own.npz'), values='dequantise'))
    with pytest.raises(BadInput, match=said) as error:
        runs.train(run, tmp_path / 'run', quiet=True)
    assert 'own.npz' in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ['own.npz']


@pytest.mark.parametrize(
    ('text', 'said'), [(b'', 'is empty'), (b'  \n ', 'is empty'), (b'abc\xff' * 20, 'is not UTF-8')]
)
def test_a_text_that_cannot_be_used_is_refused(text: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / 'own.txt').write_bytes(text)
    run = dataclasses.replace(small('ngram_python'), data=Text(name=str(tmp_path / 'own.txt'), context=7))
    with pytest.raises(BadInput, match=said):
        runs.train(run, tmp_path / 'run', quiet=True)
    assert not (tmp_path / 'run').exists()


def test_resuming_continues_and_counts_the_time_of_both_parts(vae: Path, tmp_path: Path) -> None:
    """Trained for one epoch, then resumed for two: the figures of two epochs without a pause."""
    digits(tmp_path / 'run', 'epochs=1')
    runs.train(small(), tmp_path / 'run', resume=True, quiet=True)
    assert epochs(tmp_path / 'run') == epochs(vae)
    runs.train(small(), tmp_path / 'run', resume=True, quiet=True)
    *_, before, last = lines(tmp_path / 'run' / 'results.jsonl')
    spent = sum(row['seconds'] for row in lines(tmp_path / 'run' / 'metrics.jsonl'))
    assert min(before['value'], last['value']) >= spent


def test_what_was_never_saved_is_begun_again(vae: Path, tmp_path: Path) -> None:
    digits(tmp_path / 'run')
    shutil.rmtree(tmp_path / 'run' / 'checkpoints')
    runs.train(small(), tmp_path / 'run', resume=True, quiet=True)
    assert epochs(tmp_path / 'run') == epochs(vae)


def test_the_seed_decides(vae: Path, tmp_path: Path) -> None:
    digits(tmp_path / 'same')
    digits(tmp_path / 'other', 'seed=1')
    assert epochs(tmp_path / 'same') == epochs(vae)
    assert epochs(tmp_path / 'other') != epochs(vae)
