"""Run cards that were garbled, or written by somebody who means harm: one sentence, and nothing is run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from research.engine import card as cards
from research.engine import override
from research.engine.mesh import Mesh
from scripts import evaluate, sample, train
from tests.command import Command, caller
from tests.runs import SMALL, card, digits


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits(tmp_path_factory.mktemp('card') / 'vae_digits')


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return caller(capsys, monkeypatch)


def changed(found: dict[str, Any], path: str, value: Any) -> str:
    """A card as text with one value at a dotted path replaced, or taken out where the value is ..."""
    node: Any = found
    *inner, last = path.split('.')
    for name in inner:
        node = node[name]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return json.dumps(found)


CARDS: list[tuple[str, Any, str]] = [
    ('run.trainer.model.class', 'os.system', "'os.system' is no class of this version"),
    ('run.trainer.class', 'research.run.shutil', 'is no class of this version'),
    ('run.class', 'research.models.vae.VAE', 'unexpected keyword'),
    ('run.trainer.model.latent', 'many', "trainer.model.latent='many': expected a whole number"),
    ('run.trainer.model.latent', -3, 'expected a value at least 1'),
    ('run.trainer.model.encoder', None, 'trainer.model.encoder=None: expected'),
    ('run.trainer.model.encoder', {'class': 'research.data.toy.Toy'}, 'card.json'),
    ('run.trainer.model.encoder.hidden', [8, [8]], 'expected whole numbers'),
    ('run.trainer', ..., 'card.json'),
    ('run', [], 'run is missing or of another type'),
    ('format', 99, 'format 99, and this version reads up to'),
    ('format', 'x', 'format is missing or of another type'),
    ('train_shape', [], 'card.json'),
    ('train_shape', [[1, 'x'], 'float32'], 'card.json'),
    ('train_shape', [[1400, 8, 8, 1], 'evil'], 'card.json'),
    ('data', {}, 'card.json'),
    ('domain', {'kind': 'unit'}, 'card.json'),
]


@pytest.mark.parametrize(('path', 'value', 'said'), CARDS, ids=[f'{path}={value}' for path, value, _ in CARDS])
def test_a_card_that_makes_no_sense_is_refused(
    path: str, value: Any, said: str, trained: Path, tmp_path: Path, command: Command
) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / 'run'))
    (folder / 'card.json').write_text(changed(card(trained), path, value))
    done = command(sample, folder, '--n', '1', '--out', tmp_path / 'x.npz')
    assert done.code == 2, done.out
    (error,) = done.err.splitlines()
    assert 'card.json' in error
    assert said in error
    assert not (tmp_path / 'x.npz').exists()


@pytest.mark.parametrize('text', ['', '{', '[]', '"run"', '[' * 100_000, '{"run": {}}'])
def test_a_garbled_card_is_refused(text: str, trained: Path, tmp_path: Path, command: Command) -> None:
    folder = tmp_path / 'run'
    folder.mkdir()
    (folder / 'card.json').write_text(text)
    for done in (
        command(evaluate, folder),
        command(train, 'vae_digits', *SMALL, '--out', folder, '--resume'),
        command(train, 'vae_digits', *SMALL, '--out', folder, '--overwrite'),
    ):
        assert done.code == 2
        assert str(folder / 'card.json') in done.err
    assert [path.name for path in folder.iterdir()] == ['card.json']


def test_a_card_of_format_1_had_devices_where_there_is_a_mesh_now(trained: Path) -> None:
    found = card(trained)
    found['run'] = {
        name: value for name, value in found['run'].items() if name not in ('mesh', 'keep_last', 'precision')
    }
    found['values'] = {name: value for name, value in found['values'].items() if not name.startswith('mesh')}
    old = found | {'format': 1, 'run': found['run'] | {'devices': 4}, 'values': found['values'] | {'devices': 4}}
    now = cards.migrated(old)
    run = override.from_json(now['run'], 'card.json')
    assert (run.mesh, run.keep_last) == (Mesh(data=4), 3)
    assert 'devices' not in now['values']
    assert now['values']['mesh.data'] == 4
    assert cards.migrated(now | {'format': 2}) == now | {'format': 2}
    assert 'devices' in old['run']
