"""Properties of what every loader returns: transformation, hash, hold-out."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from research.data.raw import Raw, assemble, digest_splits
from research.data.source import Alphabet, Split, Values, digest, prepare
from research.data.toy import Toy, grid, ring
from research.maths import preprocess
from research.types import BadInput

LEVELS = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def raw(x: np.ndarray, levels: int = 256) -> Raw:
    train, test = Split(x=x[:-2], label=np.arange(len(x) - 2, dtype=np.int32)), Split(x=x[-2:])
    return Raw(
        train=train, test=test, levels=levels, sha256=digest_splits(train, None, test), notes={'source': 'a test'}
    )


def test_scale_and_threshold_in_closed_form() -> None:
    np.testing.assert_allclose(prepare(LEVELS, 'scale', 256, rng()).ravel(), np.arange(256) / 255, rtol=1e-6)
    assert (prepare(LEVELS, 'threshold', 256, rng()).ravel() == (np.arange(256) > 127)).all()
    two = np.array([[0, 1]], np.uint8)
    for values in ('scale', 'threshold', 'binarise', 'as_is'):
        assert prepare(two, values, 2, rng()).tolist() == [[0.0, 1.0]]


def test_binarise_has_the_grey_level_as_its_mean() -> None:
    grey = np.repeat(np.array([0, 51, 128, 255], np.uint8)[:, None], 20000, axis=1)
    drawn = prepare(grey, 'binarise', 256, rng())
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(1), [0, 0.2, 128 / 255, 1], atol=5 * 0.5 / 20000**0.5)
    assert drawn[0].max() == 0
    assert drawn[3].min() == 1


def test_dequantise_stays_in_its_grey_level() -> None:
    x = prepare(LEVELS, 'dequantise', 256, rng())
    assert x.min() >= 0
    assert x.max() <= 1
    assert (np.abs(x * 256 - LEVELS - 0.5) <= 0.5).all()


@pytest.mark.parametrize('values', ['scale', 'threshold', 'integer', 'as_is'])
def test_agrees_with_its_twin_in_jax(values: Values) -> None:
    tokens = np.array([[-1, 0, 5]], np.int16)
    for x, levels in ((LEVELS, 256), (LEVELS % 17, 17), (LEVELS % 2, 2), (tokens, 6)):
        if x is tokens and values not in ('as_is', 'integer'):
            continue
        ours, theirs = (
            prepare(x, values, levels, rng()),
            preprocess.prepare(jax.numpy.asarray(x), values, levels, jax.random.key(0)),
        )
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_test_split_is_fixed_by_its_seed_and_untouched_by_valid() -> None:
    x = np.random.default_rng(1).integers(0, 256, (12, 4, 4, 1), np.uint8)

    def load(valid: int = 0, test_seed: int = 777) -> np.ndarray:
        return assemble(raw(x), name='t', values='binarise', modality='image', valid=valid, test_seed=test_seed).test.x

    assert (load() == load(valid=3)).all()
    assert (load() != load(test_seed=778)).any()
    assert (load() == prepare(x[-2:], 'binarise', 256, np.random.default_rng(777))).all()


def test_training_stays_raw_and_validation_is_its_end() -> None:
    x = np.random.default_rng(1).integers(0, 256, (12, 4, 4, 1), np.uint8)
    data = assemble(raw(x), name='t', values='scale', modality='image', valid=3)
    assert data.train.x.dtype == np.uint8
    assert np.shares_memory(data.train.x, x)
    assert data.valid is not None
    np.testing.assert_allclose(data.valid.x, x[7:10] / 255, rtol=1e-6)
    assert data.valid.label is not None
    assert data.valid.label.tolist() == [7, 8, 9]
    assert data.protocol['sizes'] == {'train': 7, 'valid': 3, 'test': 2}
    assert data.sha256 == assemble(raw(x), name='t', values='binarise', modality='image').sha256


@pytest.mark.parametrize(
    ('values', 'kind', 'count', 'cell'),
    [
        ('scale', 'unit', 256, 1), ('binarise', 'binary', 0, 1), ('threshold', 'binary', 0, 1),
        ('dequantise', 'unit', 256, 1 / 256), ('integer', 'integer', 256, 1), ('as_is', 'real', 0, 1),
    ],
)  # fmt: skip
def test_domain_is_what_the_model_sees(values: Values, kind: str, count: int, cell: float) -> None:
    x = np.zeros((12, 4, 5, 3), np.uint8)
    domain = assemble(raw(x), name='t', values=values, modality='image').domain
    assert (domain.kind, domain.values, domain.cell, domain.shape) == (kind, count, cell, (4, 5, 3))


@pytest.mark.parametrize('valid', [-1, 10, 11])
def test_valid_must_leave_something_to_train_on(valid: int) -> None:
    with pytest.raises(BadInput, match=r'valid=.* out of range.* 10 training examples, so 0 to 9'):
        assemble(raw(np.zeros((12, 2, 2, 1), np.uint8)), name='t', values='scale', modality='image', valid=valid)


def test_hash_changes_with_a_pixel_a_label_a_shape_and_a_type() -> None:
    x = np.zeros((4, 3), np.uint8)
    pixel = x.copy()
    pixel[2, 1] = 1
    hashes = {digest({'a': y}) for y in (x, pixel, x.reshape(3, 4), x.astype(np.int8), x.astype(np.int16))}
    assert len(hashes) == 5
    assert digest({'a': x, 'b': None}) == digest({'a': np.asfortranarray(x)})
    assert digest({'a': x.astype('>i4')}) == digest({'a': x.astype('<i4')})
    label = np.zeros(4, np.int32)
    assert digest_splits(Split(x=x), None, None) != digest_splits(Split(x=x, label=label), None, None)


def test_alphabet_there_and_back() -> None:
    alphabet = Alphabet(symbols='\n abé')
    ids = alphabet.encode('é ab\n')
    assert ids.tolist() == [4, 1, 2, 3, 0]
    assert alphabet.decode(np.array([[-1, 4], [1, 2]])) == 'é a'
    with pytest.raises(BadInput, match="'z' at position 1"):
        alphabet.encode('az')
    with pytest.raises(BadInput, match='id 5 is outside'):
        alphabet.decode(np.array([5]))


def test_toy_modes_and_their_spread() -> None:
    assert ring().means.shape == (8, 2)
    np.testing.assert_allclose(np.linalg.norm(ring().means, axis=1), 1)
    assert sorted(map(tuple, grid().means)) == [(a, b) for a in (-4, -2, 0, 2, 4) for b in (-4, -2, 0, 2, 4)]
    for name, mixture in (('ring', ring()), ('grid', grid())):
        data = Toy(name='ring' if name == 'ring' else 'grid', train=20000).load()
        assert data.train.x.dtype == np.float32
        assert data.train.label is not None
        off = (data.train.x - mixture.means[data.train.label]) / mixture.sd
        np.testing.assert_allclose(off.std(0), 1, atol=0.03)
        np.testing.assert_allclose(np.bincount(data.train.label) / 20000, 1 / len(mixture.means), atol=0.012)
    assert Toy().load().sha256 == Toy().load().sha256 != Toy(seed=1).load().sha256
    assert (data.test.x[:100] != data.train.x[:100]).all()
