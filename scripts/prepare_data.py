"""Get a data set, or say what is there: its sizes and its sha256.

    python -m scripts.prepare_data mnist [--data_dir FOLDER]

Sets of TensorFlow Datasets are prepared by TFDS (which for most image sets needs TensorFlow, once), the chorales are
downloaded and known by their sha256, the embedded sets need nothing. What is downloaded is worked on in a folder of its
own and moved when whole: a run that fails leaves nothing behind.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from absl import flags, logging

from research.data import folders, music, tfds
from research.data.cache import fresh, remove
from research.data.images import Images
from research.data.named import KNOWN, TEXTS, Spec, named
from research.types import BadInput
from scripts import cli

EXTRA = ('tensorflow', 'importlib_resources')
Reason = (OSError, ValueError, RuntimeError, KeyError, AssertionError, ImportError)


def main(argv: list[str]) -> None:
    if len(argv) != 2:
        raise BadInput(
            f'expected one NAME, not {len(argv) - 1}: python -m scripts.prepare_data NAME [--data_dir FOLDER]'
        )
    print(obtain(argv[1], flags.FLAGS.data_dir))


def obtain(name: str, data_dir: str | None) -> str:
    """Get the set called `name` unless it is there, load it once, and describe it."""
    if name == music.NAME and music.found(data_dir) is None:
        download_music(folders.data_folder(data_dir) / name)
    elif of_tfds(name, data_dir) and not tfds.whole(name, data_dir):
        prepare_tfds(name, folders.tfds_folder(data_dir))
    return described(spec_of(name, data_dir), data_dir)


def of_tfds(name: str, data_dir: str | None) -> bool:
    """Whether a set must come from TFDS: all but the embedded ones, the chorales and paths."""
    embedded = name in KNOWN and name not in folders.TFDS_IMAGES and name != 'tiny_shakespeare'
    return not (embedded or folders.is_path(name) or folders.is_folder(name)) and bool(folders.checked_name(name))


def spec_of(name: str, data_dir: str | None) -> Spec:
    """The spec that loads `name`; by the time of asking it is there."""
    return Images(name=name) if of_tfds(name, data_dir) and name not in TEXTS else named(name, None, data_dir)


def described(spec: Spec, data_dir: str | None) -> str:
    """Sizes and hash of a set, as lines to be read."""
    data = spec.load(data_dir)
    sizes = ', '.join(f'{split} {count}' for split, count in data.protocol['sizes'].items() if count)
    unit = {'text': 'characters', 'music': 'time steps', 'image': 'images', 'points': 'rows'}[data.domain.modality]
    shape = '' if data.text else f' of shape {data.domain.shape}'
    symbols = f', {len(data.text)} symbols' if data.text else ''
    first = f'{data.name} is there: {sizes} {unit}{shape}{symbols}'
    return f'{first}\nsource  {data.protocol["source"]}\nsha256  {data.sha256}'


def made(home: Path) -> Path:
    """`home`, made if need be. Raises BadInput where it cannot be written."""
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f'{home} cannot be made ({error.strerror}): name a folder that can with --data_dir.') from error
    if not os.access(home, os.W_OK):
        raise BadInput(f'{home} cannot be written: name a folder that can with --data_dir.')
    return home


def download_music(home: Path) -> None:
    """The chorales' public file into `home`, if its sha256 is the one that was published."""
    import pooch

    temporary = fresh(made(home.parent))
    try:
        path = pooch.retrieve(music.ADDRESS, f'sha256:{music.SHA256[music.JSON]}', music.JSON, temporary)
        made(home)
        os.replace(path, home / music.JSON)
    except Reason as error:
        raise failed(music.NAME, music.ADDRESS, error) from error
    finally:
        remove(temporary)


def prepare_tfds(name: str, home: Path) -> None:
    """Let TFDS download and prepare a set in a folder of its own, then move it into `home`."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    import tensorflow_datasets

    logging.set_verbosity(logging.ERROR)
    temporary = fresh(made(home))
    try:
        builder = built(name, temporary, tensorflow_datasets)
        print(f'TFDS prepares {builder.info.full_name} in {home}', file=sys.stderr)
        builder.download_and_prepare(download_dir=temporary / 'downloads')
        move(Path(builder.data_path), temporary, home)
    except BadInput:
        raise
    except Exception as error:  # TFDS raises what any of its many readers raises
        raise failed(name, 'TFDS', error) from error
    finally:
        remove(temporary)


def built(name: str, home: Path, package: Any) -> Any:
    """TFDS's builder. Raises BadInput where TFDS knows no such set (with the nearest names) or TensorFlow lacks."""
    try:
        builder = package.builder(name, data_dir=home, file_format='array_record')
    except package.core.DatasetNotFoundError as error:
        near = folders.nearest(name, KNOWN, home)
        raise BadInput(f'TFDS knows no data set {name!r}' + (f': did you mean {near}?' if near else '.')) from error
    except ImportError as error:
        needs_tensorflow(name)
        raise failed(name, 'TFDS', error) from error
    if name != 'tiny_shakespeare':
        needs_tensorflow(name)
    return builder


def needs_tensorflow(name: str) -> None:
    """TFDS encodes images with TensorFlow when it prepares them; reading them later does not need it."""
    lacking = [package for package in EXTRA if importlib.util.find_spec(package) is None]
    if lacking:
        raise BadInput(
            f'To prepare {name!r}, TFDS needs {" and ".join(lacking)} once: '
            f'pip install tensorflow-cpu importlib_resources, '
            f'or copy a prepared {name} into the folder named by --data_dir or TFDS_DATA_DIR.'
        )


def move(prepared: Path, temporary: Path, home: Path) -> None:
    """Move <temporary>/<set>/<version> to <home>/<set>/<version>."""
    final = home / prepared.relative_to(temporary)
    final.parent.mkdir(parents=True, exist_ok=True)
    os.replace(prepared, final)


def failed(name: str, origin: str, error: Exception) -> BadInput:
    """The error for a download that went wrong, whatever the library called it."""
    first = (str(error).strip().splitlines() or [''])[0][:200]
    reason = f'{type(error).__name__}: {first}'
    if (
        type(error).__name__ == 'ConnectionError'
    ):  # that of requests or Python's own, with a page of retries in its text
        reason = 'there is no connection'
    elif isinstance(error, ModuleNotFoundError):
        reason = f'{first}: pip install tensorflow-cpu importlib_resources'
    return BadInput(f'Data set {name!r} cannot be had from {origin} ({reason}); nothing was kept.')


def define_flags() -> None:
    """Flags are defined when run, not when imported: another script may have one of the same name."""
    flags.DEFINE_string(
        'data_dir', None, 'Folder the set is looked for and put in; else TFDS_DATA_DIR for sets of TensorFlow '
        "Datasets, LIKENESS_DATA_DIR for the rest, else the user's cache folder.",
    )  # fmt: skip


if __name__ == '__main__':
    define_flags()
    cli.run(main)
