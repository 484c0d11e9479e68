"""Any image set that TFDS has prepared: bytes of one size, with labels or factors where the set has them.

A set that was made from known factors (dsprites, shapes3d) has a class label for each: 'label_shape', 'label_scale', ...
Images are taken out undecoded and decoded here: 110 us an image of MNIST instead of TFDS's 200.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np

from research.data.cache import Allocate, remember
from research.data.raw import Raw, hold_out
from research.data.source import Split
from research.data.tfds import key_of, located, prepared, records, unreadable
from research.types import BadInput

VALIDATION = ('validation', 'valid')
PREFIX = 'label_'  # of a factor's feature


def image_set(name: str, data_dir: str | None) -> Raw:
    """Any TFDS set of images of one size, raw: uint8 [n, height, width, channels].

    A set without a test split is tested on its validation split, or else on the last 10 % of its training examples.
    """
    folder = located(name, data_dir)

    def make(allocate: Allocate) -> dict[str, Any]:
        builder = prepared(name, data_dir)
        shape = image_shape(name, builder)
        brightest = max(decode_split(builder, split, shape, allocate) for split in splits_of(name, builder))
        notes: dict[str, Any] = {'source': f'TFDS {builder.info.full_name}'}
        notes |= {'levels': 2} if brightest <= 1 else {}  # pixels of dsprites are 0 or 1
        factors = factors_of(builder)
        return notes | ({'factors': factors} if factors else {})

    arrays, notes, sha256 = remember(key_of(name, folder), make)
    splits = {
        split: Split(x=x, label=arrays.get(f'{split}_label'), factors=arrays.get(f'{split}_factors'))
        for split, x in arrays.items()
        if not split.endswith(('_label', '_factors'))
    }
    return split_up(splits, notes, sha256)


def splits_of(name: str, builder: Any) -> list[str]:
    """The splits that are used: training, validation, test."""
    names = [split for split in ('train', *VALIDATION, 'test') if split in builder.info.splits]
    if 'train' not in names:
        raise BadInput(f"Data set {name!r} has no split 'train': it has {', '.join(map(repr, builder.info.splits))}.")
    return names


def factors_of(builder: Any) -> dict[str, int]:
    """How many values each factor of a set has, by its name, in the set's own order; empty where it has none."""
    import tensorflow_datasets as tfds

    features = dict(builder.info.features.items())
    named = {name: f for name, f in features.items() if name.startswith(PREFIX)}
    labels = {name: f for name, f in named.items() if isinstance(f, tfds.features.ClassLabel)}
    return {name.removeprefix(PREFIX): int(f.num_classes) for name, f in labels.items()} if len(labels) > 1 else {}


def image_shape(name: str, builder: Any) -> tuple[int, ...]:
    """Shape of one image. Raises BadInput for a set that is not of images of one size and byte-valued pixels."""
    feature = dict(builder.info.features.items()).get('image')
    if feature is None:
        raise BadInput(f"Data set {name!r} has no feature 'image': only image sets are read by name.")
    shape = tuple(feature.shape)
    if len(shape) != 3 or None in shape or shape[2] not in (1, 3) or feature.np_dtype != np.uint8:
        raise BadInput(
            f'Images of data set {name!r} are {feature.np_dtype.__name__} {shape}: uint8 of one size, with 1 or 3 '
            f'channels, is needed.'
        )
    return shape


def decode_split(builder: Any, split: str, shape: tuple[int, ...], allocate: Allocate) -> int:
    """Decode one split into the arrays `split` and, where the set has such, `split`_label and `split`_factors.

    Returns its brightest pixel.
    """
    import tensorflow_datasets as tfds
    from tqdm import tqdm

    features, total = dict(builder.info.features.items()), builder.info.splits[split].num_examples
    encoded = isinstance(features['image'], tfds.features.Image)
    x = allocate(split, (total, *shape), np.uint8)
    labelled = isinstance(features.get('label'), tfds.features.ClassLabel)
    label = allocate(f'{split}_label', (total,), np.int32) if labelled else None
    names = [PREFIX + name for name in factors_of(builder)]
    factors = allocate(f'{split}_factors', (total, len(names)), np.int32) if names else None
    title, done, brightest = f'Decoding {builder.info.name}/{split} (once)', 0, 0
    with tqdm(total=total, desc=title, unit='image', file=sys.stderr, disable=None) as bar:
        for chunk in records(builder, split, skip=('image',) if encoded else ()):
            try:
                for i, record in enumerate(chunk, start=done):
                    x[i] = decoded(record['image'], shape) if encoded else record['image']
            except (OSError, ValueError, SyntaxError) as error:
                raise unreadable(builder.info.name, Path(builder.data_path), error) from error
            if label is not None:
                label[done : done + len(chunk)] = [e['label'] for e in chunk]
            if factors is not None:
                factors[done : done + len(chunk)] = [[e[name] for name in names] for e in chunk]
            brightest = max(brightest, int(x[done : done + len(chunk)].max()))
            done += len(chunk)
            bar.update(len(chunk))
    return brightest


def decoded(encoded: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels uint8 [height, width, channels] of a PNG or JPEG."""
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as image:
        mode = 'L' if shape[2] == 1 else 'RGB'
        return np.asarray(image if image.mode == mode else image.convert(mode)).reshape(shape)


def split_up(splits: dict[str, Split], notes: dict[str, Any], sha256: str) -> Raw:
    """Training, validation and test, whatever the set calls them."""
    train, test = splits['train'], splits.get('test')
    valid = next((splits[name] for name in VALIDATION if name in splits), None)
    origin = "TFDS's test split"
    if test is None and valid is not None:
        test, valid, origin = valid, None, "TFDS's validation split, since there is no test split"
    if test is None:
        origin = 'the last 10 % of the training split, since there is no other'
        train, test = hold_out(train, len(train) // 10)
    notes = {'levels': 256, 'factors': None} | notes | {'test': origin}
    levels, factors = notes.pop('levels'), notes['factors']
    if not factors:
        del notes['factors']
    return Raw(train=train, valid=valid, test=test, levels=levels, sha256=sha256, notes=notes, factors=factors)
