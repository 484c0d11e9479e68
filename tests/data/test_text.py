"""Every symbol is scored once, with the right symbols before it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from research.data import tfds
from research.data.named import named
from research.data.text import Text, windows
from research.types import BadInput

TEXT = 'It was a dark and stormy night; the rain fell in torrents, except at occasional intervals.\n' * 7


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / 'story.txt'
    file.write_text(TEXT)
    return str(file)


@pytest.mark.parametrize('length', [1, 7, 64])
@pytest.mark.parametrize('context', [0, 1, 5, 100])
def test_every_symbol_is_scored_once_after_what_precedes_it(path: str, length: int, context: int) -> None:
    data = Text(name=path, length=length, context=context, valid=0.2).load()
    assert data.valid is not None
    assert data.text is not None
    ids = data.text.encode(TEXT)
    position = 0
    for split, name in ((data.train, 'train'), (data.valid, 'valid'), (data.test, 'test')):
        end = position + data.protocol['sizes'][name]
        for window in split.x:
            scored, before = window[context:], window[:context]
            count = min(length, end - position)
            assert (scored[:count] == ids[position : position + count]).all()
            assert (scored[count:] == -1).all()
            known = ids[max(position - context, 0) : position]
            assert (before == np.concatenate([np.full(context - len(known), -1), known])).all()
            position += count
        assert position == end
    assert position == len(TEXT)


def test_windows_put_together_are_the_text(path: str) -> None:
    data = Text(name=path, length=13, context=3).load()
    assert data.text is not None
    assert data.text.decode(data.train.x[:, 3:]) + data.text.decode(data.test.x[:, 3:]) == TEXT
    assert data.domain.shape == (16,)
    assert (data.domain.kind, data.domain.unit, data.domain.values) == ('tokens', 'character', len(set(TEXT)))
    assert (data.domain.context, data.domain.dims, data.domain.modality) == (3, 1, 'text')
    assert (data.train.x.dtype, data.test.x.dtype) == (np.int16, np.int32)
    assert data.protocol['sizes'] == {'train': 574, 'valid': 0, 'test': 63}
    assert data.valid is None
    assert data.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()


def test_empty_range_has_no_windows() -> None:
    assert windows(np.arange(5, dtype=np.int16), 3, 3, 4, 2).shape == (0, 6)


def test_python_reference_is_the_whole_of_it_or_says_what_is_cut() -> None:
    from pydoc_data.topics import topics

    data = Text().load()
    whole = len('\n'.join(topics.values()))
    assert sum(data.protocol['sizes'].values()) == whole - data.protocol['filtered'] - data.protocol['capped']
    assert data.domain.values <= 128
    assert data.sha256 == Text(length=5, context=0).load().sha256


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'story.txt is empty'), (b' \n \t\n', 'is empty'), (b'short', 'has 5 characters: at least 20'),
        (b'a fine beginning, then \xff and so on', 'story.txt is not UTF-8: byte 0xff at offset 23'),
        (b'twenty characters and a few', 'too short for windows of length=64'),
    ],
)  # fmt: skip
def test_bad_text_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / 'story.txt'
    file.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        Text(name=str(file)).load()


@pytest.mark.parametrize('name', ['no_such_text', '../nothing.txt', './nothing.txt', '/nowhere/nothing.txt', 'digits'])
def test_unknown_text_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        Text(name=name).load()


@pytest.mark.parametrize(('length', 'context', 'valid'), [(0, 1, 0.0), (64, -1, 0.0), (64, 1, 1.0), (64, 1, -0.5)])
def test_settings_out_of_range_are_refused(length: int, context: int, valid: float) -> None:
    with pytest.raises(BadInput, match='must be at least'):
        Text(length=length, context=context, valid=valid).load()


def test_own_text_keeps_the_settings(path: str) -> None:
    assert named(path, Text(length=32, context=8, valid=0.1)) == Text(name=path, length=32, context=8, valid=0.1)


@pytest.mark.skipif(
    not tfds.available('tiny_shakespeare'), reason='TFDS_DATA_DIR is not set or has no tiny_shakespeare'
)
def test_tiny_shakespeare_is_the_published_text() -> None:
    data = Text(name='tiny_shakespeare').load()
    assert data.protocol['sizes'] == {'train': 1003854, 'valid': 0, 'test': 111540}
    assert data.domain.values == 65
    assert data.sha256 == '86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed'  # of char-rnn's input.txt
