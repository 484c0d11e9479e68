"""Arrays that took long to make, kept as memory-mapped .npy files.

Reading MNIST record by record takes 8 to 40 s; mapping the arrays again takes milliseconds. One folder per content:

    <user's cache>/likeness/data/decoded/<name>-<fingerprint>/   manifest.json  train_x.npy  train_label.npy  ...

A folder is made under another name and renamed when whole, so a killed run leaves nothing that could be taken for data.
The manifest holds shape, dtype, size and time of each file, and the sha256 of all, computed once, when it was made:
hashing 55 MB anew at each start would cost more than reading them. A folder that does not agree with its manifest is
made again.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from research.data.folders import cache_folder
from research.data.source import digest

FORMAT = 1
STALE = 24 * 3600  # seconds after which another process's unfinished folder is taken for abandoned

Allocate = Callable[[str, tuple[int, ...], Any], np.ndarray]  # name, shape, dtype -> an array to be filled
Make = Callable[[Allocate], dict[str, Any]]  # fills arrays, returns what else must be remembered
Kept = tuple[dict[str, np.ndarray], dict[str, Any], str]  # arrays, notes, sha256


def remember(key: str, make: Make) -> Kept:
    """What `make` makes, from the cache if it is there and whole. `key` must change with the content.

    Where the cache cannot be written (read-only home, full disk) the arrays are made in memory, with a line on stderr.
    """
    home = cache_folder() / 'decoded'
    kept = recall(home / key)
    if kept:
        return kept
    try:
        home.mkdir(parents=True, exist_ok=True)
        sweep(home)
        temporary = fresh(home)
    except OSError as error:
        return in_memory(make, error)
    try:
        write(temporary, make)
        publish(temporary, home / key)
    except OSError as error:
        return in_memory(make, error)
    finally:
        remove(temporary)
    return recall(home / key) or in_memory(make, OSError(f'{home / key} cannot be read back'))


def recall(folder: Path) -> Kept | None:
    """The arrays in `folder`, memory-mapped and read-only; None where anything disagrees with the manifest."""
    try:
        manifest = json.loads((folder / 'manifest.json').read_text())
        if manifest['format'] != FORMAT:
            return None
        arrays = {name: mapped(folder / f'{Path(name).name}.npy', entry) for name, entry in manifest['arrays'].items()}
        return arrays, dict(manifest['notes']), str(manifest['sha256'])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None


def mapped(path: Path, entry: dict[str, Any]) -> np.ndarray:
    """One array of the cache. Raises ValueError where the file is not the one that was written."""
    if described(path) != {k: entry[k] for k in ('bytes', 'mtime_ns')}:
        raise ValueError(f'{path} has changed')
    array: np.ndarray = np.load(path, mmap_mode='r', allow_pickle=False)
    if (str(array.dtype), list(array.shape)) != (entry['dtype'], entry['shape']):
        raise ValueError(f'{path} is another array')
    return array


def described(path: Path) -> dict[str, int]:
    """Size and time of a file: what changes when somebody touches it."""
    stat = path.stat()
    return {'bytes': stat.st_size, 'mtime_ns': stat.st_mtime_ns}


def write(folder: Path, make: Make) -> None:
    """Run `make` with arrays that are files in `folder`, then write the manifest."""
    from shutil import disk_usage

    arrays: dict[str, np.ndarray] = {}

    def allocate(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if disk_usage(folder).free < size + 2**20:  # writing to a mapped file on a full disk kills the process
            raise OSError(f'{size / 2**20:.0f} MB do not fit')
        arrays[name] = np.lib.format.open_memmap(folder / f'{name}.npy', mode='w+', dtype=dtype, shape=shape)
        return arrays[name]

    notes = make(allocate)
    for array in arrays.values():
        array.flush()  # type: ignore[attr-defined]
    entries = {
        name: {'dtype': str(a.dtype), 'shape': list(a.shape), **described(folder / f'{name}.npy')}
        for name, a in arrays.items()
    }
    manifest = {'format': FORMAT, 'sha256': digest(arrays), 'arrays': entries, 'notes': notes}
    (folder / 'manifest.json').write_text(json.dumps(manifest, indent=1))


def publish(temporary: Path, final: Path) -> None:
    """Give the whole folder its name. Another process may have been quicker: then its folder stays."""
    if final.exists() and recall(final) is None:
        aside = fresh(final.parent)
        final.rename(aside / 'broken')
        remove(aside)
    try:
        os.replace(temporary, final)
    except OSError:
        if recall(final) is None:
            raise


def sweep(home: Path) -> None:
    """Remove what killed processes left behind."""
    for path in home.glob('.making-*'):
        if time.time() - path.stat().st_mtime > STALE:
            remove(path)


def fresh(home: Path) -> Path:
    """A new folder in `home` for what is not whole yet."""
    import tempfile

    return Path(tempfile.mkdtemp(prefix='.making-', dir=home))


def remove(folder: Path) -> None:
    """Remove a folder, if it is there, and all in it."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def in_memory(make: Make, error: OSError) -> Kept:
    """The same arrays without a cache."""
    print(f'Data is not cached ({error}): it will be read again at the next start.', file=sys.stderr)
    arrays: dict[str, np.ndarray] = {}

    def allocate(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        arrays[name] = np.zeros(shape, dtype)
        return arrays[name]

    notes = make(allocate)
    return arrays, notes, digest(arrays)
