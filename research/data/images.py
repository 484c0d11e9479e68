"""Images: scikit-learn's digits (embedded, the offline default), any TFDS image set by name, or the user's own.

Raw images are uint8 [n, height, width, channels]. How they become what a model sees is declared, `values`:
binarised MNIST means three things in papers, and figures on one are not figures on another. Here 'binarise' is the
dynamic one (Bernoulli with the grey level as its probability, drawn anew for each batch, test drawn once), 'threshold'
cuts at half of the range, and the fixed binarisation of Larochelle is a set of its own.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from research.data import own, pictures, tfds, tfds_images
from research.data.folders import existing, is_folder, is_path
from research.data.raw import TEST_SEED, Raw, assemble, digest_splits
from research.data.source import Data, Split, Values
from research.types import BadInput, ranged

DIGITS_TEST = 397  # of 1797
DIGITS_LEVELS = 17  # 0 .. 16: counts of dark pixels in 4x4 blocks
DIGITS_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Images:
    """A set of images, by name or path, and how they are shown to a model.

    name       'digits', a TFDS image set ('mnist', ...), a path to a .npz or to a folder of images
    values     'binarise', 'scale', 'threshold', 'dequantise', 'integer' or 'as_is': see `source.prepare`
    valid      so many of the last training examples are held out for validation
    test_seed  what binarisation or dequantisation of the test split is drawn from
    """

    name: str = 'digits'
    values: Values = 'binarise'
    valid: int = ranged(0, at_least=0)
    test_seed: int = ranged(TEST_SEED, at_least=0)

    def load(self, data_dir: str | None = None) -> Data:
        """Data with uint8 (the user's own: or float32) training images [n, height, width, channels]."""
        return assemble(
            self._raw(data_dir),
            name=self.name,
            values=self.values,
            modality='image',
            valid=self.valid,
            test_seed=self.test_seed,
        )

    def _raw(self, data_dir: str | None) -> Raw:
        if self.name == 'digits':
            return digits()
        if is_path(self.name) or (is_folder(self.name) and not tfds.available(self.name, data_dir)):
            path = existing(self.name)
            return pictures.folder(path) if path.is_dir() else own.images(path)
        return tfds_images.image_set(self.name, data_dir)


def digits() -> Raw:
    """1797 digits of 8x8 pixels, 17 grey levels: test part of Alpaydin & Kaynak 1998 (UCI), as scikit-learn has it.

    The file is read where scikit-learn is installed, without importing it (4 s). The set has no split of its own;
    a permutation from a fixed seed makes one, 1400 for training and 397 for testing.
    """
    spec = importlib.util.find_spec('sklearn')
    places = list(spec.submodule_search_locations or []) if spec else []
    path = next((p for p in (Path(place) / 'datasets/data/digits.csv.gz' for place in places) if p.is_file()), None)
    if path is None:
        raise BadInput(
            "Data set 'digits' is part of the package scikit-learn, which is not here: pip install scikit-learn."
        )
    try:
        table = np.loadtxt(path, delimiter=',', dtype=np.uint8)  # [1797, 64 pixels and the label]
        table = table[np.random.default_rng(DIGITS_SEED).permutation(len(table))]
        x, label = table[:, :64].reshape(1797, 8, 8, 1), table[:, 64].astype(np.int32)
    except (OSError, EOFError, ValueError) as error:
        raise BadInput(
            f"Data set 'digits' cannot be read from {path} ({error}): install scikit-learn again."
        ) from error
    cut = len(x) - DIGITS_TEST
    train, test = Split(x=x[:cut], label=label[:cut]), Split(x=x[cut:], label=label[cut:])
    notes = {
        'source': 'scikit-learn, datasets/data/digits.csv.gz',
        'test': f'the last {DIGITS_TEST} after a permutation with seed {DIGITS_SEED}',
    }
    return Raw(train=train, test=test, levels=DIGITS_LEVELS, sha256=digest_splits(train, None, test), notes=notes)
