"""What a name or a path given on the command line leads to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.data import Images, Music, Table, Text, Toy, named
from research.types import BadInput

BYTES = np.zeros((30, 5, 4), np.uint8)
REALS = np.zeros((30, 3))


def saved(folder: Path, **arrays: Any) -> str:
    path = folder / 'own.npz'
    np.savez(path, **arrays)
    return str(path)


def test_named_keeps_the_settings_of_its_family(tmp_path: Path) -> None:
    like = Images(values='scale', valid=7, test_seed=1)
    assert named('mnist', like) == Images(name='mnist', values='scale', valid=7, test_seed=1)
    assert named('digits', Toy()) == Images(name='digits')
    assert named('ring', like) == Toy(name='ring')
    assert named('grid', Toy(train=5)) == Toy(name='grid', train=5)
    assert named('jsb_chorales', like) == Music()
    assert named('tiny_shakespeare', Text(length=9)) == Text(name='tiny_shakespeare', length=9)
    images, table = saved(tmp_path, train=BYTES), tmp_path / 'table.npz'
    np.savez(table, train=REALS)
    assert named(images, like) == Images(name=images, values='scale', valid=7, test_seed=1)
    assert named(str(table), like) == Table(name=str(table))
    assert named(str(tmp_path), like).name == str(tmp_path)


def test_named_makes_paths_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, train=BYTES)
    monkeypatch.chdir(tmp_path)
    assert named('own.npz', None).name == path


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('mnits', "'mnits' is unknown .*did you mean 'mnist'"),
        ('digit', "did you mean 'digits'"),
        ('zzzzzzzz', 'known are digits'),
        ('../secret', 'no file or folder'),
        ('/nowhere/x.npz', 'no file or folder'),
        ('~nobody/x', 'no file or folder'),
        ('a' * 5000 + '.txt', 'no file or folder'),
        ('mnist/../../etc', 'neither an existing file'),
        *((name, 'neither an existing file') for name in ('a/b/c', 'Mnist Set', '', 'x\n', 'picture.png', 'a\0b')),
    ],
)
def test_names_that_mean_nothing_are_refused(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    with pytest.raises(BadInput, match=message) as caught:
        named(name, Images())
    assert '\n' not in str(caught.value)
    with pytest.raises(BadInput):
        Images(name=name).load()
