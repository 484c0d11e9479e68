"""Text, character by character: every symbol is scored exactly once.

A text is cut into windows of `length` symbols; each carries the `context` symbols before it, which are given and not
scored. Window i of a split that begins at position a holds positions a + i*length - context ... a + (i+1)*length - 1.
The text is one: the context of the first test window is the end of the training text. -1 stands where nothing is:
before the beginning of the text, and after the end of a split in its last window.

The alphabet is that of the whole text, as in the published tables (65 symbols for tiny_shakespeare).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from research.data import tfds
from research.data.folders import existing, is_path
from research.data.source import Alphabet, Data, Split, code_points
from research.types import BadInput, Domain, ranged

TEST_PART = 10  # the last tenth is the test text
CAP = 600_000  # characters of python_reference: 465048 in Python 3.11, 510664 in 3.13
LARGEST_ALPHABET = 2**15 - 1  # ids are int16


class Corpus(NamedTuple):
    """A text, the position where its test part begins, and what must be recorded."""

    text: str
    test_start: int
    notes: dict[str, Any]


def windows(ids: np.ndarray, start: int, stop: int, length: int, context: int) -> np.ndarray:
    """Windows [n, context + length] int16 that score ids[start:stop], each once, n = ceil((stop - start) / length)."""
    count = -(-(stop - start) // length)
    if not count:
        return np.empty((0, context + length), np.int16)
    row = np.full(context + count * length, -1, np.int16)
    first = max(start - context, 0)
    row[context - (start - first) : context + stop - start] = ids[first:stop]
    view = np.lib.stride_tricks.sliding_window_view(row, context + length)[::length]
    return np.ascontiguousarray(view)


@dataclass(frozen=True, kw_only=True)
class Text:
    """A text, by name or path, and how it is cut.

    name     'python_reference', 'tiny_shakespeare', or a path to a .txt in UTF-8
    length   symbols scored in one window
    context  symbols before them that are given
    valid    fraction of the training text, at its end, that is held out for validation
    """

    name: str = 'python_reference'
    length: int = ranged(64, at_least=1)
    context: int = ranged(1, at_least=0)
    valid: float = ranged(0.0, at_least=0, below=1)

    def load(self, data_dir: str | None = None) -> Data:
        """Data with windows [n, context + length]: int16 to train on, int32 for validation and test."""
        if self.length < 1 or self.context < 0 or not 0 <= self.valid < 1:
            raise BadInput(
                f'length={self.length}, context={self.context}, valid={self.valid}: length must be at least 1, '
                f'context at least 0, valid from 0 to below 1.'
            )
        corpus = read(self.name, data_dir)
        ids, alphabet = encoded(self.name, corpus.text)
        end, test_start = len(ids), corpus.test_start
        valid_start = test_start - int(self.valid * test_start)
        if valid_start < self.length:
            raise BadInput(
                f'Text {self.name!r} has {len(ids)} characters, {valid_start} of them to train on: '
                f'too short for windows of length={self.length}.'
            )
        cuts = {'train': (0, valid_start), 'valid': (valid_start, test_start), 'test': (test_start, end)}
        cut = {name: windows(ids, a, b, self.length, self.context) for name, (a, b) in cuts.items()}
        return Data(
            name=self.name, text=alphabet, sha256=hashlib.sha256(corpus.text.encode()).hexdigest(),
            train=Split(x=cut['train']), test=Split(x=cut['test'].astype(np.int32)),
            valid=Split(x=cut['valid'].astype(np.int32)) if len(cut['valid']) else None,
            domain=Domain(
                kind='tokens', shape=(self.context + self.length,), values=len(alphabet), unit='character',
                context=self.context, modality='text',
            ),
            levels=len(alphabet),
            protocol={
                'sizes': {name: b - a for name, (a, b) in cuts.items()},
                'windows': {name: len(x) for name, x in cut.items()},
                'values': 'as_is', 'test_seed': None, 'length': self.length, 'context': self.context,
                'alphabet': alphabet.symbols, **corpus.notes,
            },
        )  # fmt: skip


def encoded(name: str, text: str) -> tuple[np.ndarray, Alphabet]:
    """Ids [n] int16 and the sorted alphabet of the whole text."""
    symbols, ids = np.unique(code_points(text), return_inverse=True)
    if len(symbols) > LARGEST_ALPHABET:
        raise BadInput(
            f'Text {name!r} has {len(symbols)} different characters: at most {LARGEST_ALPHABET} are accepted.'
        )
    return ids.astype(np.int16), Alphabet(symbols=''.join(map(chr, symbols)))


def read(name: str, data_dir: str | None) -> Corpus:
    """The text called `name`."""
    if name == 'python_reference':
        return python_reference()
    if name == 'tiny_shakespeare':
        parts, source = tfds.tiny_shakespeare(data_dir)
        origin = "TFDS's validation and test texts together, the last 10 %"
        text = parts['train'] + parts['validation'] + parts['test']
        return Corpus(text, len(parts['train']), {'source': source, 'test': origin})
    if is_path(name):
        return own_text(existing(name))
    raise BadInput(f"Text {name!r} is unknown: it may be 'python_reference', 'tiny_shakespeare' or the path of a .txt.")


def python_reference() -> Corpus:
    """The reference that CPython carries for its `help`, topics in sorted order; it differs between Python versions."""
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise BadInput(
            "Data set 'python_reference' is the module pydoc_data.topics, which this Python lacks: give a .txt."
        ) from error
    whole = '\n'.join(topics[name] for name in sorted(topics))
    text = whole if len(set(whole)) <= 128 else ''.join(c for c in whole if c == '\n' or ' ' <= c <= '~')
    notes = {
        'source': 'pydoc_data.topics of CPython',
        'filtered': len(whole) - len(text),
        'capped': max(len(text) - CAP, 0),
    }
    return cut_off(text[:CAP], notes)


def own_text(path: Path) -> Corpus:
    """A .txt of the user's own. Raises BadInput for an empty one, or naming the first byte that is no UTF-8."""
    if path.suffix != '.txt' or not path.is_file():
        raise BadInput(f'{path} is not a .txt file.')
    try:
        text = path.read_bytes().decode('utf-8').removeprefix('\ufeff')
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise BadInput(f'{path} is not UTF-8: byte 0x{byte:02x} at offset {error.start} cannot be decoded.') from error
    except OSError as error:
        raise BadInput(f'{path} cannot be read ({error.strerror}).') from error
    if not text.strip():
        raise BadInput(f'{path} is empty: a text of at least 20 characters is needed.')
    if len(text) < 20:
        raise BadInput(f'{path} has {len(text)} characters: at least 20 are needed.')
    return cut_off(text, {'source': f'own file {path.name}'})


def cut_off(text: str, notes: dict[str, Any]) -> Corpus:
    """The text with its last tenth for testing."""
    start = len(text) - len(text) // TEST_PART
    return Corpus(text, start, notes | {'test': 'the last 10 % by position'})
