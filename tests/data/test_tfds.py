"""Sets in TFDS's layout: a tiny one is prepared here, without TensorFlow and without a network."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from research.data import tfds
from research.data.images import Images
from research.data.named import named
from research.types import BadInput

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 6, 5, 3), np.uint8)


def png(pixels: np.ndarray) -> io.BytesIO:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, 'PNG')
    stream.seek(0)
    return stream


def write(home: Path, features: Any, splits: dict[str, list[dict[str, Any]]]) -> None:
    """A set in TFDS's layout, by its own parts: `download_and_prepare` would need more packages."""
    package = pytest.importorskip('tensorflow_datasets')
    writer = pytest.importorskip('array_record.python.array_record_module').ArrayRecordWriter
    home.mkdir(parents=True)
    template = package.core.ShardedFileTemplate(
        dataset_name=home.parent.name,
        filetype_suffix='array_record',
        data_dir=home,
        template='{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}',
    )
    for split, examples in splits.items():
        records = writer(str(home / f'{home.parent.name}-{split}.array_record-00000-of-00001'), 'group_size:1')
        for example in examples:
            records.write(features.serialize_example(features.encode_example(example)))
        records.close()
    infos = [
        package.core.SplitInfo(name=split, shard_lengths=[len(examples)], num_bytes=0, filename_template=template)
        for split, examples in splits.items()
    ]
    package.folder_dataset.write_metadata(
        data_dir=home, features=features, split_infos=infos, filename_template=template, check_data=False
    )


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sets `tiny_pictures` (20 and 4 images) and `tiny_rows`, which holds no images."""
    package = pytest.importorskip('tensorflow_datasets', reason='tensorflow-datasets is not installed')
    kinds = package.features
    picture = kinds.FeaturesDict({'image': kinds.Image(shape=(6, 5, 3)), 'label': kinds.ClassLabel(num_classes=4)})
    pictures = [{'image': png(pixels), 'label': i % 4} for i, pixels in enumerate(PIXELS)]
    home = tmp_path_factory.mktemp('tfds')
    write(home / 'tiny_pictures' / '1.0.0', picture, {'train': pictures[:20], 'test': pictures[20:]})
    row = kinds.FeaturesDict({'x': kinds.Tensor(shape=(), dtype=np.int64)})
    write(home / 'tiny_rows' / '1.0.0', row, {'train': [{'x': 1}], 'test': [{'x': 2}]})
    return home


@pytest.fixture
def folder(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(source, tmp_path / 'tfds')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'tfds'))
    return tmp_path / 'tfds'


def rows(x: np.ndarray) -> list[bytes]:
    return sorted(image.tobytes() for image in x)


def test_images_and_labels_are_those_that_were_prepared(folder: Path) -> None:
    data = Images(name='tiny_pictures', values='scale').load()
    assert rows(data.train.x) == rows(PIXELS[:20])
    assert rows(np.rint(data.test.x * 255).astype(np.uint8)) == rows(PIXELS[20:])
    assert data.train.label is not None
    for image, label in zip(data.train.x, data.train.label, strict=True):
        assert label == np.flatnonzero((image == PIXELS).all((1, 2, 3)))[0] % 4
    assert data.protocol['source'] == 'TFDS tiny_pictures/1.0.0'
    assert data.domain.shape == (6, 5, 3)


def test_second_start_does_not_import_tfds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Images(name='tiny_pictures').load()
    monkeypatch.setitem(sys.modules, 'tensorflow_datasets', None)  # an import would raise
    second = Images(name='tiny_pictures').load()
    assert isinstance(second.train.x, np.memmap)
    assert second.sha256 == first.sha256
    assert (second.train.x == first.train.x).all()


def test_decoded_anew_when_the_set_changes(folder: Path) -> None:
    before = tfds.fingerprint(folder / 'tiny_pictures')
    record = next((folder / 'tiny_pictures').rglob('*train*record*'))
    record.touch()
    assert tfds.fingerprint(folder / 'tiny_pictures') != before


@pytest.mark.parametrize('damage', ['records', 'info', 'no records'])
def test_damaged_set_is_refused(folder: Path, tmp_path: Path, damage: str) -> None:
    record = next((folder / 'tiny_pictures').rglob('*train*record*'))
    if damage == 'records':
        record.write_bytes(b'\x00' * record.stat().st_size)
    if damage == 'no records':
        record.unlink()
    if damage == 'info':
        (record.parent / 'dataset_info.json').write_text('{"name": ')
    with pytest.raises(BadInput, match=r"'tiny_pictures'.*(damaged|get it with)") as caught:
        Images(name='tiny_pictures').load()
    assert '\n' not in str(caught.value)
    assert not list((tmp_path / 'cache').rglob('.making-*'))


def test_set_without_images_is_refused(folder: Path) -> None:
    with pytest.raises(BadInput, match="'tiny_rows' has no feature 'image'"):
        Images(name='tiny_rows').load()


def test_missing_set_names_folder_and_command_without_importing_tfds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'tensorflow_datasets', None)
    (tmp_path / 'mnist').mkdir()  # an empty folder is not a set
    command = f'python -m scripts.prepare_data mnist --data_dir {tmp_path}'
    with pytest.raises(BadInput, match=f"'mnist' is not in {tmp_path}: get it with `{command}`"):
        Images(name='mnist').load(str(tmp_path))
    with pytest.raises(BadInput, match="did you mean 'fashion_mnist'"):
        Images(name='fashon_mnist').load(str(tmp_path))


def test_named_finds_a_set_by_its_folder(folder: Path) -> None:
    assert named('tiny_pictures', Images(values='scale')) == Images(name='tiny_pictures', values='scale')
    with pytest.raises(BadInput, match="did you mean 'tiny_pictures'"):
        named('tiny_picture')


def test_sets_without_a_test_split() -> None:
    from research.data.source import Split
    from research.data.tfds_images import split_up

    ten, four = Split(x=np.arange(10)), Split(x=np.arange(4))
    raw = split_up({'train': ten, 'validation': four}, {}, '')
    assert (len(raw.train), raw.valid, len(raw.test)) == (10, None, 4)
    raw = split_up({'train': ten}, {}, '')
    assert (len(raw.train), raw.test.x.tolist()) == (9, [9])
    assert 'last 10 %' in raw.notes['test']
