"""Where data lies. An argument comes first, then the environment, then a cache folder of the user.

TFDS_DATA_DIR       sets prepared by TensorFlow Datasets, in its own layout: <folder>/mnist/3.0.1/...
LIKENESS_DATA_DIR   the rest: <folder>/jsb_chorales/...
XDG_CACHE_HOME      else ~/.cache: <folder>/likeness/data
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from research.types import BadInput

# What a typing error is compared with. Any other TFDS image set is found by its name too.
TFDS_IMAGES = (
    'mnist', 'fashion_mnist', 'kmnist', 'emnist', 'emnist/balanced', 'emnist/letters', 'cifar10', 'cifar100',
    'svhn_cropped', 'omniglot', 'binarized_mnist', 'mnist_corrupted', 'cmaterdb', 'stl10', 'celeb_a', 'dsprites',
    'smallnorb', 'shapes3d', 'eurosat', 'malaria', 'horses_or_humans', 'downsampled_imagenet', 'imagenet_resized/32x32',
)  # fmt: skip
NAME = re.compile(r'[a-z][a-z0-9_]*(/[A-Za-z0-9][A-Za-z0-9_-]*)?')  # set, or set/variant: no dots, so no way out


def cache_folder() -> Path:
    """The user's own folder for what can be made again."""
    home = os.environ.get('XDG_CACHE_HOME')
    return (Path(home) if home else Path.home() / '.cache') / 'likeness' / 'data'


def data_folder(data_dir: str | None) -> Path:
    """Where sets that are not TFDS's are looked for."""
    chosen = data_dir or os.environ.get('LIKENESS_DATA_DIR')
    return Path(os.path.expanduser(chosen)) if chosen else cache_folder()


def tfds_folder(data_dir: str | None) -> Path:
    """Where sets prepared by TFDS are looked for."""
    chosen = data_dir or os.environ.get('TFDS_DATA_DIR')
    return Path(os.path.expanduser(chosen)) if chosen else cache_folder() / 'tfds'


def checked_name(name: str) -> str:
    """`name` if it can be a set's name and nothing else: it can lead nowhere but into the data folder."""
    if not NAME.fullmatch(name):
        raise BadInput(
            f'{name!r} is neither an existing file or folder nor the name of a data set (small letters, digits and _, '
            f'at most one / before a variant).'
        )
    return name


def is_path(name: str) -> bool:
    """Whether `name` can only be meant as a path: its suffix, a leading . or ~, a root, or a / and it exists."""
    looks = name.endswith(('.npz', '.txt')) or name.startswith(('.', '~', os.sep))
    return looks or ('/' in name and os.path.exists(name))


def is_folder(name: str) -> bool:
    """Whether `name` is a folder that exists."""
    return os.path.isdir(os.path.expanduser(name))


def existing(name: str) -> Path:
    """The path that `name` is. Raises BadInput where nothing is there."""
    path = os.path.expanduser(name)
    if not os.path.exists(path):  # not pathlib's, which raises on names that are too long
        raise BadInput(f'There is no file or folder {name!r}.')
    return Path(path)


def command(name: str, data_dir: str | None) -> str:
    """The one command that gets a set."""
    return f'python -m scripts.prepare_data {name}' + (f' --data_dir {data_dir}' if data_dir else '')


def nearest(name: str, known: Iterable[str], folder: Path) -> str:
    """The names most like `name`, among those known and the sets in `folder`: "'a' or 'b'", or ''."""
    from difflib import get_close_matches

    here = {p.name for p in folder.iterdir() if p.is_dir()} if folder.is_dir() else set()
    return ' or '.join(map(repr, get_close_matches(name, sorted({*known} | here - {name}), n=3)))


def missing(name: str, folder: Path, data_dir: str | None, known: Collection[str]) -> BadInput:
    """The error for a set that is not there: the nearest names for an unknown one, else how to get it."""
    near = '' if name in known else nearest(name, known, folder)
    if near:
        return BadInput(f'Data set {name!r} is unknown and not in {folder}: did you mean {near}?')
    return BadInput(f'Data set {name!r} is not in {folder}: get it with `{command(name, data_dir)}`.')
