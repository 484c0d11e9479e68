"""The command that gets data: what it says, what it leaves behind."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from research.data import music
from research.types import BadInput
from scripts import prepare_data

PIECES = '{"train": [[[60, 64], []]], "valid": [[[60]]], "test": [[[61]]]}'


def ls(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*'))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A web site of our own that offers the chorales' file."""
    root = tmp_path / 'site'
    root.mkdir()
    (root / music.JSON).write_text(PIECES)
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.setattr(music, 'ADDRESS', f'http://127.0.0.1:{server.server_port}/{music.JSON}')
    monkeypatch.setitem(music.SHA256, music.JSON, hashlib.sha256(PIECES.encode()).hexdigest())
    yield root
    server.shutdown()
    server.server_close()
    thread.join()


def test_command_line(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, '-m', 'scripts.prepare_data', *arguments], capture_output=True, text=True
        )

    assert '--data_dir' in run('--help').stdout
    done = run('digits')
    assert done.returncode == 0
    assert 'train 1400, test 397 images' in done.stdout
    assert 'sha256  a3cebac4ce2a35a2' in done.stdout
    for arguments, message in (((), 'expected one NAME'), (('../x',), "no file or folder '../x'")):
        done = run(*arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_music_is_downloaded_whole_and_only_once(tmp_path: Path, site: Path) -> None:
    home = tmp_path / 'data'
    said = prepare_data.obtain('jsb_chorales', str(home))
    assert 'train 2, valid 1, test 1 time steps' in said
    assert ls(home) == ['jsb_chorales', f'jsb_chorales/{music.JSON}']
    (site / music.JSON).unlink()
    assert prepare_data.obtain('jsb_chorales', str(home)) == said


def test_wrong_download_is_refused_and_nothing_kept(tmp_path: Path, site: Path) -> None:
    (site / music.JSON).write_text(PIECES[:-10])
    with pytest.raises(BadInput, match=r"'jsb_chorales' cannot be had from .*hash.*nothing was kept"):
        prepare_data.obtain('jsb_chorales', str(tmp_path / 'data'))
    (site / music.JSON).unlink()
    with pytest.raises(BadInput, match='404'):
        prepare_data.obtain('jsb_chorales', str(tmp_path / 'data'))
    assert ls(tmp_path / 'data') == []


def test_no_connection_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.setattr(music, 'ADDRESS', 'http://127.0.0.1:9/nobody-listens')
    with pytest.raises(BadInput, match='there is no connection'):
        prepare_data.obtain('jsb_chorales', str(tmp_path / 'data'))
    assert ls(tmp_path / 'data') == []


class NotFoundError(ValueError):
    """As TFDS's own."""


def stand_in(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> None:
    """Puts a package in TFDS's place whose builder writes files, and then fails if it is told to."""

    def builder(name: str, data_dir: Path, file_format: str) -> Any:
        assert file_format == 'array_record'
        if name == 'mnits':
            raise NotFoundError(name)

        def prepare(download_dir: Path) -> None:
            for path in (download_dir / 'x.gz', data_dir / name / '1.0.0' / 'dataset_info.json'):
                path.parent.mkdir(parents=True)
                path.write_text('{}')
            if error:
                raise error

        data_path = str(data_dir / name / '1.0.0')
        return SimpleNamespace(download_and_prepare=prepare, data_path=data_path, info=SimpleNamespace(full_name=name))

    package = SimpleNamespace(builder=builder, core=SimpleNamespace(DatasetNotFoundError=NotFoundError))
    monkeypatch.setitem(sys.modules, 'tensorflow_datasets', package)
    monkeypatch.setattr(prepare_data, 'EXTRA', ())


def test_tfds_set_is_moved_when_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, None)
    prepare_data.prepare_tfds('kmnist', tmp_path)
    assert ls(tmp_path) == ['kmnist', 'kmnist/1.0.0', 'kmnist/1.0.0/dataset_info.json']


@pytest.mark.parametrize('error', [ConnectionError('far'), RuntimeError('checksum'), KeyboardInterrupt()])
def test_nothing_is_left_of_a_preparation_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    stand_in(monkeypatch, error)
    with pytest.raises(BadInput if isinstance(error, Exception) else KeyboardInterrupt):
        prepare_data.prepare_tfds('kmnist', tmp_path)
    assert ls(tmp_path) == []


def test_typing_error_and_lacking_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, None)
    with pytest.raises(BadInput, match="TFDS knows no data set 'mnits': did you mean 'mnist'"):
        prepare_data.prepare_tfds('mnits', tmp_path)
    monkeypatch.setattr(prepare_data, 'EXTRA', ('no_such_package',))
    with pytest.raises(BadInput, match='needs no_such_package once: pip install tensorflow-cpu importlib_resources'):
        prepare_data.prepare_tfds('kmnist', tmp_path)
    assert ls(tmp_path) == []
