"""Compressors on a text: the published figures, and the table beside a model of the same text."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import pytest

from experiments import text_compressors
from research.data import tfds
from research.data.text import Corpus, read
from tests.command import Command, caller


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return caller(capsys, monkeypatch)


@pytest.mark.skipif(
    not tfds.available('tiny_shakespeare'), reason='TFDS_DATA_DIR is not set or has no tiny_shakespeare'
)
def test_tiny_shakespeare_gives_the_published_figures() -> None:
    """A compressor is told from another version of itself by the third decimal at most."""
    found = {figure.name: figure.nats for figure in text_compressors.compressed(read('tiny_shakespeare', None))}
    assert found == pytest.approx({'zlib -9': 2.146, 'bz2 -9': 1.662, 'xz -9e': 1.746}, abs=0.002)


def test_the_test_text_alone_is_charged_for() -> None:
    """A training text that the compressor has seen costs nothing; 'é' is one character of two bytes."""
    train, test = 'abcé' * 50, 'xyzé' * 10
    (figure, *_) = text_compressors.compressed(Corpus(train + test, len(train), {}))
    extra = len(zlib.compress((train + test).encode(), 9)) - len(zlib.compress(train.encode(), 9))
    assert figure.name == 'zlib -9'
    assert figure.nats == pytest.approx(extra * 8 * math.log(2) / 40)


def test_the_embedded_text_needs_nothing_else(call: Command) -> None:
    done = call(text_compressors, '--nomodels')
    assert done.code == 0, done.err
    assert 'python_reference: ' in done.out
    *_, header, first, second, third = done.out.splitlines()
    assert header.split() == ['nats', 'bits', 'seconds']
    assert len({len(line) for line in (header, first, second, third)}) == 1
    nats = [float(line.split()[-3]) for line in (first, second, third)]
    assert nats == sorted(nats)
    assert 0.5 < nats[0] < 3


def test_models_of_an_own_text_stand_beside_them(
    call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_compressors, 'MODELS', ('ngram_python',))
    (tmp_path / 'mine.txt').write_text('to be or not to be, that is the question. ' * 20)
    done = call(text_compressors, '--data', tmp_path / 'mine.txt')
    assert done.code == 0, done.err
    assert 'NGram of order 5, WittenBell' in done.out
    assert 'nan' not in done.out
    assert done.out.count('-9') == 3


def test_what_is_no_text_is_refused(call: Command) -> None:
    done = call(text_compressors, '--data', 'digits')
    assert done.code == 2
    assert 'error: --data digits' in done.err
