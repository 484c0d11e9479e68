"""What `--data NAME_OR_PATH` means: a known set, or the user's own, with the settings of the config kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from research.data import music, own, tfds
from research.data.binary import BINARY, Binary
from research.data.folders import TFDS_IMAGES, checked_name, command, existing, is_folder, is_path, nearest, tfds_folder
from research.data.images import Images
from research.data.own import Table
from research.data.records import Records, is_records
from research.data.sprites import Sprites
from research.data.text import Text
from research.data.toy import Toy
from research.types import BadInput

Spec = Images | Text | music.Music | Binary | Toy | Sprites | Table | Records

TEXTS = ('python_reference', 'tiny_shakespeare')
KNOWN = ('digits', *TEXTS, music.NAME, 'ring', 'grid', 'sprites', *BINARY, *TFDS_IMAGES)


def named(name_or_path: str, like: Spec | None = None, data_dir: str | None = None) -> Spec:
    """The data set called `name_or_path`, with the settings of `like` where both are of one family.

    Paths are made absolute, so that a run can be evaluated from another folder. Raises BadInput with the nearest names
    for an unknown one; whether a known set is there shows when it is loaded.
    """
    if name_or_path in KNOWN:
        return known(name_or_path, like)
    if not is_path(name_or_path):
        if tfds.available(name_or_path, data_dir):
            return image_spec(name_or_path, like)
        if not is_folder(name_or_path):
            raise unknown(name_or_path, data_dir)
    return user_set(existing(name_or_path).resolve(), like)


def known(name: str, like: Spec | None) -> Spec:
    """A set that has a name."""
    if name in TEXTS:
        return replace(like, name=name) if isinstance(like, Text) else Text(name=name)
    if name == music.NAME:
        return music.Music()
    if name in BINARY:
        return Binary(name=name)
    if name in ('ring', 'grid'):
        toy = like if isinstance(like, Toy) else Toy()
        return replace(toy, name='ring' if name == 'ring' else 'grid')
    if name == 'sprites':
        return like if isinstance(like, Sprites) else Sprites()
    return image_spec(name, like)


def user_set(path: Path, like: Spec | None) -> Spec:
    """The user's own file or folder, told apart by its suffix, and rows from images by the axes of the array."""
    name = str(path)
    if path.is_dir() and is_records(path):
        return replace(like, path=name) if isinstance(like, Records) else Records(path=name)
    if path.is_dir():
        return image_spec(name, like)
    if path.suffix == '.txt':
        return replace(like, name=name) if isinstance(like, Text) else Text(name=name)
    if path.suffix == '.npz':
        return Table(name=name) if own.ndim(path) == 2 else image_spec(name, like)
    raise BadInput(f'{name} is not data that can be read: a .npz, a folder of images or a .txt is accepted.')


def image_spec(name: str, like: Spec | None) -> Images:
    """Images called `name`, shown to the model as those of `like`."""
    return replace(like, name=name) if isinstance(like, Images) else Images(name=name)


def unknown(name: str, data_dir: str | None) -> BadInput:
    """The error for a name that means nothing: the nearest names, or all short ones."""
    checked_name(name)
    folder = tfds_folder(data_dir)
    near = nearest(name, KNOWN, folder)
    hint = f'did you mean {near}?' if near else (
        f'known are {", ".join(KNOWN[:10])}, and any TFDS image set after `{command("NAME", data_dir)}`.'
    )  # fmt: skip
    return BadInput(f'Data set {name!r} is unknown and not in {folder}: {hint}')
