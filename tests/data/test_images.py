"""The embedded digits, the user's own arrays and folders, and the names that lead to them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from research.data import Images, Table, named, tfds
from research.types import BadInput

DIGITS = 'a3cebac4ce2a35a2'  # first digits of the sha256
BYTES = np.random.default_rng(0).integers(0, 256, (30, 5, 4), np.uint8)
REALS = np.random.default_rng(0).normal(size=(30, 3))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if 'mnist' not in request.node.name:  # decoded MNIST stays in the user's cache
        monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def saved(folder: Path, **arrays: Any) -> str:
    path = folder / 'own.npz'
    np.savez(path, **arrays)
    return str(path)


def folder_of(root: Path, names: list[str], size: tuple[int, int] = (4, 5), mode: str = 'L') -> str:
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, color=i if mode == 'L' else (i, 0, 0)).save(root / name)
    return str(root)


def test_digits_are_the_ones_recorded() -> None:
    data = Images().load()
    assert (data.train.x.shape, data.test.x.shape) == ((1400, 8, 8, 1), (397, 8, 8, 1))
    assert (data.train.x.dtype, data.train.x.max(), data.levels) == (np.uint8, 16, 17)
    assert data.sha256.startswith(DIGITS)
    assert data.train.label is not None
    assert data.train.label.dtype == np.int32
    assert np.bincount(data.train.label, minlength=10).min() > 100
    assert (data.domain.kind, data.domain.shape, data.domain.modality) == ('binary', (8, 8, 1), 'image')
    assert (Images().load().test.x == data.test.x).all()
    assert data.test.x.sum() == 7709


def test_importing_and_loading_digits_needs_neither_sklearn_nor_jax() -> None:
    heavy = "{'jax', 'sklearn', 'tensorflow_datasets', 'PIL', 'pooch', 'tqdm', 'scipy'} & set(sys.modules)"
    code = f'import sys; from research.data import Images, Text; Images().load(); Text().load(); print({heavy})'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'set()'


@pytest.mark.parametrize('shape', [(30, 5, 4), (30, 5, 4, 1)])
def test_own_images_get_a_channel_axis_and_the_last_tenth_for_testing(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = Images(name=saved(tmp_path, train=BYTES.reshape(shape)), values='scale').load()
    assert (data.train.x.shape, data.train.x.dtype) == ((27, 5, 4, 1), np.uint8)
    np.testing.assert_allclose(data.test.x[..., 0], BYTES[27:] / 255, rtol=1e-6)
    assert "last 10 % of 'train'" in data.protocol['test']


def test_own_splits_and_labels_are_used(tmp_path: Path) -> None:
    label = np.arange(30) % 3
    path = saved(tmp_path, train=BYTES, valid=BYTES[:4], test=BYTES[:6], train_label=label, test_label=label[:6])
    data = Images(name=path, values='integer').load()
    assert data.protocol['sizes'] == {'train': 30, 'valid': 4, 'test': 6}
    assert data.train.label is not None
    assert data.train.label.tolist() == label.tolist()
    with pytest.raises(BadInput, match='has a validation split'):
        Images(name=path, valid=2).load()


@pytest.mark.parametrize('dtype', [bool, np.uint8, np.int64, np.float32])
def test_zero_or_one_is_binary(tmp_path: Path, dtype: type) -> None:
    bits: np.ndarray = (BYTES > 127).astype(dtype)
    image = Images(name=saved(tmp_path, train=bits), values='binarise').load()
    assert (image.levels, image.train.x.dtype, image.domain.kind) == (2, np.uint8, 'binary')
    assert (image.test.x[..., 0] == bits[27:]).all()
    table = Table(name=saved(tmp_path, train=bits.reshape(30, 20))).load()
    assert (table.domain.kind, table.values, table.domain.shape) == ('binary', 'as_is', (20,))


def test_real_images_in_the_unit_interval(tmp_path: Path) -> None:
    path = saved(tmp_path, train=BYTES / 255)
    data = Images(name=path, values='as_is').load()
    assert (data.domain.kind, data.train.x.dtype) == ('unit', np.float32)
    assert (Images(name=path, values='threshold').load().test.x[..., 0] == (BYTES[27:] > 127)).all()
    assert Images(name=path, values='binarise').load().domain.kind == 'binary'


def test_rows_are_points_or_integers(tmp_path: Path) -> None:
    data = Table(name=saved(tmp_path, train=REALS)).load()
    assert (data.domain.kind, data.domain.shape, data.train.x.dtype) == ('real', (3,), np.float32)
    data = Table(name=saved(tmp_path, train=np.arange(300).reshape(30, 10), test=np.full((2, 10), 999))).load()
    assert (data.domain.kind, data.domain.values, data.values) == ('integer', 1000, 'integer')
    assert data.train.x.dtype == np.uint16


def with_(x: np.ndarray, value: float) -> np.ndarray:
    x = x.copy()
    x[3, 1] = value
    return x


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        ({'train': with_(REALS, np.nan)}, r"array 'train': 1 values are NaN, infinite .* first at \(3, 1\)"),
        ({'train': REALS, 'test': with_(REALS, np.inf)}, "array 'test': 1 values are NaN, infinite"),
        ({'train': with_(REALS, 1e300)}, 'too large for float32'),
        ({'train': REALS, 'test': REALS[:, :2]}, r"array 'test': one example has shape \(2,\), and in 'train' \(3,\)"),
        ({'train': REALS[:0]}, "array 'train': it is empty"),
        ({'train': REALS, 'valid': REALS[:0]}, "array 'valid': it is empty"),
        ({'train': REALS[:, 0]}, r"array 'train': its shape is \(30,\)"),
        ({'train': np.float32(1)}, r"array 'train': its shape is \(\)"),
        ({'train': np.zeros((30, 2, 2, 3, 4))}, r'its shape is \(30, 2, 2, 3, 4\)'),
        ({'train': np.array([['a', 'b']] * 20)}, "array 'train': it holds <U1, and only bool"),
        ({'train': REALS.astype(complex)}, 'it holds complex128'),
        ({'train': np.array([[{}, None]] * 20)}, "array 'train': it cannot be read .*allow_pickle=False"),
        ({'train': REALS, 'test': np.array([[{}]])}, "array 'test': it cannot be read"),
        ({'x': REALS, 'y': REALS}, "has no array 'train': it has 'x', 'y'"),
        ({'train': REALS[:5]}, "array 'train': it has 5 examples, too few"),
        ({'train': np.arange(60).reshape(30, 2) - 1}, "array 'train': integers from -1 to 58"),
        ({'train': REALS, 'test': np.arange(6).reshape(2, 3)}, "array 'test': it is int64, and 'train' is float64"),
        ({'train': REALS, 'train_label': np.zeros(29, int)}, r"array 'train_label': it is int64 \(29,\)"),
        ({'train': REALS, 'train_label': np.zeros(30)}, "array 'train_label': it is float64"),
        ({'train': REALS, 'train_label': np.full(30, -1)}, "array 'train_label': labels must be 0 or more"),
    ],
)
def test_bad_arrays_are_refused_by_name(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        Table(name=saved(tmp_path, **arrays)).load()
    assert 'own.npz' in str(caught.value)


@pytest.mark.parametrize(
    ('train', 'values', 'message'),
    [
        (
            BYTES * 1.0,
            'scale',
            r"own.npz, array 'train': it runs from 0 to 255, and values='scale' needs numbers in \[0, 1\]",
        ),
        (BYTES / 128 - 1, 'binarise', "array 'train': it runs from -1"),
        (BYTES / 255, 'dequantise', 'needs integer grey levels'),
        (BYTES / 255, 'integer', 'needs integer grey levels'),
        (BYTES.astype(int) * 2, 'scale', 'values from 0 to 255'),
        (np.zeros((30, 3, 32, 32), np.uint8), 'scale', 'the last axis must be 1 or 3 channels'),
        (REALS, 'scale', r'its shape is \(30, 3\), and images'),
        (BYTES, 'sharpen', "values='sharpen' is unknown: it may be as_is, scale"),
    ],
)
def test_bad_images_are_refused(tmp_path: Path, train: np.ndarray, values: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Images(name=saved(tmp_path, train=train), values=values).load()


@pytest.mark.parametrize('damage', ['empty', 'no archive', 'begun', 'truncated', 'flipped'])
def test_damaged_archives_are_refused(tmp_path: Path, damage: str) -> None:
    path = Path(saved(tmp_path, train=REALS))
    whole = path.read_bytes()
    flipped = whole[:400] + bytes([whole[400] ^ 255]) + whole[401:]  # in the array: the archive's checksum tells
    contents = {'empty': b'', 'no archive': b'text', 'begun': whole[:20], 'truncated': whole[:300], 'flipped': flipped}
    path.write_bytes(contents[damage])
    for refused in (lambda: Table(name=str(path)).load(), lambda: named(str(path), Images()).load()):
        with pytest.raises(BadInput, match=r'own\.npz'):
            refused()


def test_names_of_members_touch_no_file_system(tmp_path: Path) -> None:
    path = Path(saved(tmp_path, train=REALS))
    with zipfile.ZipFile(path, 'a') as archive:
        archive.writestr('../../outside.npy', b'x')
        archive.writestr('/tmp/likeness_outside.npy', b'x')
    before = sorted(tmp_path.rglob('*'))
    Table(name=str(path)).load()
    assert sorted(tmp_path.rglob('*')) == before
    assert not Path('/tmp/likeness_outside.npy').exists()


def test_folder_with_labels(tmp_path: Path) -> None:
    root = folder_of(tmp_path / 'pictures', [f'{kind}/{i}.png' for kind in ('cat', 'dog') for i in range(10)])
    (tmp_path / 'pictures' / 'README').write_text('not an image')
    data = Images(name=root, values='scale').load()
    assert (data.train.x.shape, len(data.test)) == ((18, 5, 4, 1), 2)
    assert data.train.label is not None
    assert data.test.label is not None
    grey = np.concatenate([data.train.x[:, 0, 0, 0], np.rint(data.test.x[:, 0, 0, 0] * 255)])
    assert sorted(grey) == list(range(20))
    assert (np.concatenate([data.train.label, data.test.label]) == (grey >= 10)).all()
    assert data.protocol['labels'] == ['cat', 'dog']
    assert Images(name=root).load().sha256 == data.sha256


def test_folder_with_splits_and_colour(tmp_path: Path) -> None:
    root = folder_of(tmp_path / 'p', ['train/a.png', 'train/b.jpg', 'test/c.JPEG'], mode='RGB')
    data = Images(name=root, values='scale').load()
    assert (data.train.x.shape, data.test.x.shape, data.train.label) == ((2, 5, 4, 3), (1, 5, 4, 3), None)


def test_folder_is_read_anew_when_a_file_changes(tmp_path: Path) -> None:
    root = folder_of(tmp_path / 'p', [f'{i}.png' for i in range(12)])
    before = Images(name=root).load()
    Image.new('L', (4, 5), color=99).save(tmp_path / 'p' / '3.png')
    assert Images(name=root).load().sha256 != before.sha256


def test_bad_folders_are_refused_with_the_file(tmp_path: Path) -> None:
    names = [f'{i}.png' for i in range(12)]
    cases = {
        'size': 'x.png is 9 x 9 pixels',
        'damaged': 'x.png cannot be read as an image',
        'cut': 'x.png is damaged',
        'deep': 'x.png has more than 8 bits',
        'mixed': 'images beside subfolders',
        'few': 'has 3 images, too few',
        'none': 'has no images',
        'link': 'leads out of',
    }
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 4), np.uint8))
    for case, message in cases.items():
        root = tmp_path / case
        root.mkdir()
        folder_of(root, {'few': names[:3], 'none': []}.get(case, names))
        if case == 'size':
            Image.new('L', (9, 9)).save(root / 'x.png')
        if case == 'damaged':
            (root / 'x.png').write_bytes(b'no image at all')
        if case == 'cut':
            noise.save(root / 'x.png')
            (root / 'x.png').write_bytes((root / 'x.png').read_bytes()[:50])
        if case == 'deep':
            Image.fromarray(np.zeros((5, 4), np.uint16)).save(root / 'x.png')
        if case == 'mixed':
            folder_of(root / 'sub', ['a.png'])
        if case == 'link':
            noise.save(tmp_path / 'outside.png')
            (root / 'x.png').symlink_to(tmp_path / 'outside.png')
        with pytest.raises(BadInput, match=message):
            Images(name=str(root)).load()
    assert not list((tmp_path / 'cache').rglob('.making-*')), 'something half-written was left'


@pytest.mark.skipif(not tfds.available('mnist'), reason='TFDS_DATA_DIR is not set or has no mnist')
def test_mnist_is_the_published_set() -> None:
    data = Images(name='mnist', valid=10000).load()
    assert (data.train.x.shape, data.train.x.dtype) == ((50000, 28, 28, 1), np.uint8)
    assert data.valid is not None
    assert (len(data.valid), data.test.x.shape) == (10000, (10000, 28, 28, 1))
    assert data.train.label is not None
    assert data.test.label is not None
    assert np.bincount(data.test.label).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    whole = Images(name='mnist', values='scale').load()
    assert whole.sha256 == data.sha256 == 'b5b5ac684fae2fc6f073a167ed2d5711aafeb45bdf58307caaa572d1e81d4829'
    assert len(whole.train) == 60000
    np.testing.assert_allclose(whole.train.x.mean() / 255, 0.1307, atol=5e-5)  # the mean everybody normalises with
