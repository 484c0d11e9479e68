"""Sets prepared by TensorFlow Datasets, read without TensorFlow.

`tfds.data_source` reads records at random; `tfds.load` would need TensorFlow. Two things are done round it. The folder
is looked at before the package is imported (1.5 s), and `is_prepared()` is asked before anything is read, since without
a network TFDS spends 205 s on trying to download. And what was read once is kept (`research.data.cache`), so that the
second start does not import TFDS at all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from research.data.cache import Allocate, remember
from research.data.folders import NAME, TFDS_IMAGES, checked_name, missing, tfds_folder
from research.types import BadInput

CHUNK = 1000  # records asked for at once: three times faster than one by one


def available(name: str, data_dir: str | None = None) -> bool:
    """Whether TFDS has prepared this set here, by a look at the folder only."""
    folder = tfds_folder(data_dir) / name
    return NAME.fullmatch(name) is not None and folder.is_dir() and any(folder.rglob('dataset_info.json'))


def located(name: str, data_dir: str | None) -> Path:
    """The set's own folder. Raises BadInput that says how to get the set where it is not there."""
    if not available(checked_name(name), data_dir):
        raise missing(name, tfds_folder(data_dir), data_dir, (*TFDS_IMAGES, 'tiny_shakespeare'))
    return tfds_folder(data_dir) / name


def fingerprint(folder: Path) -> str:
    """Changes when the set does: contents of its .json files, sizes and times of all others."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob('*') if p.is_file()):
        total.update(f'{path.relative_to(folder)} {path.stat().st_size} {path.stat().st_mtime_ns}\n'.encode())
        if path.suffix == '.json':
            total.update(path.read_bytes())
    return total.hexdigest()[:16]


def key_of(name: str, folder: Path) -> str:
    """The name a decoded set has in the cache."""
    return f'{name.replace("/", "-")}-{fingerprint(folder)}'


def prepared(name: str, data_dir: str | None) -> Any:
    """TFDS's builder of a set that is there, with its splits. Raises BadInput where it is not whole."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise BadInput(
            f'Data set {name!r} needs the package tensorflow-datasets: pip install tensorflow-datasets.'
        ) from error
    folder = tfds_folder(data_dir)
    try:
        builder = tfds.builder(name, data_dir=folder)
        whole = builder.is_prepared()
    except Exception as error:  # TFDS raises whatever its parsers raise
        raise unreadable(name, folder, error) from error
    if not whole:
        raise missing(name, folder, data_dir, (name,))
    return builder


def whole(name: str, data_dir: str | None = None) -> bool:
    """Whether TFDS takes this set for prepared, in the variant that `name` means."""
    if not available(name, data_dir):
        return False
    try:
        return bool(prepared(name, data_dir))
    except BadInput:
        return False


def unreadable(name: str, folder: Path, error: Exception) -> BadInput:
    """The error for a set that is there and cannot be read."""
    reason = (str(error).strip().splitlines() or [''])[0][:200]
    return BadInput(
        f'Data set {name!r} in {folder} cannot be read, its files look damaged ({type(error).__name__}: {reason}).'
    )


def records(builder: Any, split: str, skip: tuple[str, ...] = ()) -> Iterator[list[dict[str, Any]]]:
    """The records of a split in order, by the thousand; the features named in `skip` are left undecoded."""
    import tensorflow_datasets as tfds

    try:
        source = builder.as_data_source(split, decoders={name: tfds.decode.SkipDecoding() for name in skip})
        for start in range(0, len(source), CHUNK):
            yield source.__getitems__(range(start, min(start + CHUNK, len(source))))
    except (KeyboardInterrupt, GeneratorExit, BadInput):
        raise
    except Exception as error:
        raise unreadable(builder.info.name, builder.data_path, error) from error


def tiny_shakespeare(data_dir: str | None) -> tuple[dict[str, str], str]:
    """The set's three texts, by split, and where they come from. Text is ASCII, kept as bytes."""
    name = 'tiny_shakespeare'
    folder = located(name, data_dir)

    def make(allocate: Allocate) -> dict[str, Any]:
        builder = prepared(name, data_dir)
        for split in ('train', 'validation', 'test'):
            text = np.frombuffer(b''.join(e['text'] for chunk in records(builder, split) for e in chunk), np.uint8)
            allocate(split, text.shape, np.uint8)[:] = text
        return {'source': f'TFDS {builder.info.full_name}'}

    arrays, notes, _ = remember(key_of(name, folder), make)
    return {split: array.tobytes().decode() for split, array in arrays.items()}, notes['source']
