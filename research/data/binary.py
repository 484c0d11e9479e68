"""The 20 binary sets on which tractable density estimators are compared. Lowd & Davis 2010; Van Haaren & Davis 2012.

From 16 (nltcs) to 1556 (ad) variables, each split into train, valid and test as published; the measure is nats per
example over the test split. Files: github.com/UCLA-StarAI/Density-Estimation-Datasets, packed one set to a .npz with the
arrays train, valid and test (uint8, 0 or 1), and known by its sha256. Two sizes differ from the table in that repository's
README, and are those of its files: kdd has 64 variables (not 65), tmovie 4524 training rows (not 4525).
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from research.data.folders import data_folder
from research.data.raw import Raw, assemble, digest_splits
from research.data.source import Data, Split
from research.types import BadInput

FOLDER = 'debd'
ORIGIN = 'github.com/UCLA-StarAI/Density-Estimation-Datasets'
SHA256 = {
    'accidents': '461b4c0a2b251e3ca478881ffe425a23f0007d5876727ac74fd1513b9a2b9260',
    'ad': '234c5197938308a8d6e0415ec3070971945f8d967438549860e233f82441056b',
    'baudio': '3e6a0ca079dcd4fc7dd15b514d77e00c9446a9ccca62c288bef36bf0b223c861',
    'bbc': '7fa566a7b76f9fc9bf7a07a533aa2031f70781143104d54ec51864878fab5359',
    'bnetflix': '983b9d03bb3c4f614e6e4326a7cea423a10cca39adfea275f568bc771a88d3c3',
    'book': '82e9c38bbfae0794e41b2ef1cfcad75968d972a275f52df89d1b47308e12fd20',
    'c20ng': '281222d3c0be05a1af9dc703b63129c927a5ab8a3b9e4758a7d1caa6b44ffa4d',
    'cr52': '0b6432790a07d77fa6dab4672bb81e62615f35e6b35804ec824f6c74d31f3a8a',
    'cwebkb': '6b5e7ba8a132c08cd930b6a19ed8dba722b3d8c6471c8f7ef1055ea55ae49d7f',
    'dna': 'a1a01944f2e95e56ec53e5d1f3d66c7000f06258e16d11d0397be2cb594b3a56',
    'jester': '2caf3089ab012233a1f086cd483667862a869cec000e53f1a404b937e3395f76',
    'kdd': 'd80152495a907abd26188180b12fe088b94c3d0970a65d3553015192f86f3baf',
    'kosarek': 'b04081542294d098a87831f151c71071c4da4216267ec0cf27caa7ec7ebf19e0',
    'msnbc': '027783c5155cded6f744de3a69ea7485cd98fac801380d6411b9944ea8f44ffa',
    'msweb': '29846096c3c0367ead9108bd6eeea73f6ad3f8baf5bc4572c6316f27d8af4e62',
    'nltcs': 'a8420b36315e682f0eb471817d216293df38fa02173e2d4a2edf52fc3b79bc37',
    'plants': '2a4d15b4d93411e78f97a5692348875ae4bb89a53a0a75f3fc1568e86c040345',
    'pumsb_star': '8e57cede56037abd3a8b53e404626185aced4beeab32a73f42f1a4b14cd878fd',
    'tmovie': '2a655139166183661fc3cb20062edd6ad25ca1474f4d39dedab68797f21c5baa',
    'tretail': 'c58069a4ba1d0643bc3680609bb8a3022d1c165240cc7c76189cf5992bb70f4b',
}
BINARY = tuple(SHA256)
PACKED = 'packed as arrays train, valid and test (uint8) with numpy.savez_compressed'


def checked(path: Path) -> bytes:
    """The file's bytes. Raises BadInput where they are not the ones that are known."""
    content = path.read_bytes()
    sha256, known = hashlib.sha256(content).hexdigest(), SHA256[path.stem]
    if sha256 != known:
        raise BadInput(
            f'{path} is damaged or another file: its sha256 is {sha256[:12]}..., not {known[:12]}...; '
            f'the set may be had from {ORIGIN}.'
        )
    return content


@dataclass(frozen=True, kw_only=True)
class Binary:
    """One of the 20 sets, by its short name: nltcs, msnbc, kdd, plants, ..."""

    name: str = 'nltcs'

    def load(self, data_dir: str | None = None) -> Data:
        """Data with uint8 rows [n, variables] in {0, 1}. Raises BadInput for an unknown, missing or damaged set."""
        if self.name not in SHA256:
            raise BadInput(f'Binary set {self.name!r} is unknown: it may be {", ".join(BINARY)}.')
        path = data_folder(data_dir) / FOLDER / f'{self.name}.npz'
        if not path.is_file():
            raise BadInput(
                f'Data set {self.name!r} is not in {path.parent}: it may be had from {ORIGIN} ({self.name}.train.data, '
                f'.valid.data and .test.data), {PACKED} as {path.name}.'
            )
        with np.load(io.BytesIO(checked(path)), allow_pickle=False) as archive:
            train, valid, test = (Split(x=archive[split]) for split in ('train', 'valid', 'test'))
        notes = {'source': path.name, 'test': 'as published'}
        sha256 = digest_splits(train, valid, test)
        raw = Raw(train=train, valid=valid, test=test, levels=2, sha256=sha256, notes=notes)
        return assemble(raw, name=self.name, values='as_is', modality='points')
