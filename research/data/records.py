"""A set in array_record files, made once by `write` and trained on without ever being in memory whole.

    <folder>/records.json    shape, type, levels, files with their sizes, sha256
             train-00000.array_record ...
             test.npy, valid.npy

    write(Path('faces'), blocks(), test)                  # blocks: arrays [any, *shape], one after the other
    Run(data=Records(path='faces', values='scale'), ...)

The sha256 is of the training examples' bytes in order, however they are divided, and of the other splits; it is
computed while writing (1.5 GB/s, one core) and not again. At each start the sizes of the files are compared, and test
and validation are hashed; a damaged record is found when it is read, by the check sums that array_record keeps.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from research.data.chunks import CHUNK_BYTES, Chunks, Files, damaged
from research.data.folders import data_folder
from research.data.raw import TEST_SEED, Raw, assemble
from research.data.source import Data, Split, Streamed, Values, digest
from research.types import BadInput, ranged

FORMAT = 1
MANIFEST = 'records.json'
TYPES = ('uint8', 'uint16', 'float32')


@dataclass(frozen=True, kw_only=True)
class Records:
    """A folder that `research.data.recording.write` made.

    path       the folder, or its name in the data folder
    values     how examples are shown to a model: see `source.prepare`
    chunk      examples in memory at once, a multiple of the batch size; none: as many as 32 MiB hold
    valid      so many of the last training examples are held out for validation, and held in memory
    test_seed  what binarisation or dequantisation of the test split is drawn from
    """

    path: str
    values: Values = 'scale'
    chunk: int | None = ranged(None, at_least=1, optional=True)
    valid: int = ranged(0, at_least=0)
    test_seed: int = ranged(TEST_SEED, at_least=0)

    def load(self, data_dir: str | None = None) -> Data:
        """Data whose training examples are `Chunks` of uint8, uint16 or float32 [*shape]."""
        folder = located(self.path, data_dir)
        found = manifest(folder)
        shape = tuple(found['shape'])
        return assemble(
            raw(folder, found, self.chunk),
            name=self.path,
            values=self.values,
            modality='image' if len(shape) == 3 and shape[2] in (1, 3) else 'points',
            valid=self.valid,
            test_seed=self.test_seed,
        )


def is_records(folder: Path) -> bool:
    """Whether there is such a set in a folder."""
    return (folder / MANIFEST).is_file()


def located(path: str, data_dir: str | None) -> Path:
    """The set's folder. Raises BadInput where there is none."""
    places = Path(os.path.expanduser(path)), data_folder(data_dir) / path
    found = next((folder for folder in places if is_records(folder)), None)
    if found is None:
        raise BadInput(
            f'path={path!r}: there is no {MANIFEST} in {places[0]} or in {places[1]}; expected a folder that '
            'research.data.recording.write made.'
        )
    return found


def manifest(folder: Path) -> dict[str, Any]:
    """What was written. Raises BadInput where it is damaged, or a file is not as long as it says."""
    path = folder / MANIFEST
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        if found['format'] != FORMAT:
            raise BadInput(f'{path} has format {found["format"]!r}: expected {FORMAT}, write the set again.')
        sizes = sensible(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, f'{type(error).__name__}: {str(error)[:100]}') from error
    for name, size in sizes.items():
        file = folder / name
        actual = file.stat().st_size if file.is_file() else None
        if actual != size:
            raise damaged(file, 'it is missing' if actual is None else f'{actual} bytes, and {MANIFEST} says {size}')
    return found


def sensible(found: dict[str, Any]) -> dict[str, int]:
    """Size of each file, from a manifest that `recording.write` can have written; else ValueError and its like."""
    files, splits = found['files'], found['splits']
    numbers = [*found['shape'], found['count'], *(f['count'] for f in files)]
    if not all(type(number) is int and number > 0 for number in numbers) or not files:
        raise ValueError('shape or count')
    if found['dtype'] not in TYPES or type(found['levels']) is not int or found['levels'] < 0:
        raise ValueError('dtype or levels')
    if sum(f['count'] for f in files) != found['count']:
        raise ValueError('the files have not so many examples')
    if not {'test'} <= set(splits) <= {'test', 'valid'} or len(found['source']) == 0:
        raise ValueError('splits or source')
    if not all(re.fullmatch('[0-9a-f]{64}', h) for h in (found['sha256'], *(s['sha256'] for s in splits.values()))):
        raise ValueError('sha256')
    return {plain(f['name']): f['bytes'] for f in files} | {f'{name}.npy': s['bytes'] for name, s in splits.items()}


def plain(name: str) -> str:
    """A file's name if it leads to no other folder."""
    if Path(name).name != name:
        raise ValueError(f'file name {name!r}')
    return name


def raw(folder: Path, found: dict[str, Any], chunk: int | None) -> Raw:
    """The set before anything is held out or transformed."""
    files = tuple((folder / f['name'], int(f['count'])) for f in found['files'])
    rows = Files(files=files, shape=tuple(found['shape']), dtype=np.dtype(found['dtype']))
    size = chunk or max(1, CHUNK_BYTES // rows.bytes)
    train = Chunks(rows=rows, examples=len(rows), size=size, exact=chunk is not None)
    test = small(folder, 'test', found)
    assert test is not None
    return Raw(
        train=Streamed(x=train),
        valid=small(folder, 'valid', found),
        test=test,
        levels=found['levels'],
        sha256=found['sha256'],
        notes={'source': found['source'], 'test': 'test.npy of the set'},
    )


def small(folder: Path, name: str, found: dict[str, Any]) -> Split | None:
    """The test or validation split, in memory. Raises BadInput where it is not what was written."""
    if name not in found['splits']:
        return None
    path = folder / f'{name}.npy'
    try:
        x: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, str(error)[:200]) from error
    if (list(x.shape[1:]), str(x.dtype)) != (found['shape'], found['dtype']):
        raise damaged(path, f'examples of {x.dtype} {x.shape[1:]}, and {MANIFEST} says otherwise')
    if digest({name: x}) != found['splits'][name]['sha256']:
        raise damaged(path, 'its sha256 is not the one that was written')
    return Split(x=x)
