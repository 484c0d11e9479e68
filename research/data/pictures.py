"""The user's own folder of images: PNG or JPEG of one size; subfolders are labels, or train, valid and test."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from research.data.cache import Allocate, remember
from research.data.raw import Raw, hold_out
from research.data.source import Split
from research.types import BadInput

SUFFIXES = ('.png', '.jpg', '.jpeg')
ORDER_SEED = 0  # files come sorted by label: a fixed permutation, so that held-out examples are of every label


def folder(root: Path) -> Raw:
    """Images uint8 [n, height, width, 1 or 3], 3 channels where any has colour. Raises BadInput naming the file."""
    splits = {name: listed(root / name, root) for name in ('train', 'valid', 'test') if (root / name).is_dir()}
    if 'train' not in splits:
        splits = {'train': listed(root, root)}
    for name, files in splits.items():
        if not files:
            raise BadInput(
                f'{root} has no images{f" in {name}" if len(splits) > 1 else ""}: PNG or JPEG files are read.'
            )
    classes = sorted({label for files in splits.values() for _, label in files if label})

    def make(allocate: Allocate) -> dict[str, Any]:
        shape = common_shape([path for files in splits.values() for path, _ in files], root)
        for name, files in splits.items():
            fill(name, files, classes, shape, allocate, root)
        return {}

    arrays, _, sha256 = remember(f'folder-{fingerprint(root, splits)}', make)
    made = {name: Split(x=arrays[name], label=arrays.get(f'{name}_label')) for name in splits}
    train, test = made['train'], made.get('test')
    origin = 'the subfolder test' if test else 'the last 10 % after the permutation'
    if test is None:
        if len(train) < 10:
            raise BadInput(f'{root} has {len(train)} images, too few to hold out 10 %: at least 10 are needed.')
        train, test = hold_out(train, len(train) // 10)
    notes = {
        'source': f'own folder {root.name}', 'test': origin, 'labels': classes,
        'order': f'permutation with seed {ORDER_SEED} of the sorted names',
    }  # fmt: skip
    return Raw(train=train, valid=made.get('valid'), test=test, sha256=sha256, notes=notes)


def listed(place: Path, root: Path) -> list[tuple[Path, str]]:
    """(file, label) of the images in `place` and its subfolders, in the fixed order; links out of it are refused."""
    direct = [(path, '') for path in sorted(place.iterdir()) if path.suffix.lower() in SUFFIXES]
    below = [
        (path, child.name)
        for child in sorted(place.iterdir()) if child.is_dir()
        for path in sorted(child.iterdir()) if path.suffix.lower() in SUFFIXES
    ]  # fmt: skip
    if direct and below:
        raise BadInput(
            f'{place} has images beside subfolders with images ({direct[0][0].name}): put all into subfolders, or none.'
        )
    files = direct + below
    for path, _ in files:
        if not path.resolve().is_relative_to(root.resolve()):
            raise BadInput(f'{path} is a link that leads out of {root}: copy the image into the folder.')
    return [files[i] for i in np.random.default_rng(ORDER_SEED).permutation(len(files))]


def fingerprint(root: Path, splits: dict[str, list[tuple[Path, str]]]) -> str:
    """Changes when a file is added, removed, renamed or written."""
    total = hashlib.sha256()
    for name, files in splits.items():
        for path, label in files:
            stat = path.stat()
            total.update(f'{name} {label} {path.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}\n'.encode())
    return total.hexdigest()[:16]


def opened(path: Path) -> Any:
    """A Pillow image, its header read. Raises BadInput where the file is no image."""
    from PIL import Image

    try:
        return Image.open(path, formats=('PNG', 'JPEG'))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(f'{path} cannot be read as an image ({type(error).__name__}).') from error


def common_shape(paths: list[Path], root: Path) -> tuple[int, int, int]:
    """(height, width, channels) that all images share. Raises BadInput naming the first of another size or depth."""
    size, colour = None, False
    for path in paths:
        with opened(path) as image:
            if image.mode.startswith(('I', 'F')):
                raise BadInput(f'{path} has more than 8 bits a pixel ({image.mode}): images of 8 bits are read.')
            size = size or image.size
            if image.size != size:
                raise BadInput(
                    f'{path} is {image.width} x {image.height} pixels, and {paths[0].relative_to(root)} is '
                    f'{size[0]} x {size[1]}: all images must share one size.'
                )
            colour = colour or image.mode not in ('1', 'L', 'LA')
    assert size is not None
    return size[1], size[0], 3 if colour else 1


def fill(
    name: str,
    files: list[tuple[Path, str]],
    classes: list[str],
    shape: tuple[int, int, int],
    allocate: Allocate,
    root: Path,
) -> None:
    """Decode one split into the arrays `name` and, where there are labels, `name`_label."""
    from tqdm import tqdm

    x = allocate(name, (len(files), *shape), np.uint8)
    if classes:
        allocate(f'{name}_label', (len(files),), np.int32)[:] = [
            classes.index(label) if label else -1 for _, label in files
        ]
    bar = tqdm(files, desc=f'Reading {root.name}/{name} (once)', unit='image', file=sys.stderr, disable=None)
    for i, (path, _) in enumerate(bar):
        with opened(path) as image:
            try:
                x[i] = np.asarray(image.convert('L' if shape[2] == 1 else 'RGB')).reshape(shape)
            except (OSError, ValueError, SyntaxError) as error:
                raise BadInput(f'{path} is damaged ({error}).') from error
