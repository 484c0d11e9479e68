"""Data sets: NumPy only, and no model is known here. ADD A DATA SET HERE: one frozen spec with `load() -> Data`."""

from research.data.binary import Binary
from research.data.images import Images
from research.data.music import Music
from research.data.named import Spec, named
from research.data.own import Table
from research.data.records import Records
from research.data.source import Alphabet, Data, Split, Streamed, Values, prepare
from research.data.sprites import Sprites
from research.data.text import Text
from research.data.toy import Toy

__all__ = [
    'Alphabet', 'Binary', 'Data', 'Images', 'Music', 'Records', 'Spec', 'Split', 'Sprites', 'Streamed', 'Table', 'Text', 'Toy', 'Values',
    'named', 'prepare',
]  # fmt: skip
