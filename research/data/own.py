"""The user's own arrays: a .npz with `train`, optional `valid`, `test`, and optional labels (`train_label`, ...).

What users bring is untrusted. Nothing is unpickled, members of the archive are read in place and never unpacked, so
their names touch no file system, and every array is checked before it is used: a NaN found after an hour costs an hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from research.data.folders import existing
from research.data.raw import Raw, assemble, digest_splits, hold_out
from research.data.source import Data, Split
from research.types import BadInput

SPLITS = ('train', 'valid', 'test')
LARGEST = 32 * 2**30  # bytes an archive may unpack to; arrays are held in memory


def unreadable() -> tuple[type[Exception], ...]:
    """What NumPy, zipfile and zlib raise on a damaged archive."""
    from zipfile import BadZipFile
    from zlib import error

    return OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, SyntaxError, BadZipFile, error


def refuse(path: Path, array: str, reason: str) -> BadInput:
    """The error for one array of a file."""
    return BadInput(f'{path}, array {array!r}: {reason}.')


def ndim(path: Path) -> int:
    """Number of axes of the array `train`, from its header alone."""
    from zipfile import ZipFile

    try:
        with ZipFile(path) as archive, archive.open('train.npy') as member:
            version = np.lib.format.read_magic(member)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            return len(header(member)[0])
    except unreadable():
        return len(arrays(path)['train'].shape)  # says what is wrong


def arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an archive that are used, `train` among them. Raises BadInput where it is no such archive."""
    if path.suffix != '.npz' or not path.is_file():
        raise BadInput(f'{path} is not a .npz file: own data is a .npz, a folder of images or a .txt.')
    wanted = [name + end for name in SPLITS for end in ('', '_label')]
    try:
        with path.open('rb') as file, np.load(file, allow_pickle=False) as archive:
            size = sum(member.file_size for member in archive.zip.infolist())
            if size > LARGEST:
                raise BadInput(f'{path} unpacks to {size / 2**30:.0f} GiB: at most {LARGEST >> 30} are read.')
            names = list(archive.files)
            found = {}
            for name in (name for name in wanted if name in names):
                found[name] = readable(path, archive, name)
    except unreadable() as error:
        raise BadInput(f'{path} is not a readable .npz file ({type(error).__name__}: {str(error)[:200]}).') from error
    if 'train' not in found:
        raise BadInput(f"{path} has no array 'train': it has {', '.join(map(repr, sorted(names)[:10])) or 'none'}.")
    return found


def readable(path: Path, archive: Any, name: str) -> np.ndarray:
    """One array of numbers. Raises BadInput for anything else: to unpickle objects would be to run their code."""
    try:
        array = archive[name]
    except unreadable() as error:
        raise refuse(path, name, f'it cannot be read ({str(error)[:200] or type(error).__name__})') from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in 'buif':
        kind = getattr(array, 'dtype', 'no array')
        raise refuse(path, name, f'it holds {kind}, and only bool, integer or real numbers are used')
    return array


def raw_set(path: Path, axes: tuple[int, ...], what: str) -> Raw:
    """The archive's splits and labels, checked; without `test` the last 10 % of `train` are held out.

    axes  how many axes the arrays may have; `what` says it in words for the error message
    """
    found = arrays(path)
    for name in (name for name in SPLITS if name in found):
        check(path, name, found[name], axes, what, found['train'])
    compact, levels = compacted(path, {name: found[name] for name in SPLITS if name in found})
    splits = {name: Split(x=x, label=labels(path, name, found, len(x))) for name, x in compact.items()}
    train, valid, test = splits['train'], splits.get('valid'), splits.get('test')
    sha256 = digest_splits(train, valid, test)
    origin = "the file's array 'test'"
    if test is None:
        origin = "the last 10 % of 'train', since the file has no 'test'"
        if len(train) < 10:
            raise refuse(
                path, 'train', f"it has {len(train)} examples, too few to hold out 10 % where there is no array 'test'"
            )
        train, test = hold_out(train, len(train) // 10)
    notes = {'source': f'own file {path.name}', 'test': origin}
    return Raw(train=train, valid=valid, test=test, levels=levels, sha256=sha256, notes=notes)


def check(path: Path, name: str, x: np.ndarray, axes: tuple[int, ...], what: str, train: np.ndarray) -> None:
    """Raises BadInput for an array that cannot be a split: number of axes, emptiness, another shape or type, NaN."""
    if x.ndim not in axes:
        raise refuse(path, name, f'its shape is {x.shape}, and {what} is needed')
    if x.size == 0:
        raise refuse(path, name, f'it is empty, its shape is {x.shape}')
    if x.shape[1:] != train.shape[1:]:
        raise refuse(path, name, f"one example has shape {x.shape[1:]}, and in 'train' {train.shape[1:]}")
    if x.dtype.kind != train.dtype.kind and 'f' in (x.dtype.kind, train.dtype.kind):
        raise refuse(path, name, f"it is {x.dtype}, and 'train' is {train.dtype}")
    if x.dtype.kind == 'f':
        with np.errstate(over='ignore'):
            strange = ~np.isfinite(x.astype(np.float32, copy=False))
        if strange.any():
            where = tuple(int(i) for i in np.argwhere(strange)[0])
            count = int(strange.sum())
            raise refuse(path, name, f'{count} values are NaN, infinite or too large for float32, the first at {where}')


def labels(path: Path, name: str, found: dict[str, np.ndarray], count: int) -> np.ndarray | None:
    """The labels [n] int32 of a split, if it has any."""
    label = found.get(f'{name}_label')
    if label is None:
        return None
    if label.shape != (count,) or label.dtype.kind not in 'ui':
        raise refuse(
            path, f'{name}_label', f'it is {label.dtype} {label.shape}, and integers of shape ({count},) are needed'
        )
    if label.min() < 0 or label.max() > np.iinfo(np.int32).max:
        raise refuse(path, f'{name}_label', 'labels must be 0 or more and fit 32 bits')
    return label.astype(np.int32)


def compacted(path: Path, found: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
    """The arrays in their smallest type, and their levels: 2 for 0-or-1 data and reals in [0, 1], 0 for other reals."""
    if found['train'].dtype.kind == 'f':
        inside = all(x.min() >= 0 and x.max() <= 1 for x in found.values())
        binary = inside and all(np.isin(x, (0, 1)).all() for x in found.values())
        if not binary:
            return {name: x.astype(np.float32, copy=False) for name, x in found.items()}, 2 if inside else 0
    for name, x in found.items():
        if x.min() < 0 or x.max() > 2**16 - 1:
            raise refuse(
                path,
                name,
                f'integers from {x.min()} to {x.max()}, and 0 to {2**16 - 1} are accepted (or give real numbers)',
            )
    top = max(int(x.max()) for x in found.values())
    dtype = np.uint8 if top < 256 else np.uint16
    return {name: x.astype(dtype, copy=False) for name, x in found.items()}, max(top + 1, 2)


def images(path: Path) -> Raw:
    """Images [n, height, width] or [n, height, width, 1 or 3]: bytes (256 levels; 2 where all are 0 or 1), or reals."""
    raw = raw_set(path, (3, 4), 'images [n, height, width] or [n, height, width, channels]')
    assert isinstance(raw.train, Split)
    x = raw.train.x
    if x.ndim == 4 and x.shape[-1] not in (1, 3):
        raise refuse(path, 'train', f'its shape is {x.shape}, and the last axis must be 1 or 3 channels')
    if raw.levels > 256:
        raise refuse(path, 'train', 'integer images must have values from 0 to 255')

    def four(split: Split | None) -> Split | None:
        return Split(x=split.x.reshape(*split.x.shape[:3], -1), label=split.label) if split else None

    train, test = four(raw.train), four(raw.test)
    assert train is not None
    assert test is not None
    levels = 256 if raw.levels > 2 else raw.levels
    return Raw(train=train, valid=four(raw.valid), test=test, levels=levels, sha256=raw.sha256, notes=raw.notes)


@dataclass(frozen=True, kw_only=True)
class Table:
    """The user's own rows [n, variables] in a .npz: reals as they are, bool and 0-or-1 data as binary, or integers."""

    name: str

    def load(self, data_dir: str | None = None) -> Data:
        """Data with float32, or uint8 or uint16, rows [n, variables]; no folder is looked at."""
        raw = raw_set(existing(self.name), (2,), 'rows [n, variables]')
        integer = raw.train.x.dtype.kind != 'f' and raw.levels > 2
        if not integer and raw.train.x.dtype.kind == 'f':
            raw = Raw(train=raw.train, valid=raw.valid, test=raw.test, levels=0, sha256=raw.sha256, notes=raw.notes)
        return assemble(raw, name=self.name, values='integer' if integer else 'as_is', modality='points')
