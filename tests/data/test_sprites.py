"""Sprites drawn from known factors: what each factor does to the picture, that every factor shows, and factor sets of TFDS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.data import Data, Images, Sprites, Toy, named, sprites
from research.types import BadInput
from tests.data.test_tfds import png, write

SIZES = (3, 6, 8, 16, 16)
SMALL = Sprites(sizes=(3, 2, 4, 3, 3), test=50)
SHA256 = 'd7684ed8e11f27ef'  # first digits


@pytest.fixture(scope='module')
def small() -> Data:
    return SMALL.load()


def forms(sizes: tuple[int, ...] = SIZES) -> np.ndarray:
    """Every shape, scale and rotation, all in one place."""
    rows = np.indices(sizes[:3]).reshape(3, -1).T
    return np.concatenate([rows, np.full((len(rows), 2), 8)], axis=1)


def test_pictures_are_binary_and_travel_with_their_factors(small: Data) -> None:
    assert small.factors == {'shape': 3, 'scale': 2, 'rotation': 4, 'x': 3, 'y': 3}
    assert (small.train.x.shape, small.train.x.dtype, len(small.test)) == ((166, 32, 32, 1), np.uint8, 50)
    assert (small.domain.kind, small.domain.shape, small.domain.modality) == ('binary', (32, 32, 1), 'image')
    assert small.test.x.dtype == np.float32 and set(np.unique(small.test.x)) == {0, 1}
    for split in (small.train, small.test):
        assert split.factors is not None and split.factors.dtype == np.int32
        drawn = sprites.draw(split.factors, 32, SMALL.sizes, SMALL.turn)
        assert (drawn == split.x).all()
    both = np.concatenate([small.train.factors, small.test.factors])  # type: ignore[arg-type]
    cells = np.ravel_multi_index(tuple(both.T), SMALL.sizes)
    assert sorted(cells) == list(range(216))  # the whole grid, each cell once
    assert small.protocol['factors'] == small.factors and small.protocol['sizes']['train'] == 166


def test_validation_is_held_out_with_its_factors(small: Data) -> None:
    data = replace(SMALL, valid=20).load()
    assert data.valid is not None and data.valid.factors is not None and small.train.factors is not None
    assert (data.valid.factors == small.train.factors[-20:]).all() and len(data.train) == 146
    assert (data.valid.x == small.train.x[-20:]).all()


def test_the_seed_decides_which_cells_and_nothing_else() -> None:
    few = replace(SMALL, examples=60, test=20)
    first, again, other = few.load(), few.load(), replace(few, seed=1).load()
    assert first.sha256 == again.sha256 != other.sha256
    assert (len(first.train), len(first.test)) == (40, 20)
    assert first.protocol['source'] == 'sprites of 32 pixels, a turn of 90 degrees, cells drawn with seed 0'


def test_these_pictures_are_the_ones_recorded(small: Data) -> None:
    assert small.sha256.startswith(SHA256)
    assert (int(small.train.x.sum()), int(small.test.x.sum())) == (12278, 4212)


@pytest.mark.parametrize('side', [32, 64])
def test_every_factor_shows_and_no_pixel_is_decided_by_rounding(side: int) -> None:
    """144 forms have 144 pictures. A pixel's centre is never so near to an outline that another machine's last bit matters."""
    factors = forms()
    x = sprites.draw(factors, side, SIZES, 0.25).reshape(144, -1)
    assert len(np.unique(x, axis=0)) == 144
    nearest = min(np.abs(sprites.level(row[None], side, SIZES, 0.25)).min() for row in factors)
    assert nearest > 1e-7


def test_places_are_whole_pixels_apart_and_nothing_is_cut_off() -> None:
    """A step in x or y moves the picture by one pixel at a side of 32; the largest square stays inside in the corners."""
    corners = np.array([[0, 5, 4, x, y] for x, y in ((0, 0), (1, 0), (15, 0), (0, 15), (15, 15))])
    x = sprites.draw(corners, 32, SIZES, 0.25)[..., 0]
    for other, (columns, rows) in zip(x[1:], ((1, 0), (15, 0), (0, 15), (15, 15)), strict=True):
        assert (np.roll(x[0], (rows, columns), axis=(0, 1)) == other).all()
    assert len({int(picture.sum()) for picture in x}) == 1


def test_area_and_angle_are_those_of_the_factors() -> None:
    """At 256 pixels: areas of 2, pi / 2 and 1.8045 r^2, and the ellipse's axis (from second moments) at its angle."""
    side, sizes = 256, (3, 6, 8, 1, 1)
    factors = forms(sizes) * [1, 1, 1, 0, 0]
    x = sprites.draw(factors, side, sizes, 0.25)[..., 0].astype(float)
    r = sprites.RADIUS * side * (0.5 + factors[:, 1] / 10)
    unit = np.array([2, np.pi / 2, 3.6620 / sprites.REACH**2])[factors[:, 0]]
    np.testing.assert_allclose(x.sum(axis=(1, 2)), unit * r**2, rtol=0.035)
    rows, columns = np.indices((side, side))
    for picture, (shape, _, rotation, _, _) in zip(x, factors, strict=True):
        if shape == 1:
            right, up = columns[picture > 0], -rows[picture > 0]
            covariance = np.cov(right, up)
            angle = 0.5 * np.arctan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1])
            assert angle % np.pi == pytest.approx(np.pi / 2 * rotation / 8, abs=0.02)


def test_a_whole_turn_hides_the_angle_of_a_square() -> None:
    """What dSprites does: of 8 angles of a whole turn a square shows 2, an ellipse 4, a heart all."""
    factors = np.array([[shape, 0, angle, 0, 0] for shape in range(3) for angle in range(8)])
    x = sprites.draw(factors, 128, (3, 1, 8, 1, 1), 1.0).reshape(3, 8, -1).astype(int)
    apart = np.abs(x[:, :, None] - x[:, None]).sum(axis=3) / x.sum(axis=2)[:, :, None]
    assert [len({tuple(row < 0.03) for row in one}) for one in apart] == [2, 4, 8]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'sizes': (3, 6, 8)}, 'expected five numbers below 1024, of values of shape, scale, rotation, x and y'),
        ({'sizes': (4, 1, 1, 9, 9)}, 'there are 3 shapes'),
        ({'examples': 217}, r'examples=217: the grid of \(3, 2, 4, 3, 3\) has 216 cells'),
        ({'test': 216}, 'test=216 is out of range: there are 216 examples, so 1 to 215'),
        ({'valid': 166}, "valid=166 is out of range: 'sprites' has 166 training examples"),
        ({'side': 256, 'sizes': (3, 6, 40, 32, 32)}, 'do not fit into 2 GiB: set examples=32768 or less'),
        ({'values': 'sharpen'}, "values='sharpen' is unknown"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        replace(SMALL, **changes).load()
    assert '\n' not in str(caught.value)


def test_sprites_are_known_by_name() -> None:
    assert named('sprites', Toy()) == Sprites()
    assert named('sprites', SMALL) == SMALL
    with pytest.raises(BadInput, match="did you mean 'sprites' or 'dsprites'"):
        named('sprite')


def test_factor_sets_of_tfds_bring_their_factors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty pictures laid out as TFDS's dsprites are: pixels 0 or 1, a class label for each factor, no test split."""
    kinds = pytest.importorskip('tensorflow_datasets', reason='tensorflow-datasets is not installed').features
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'tfds'))
    for name in ('dsprites', 'shapes3d'):
        command = f'python -m scripts.prepare_data {name}'
        with pytest.raises(BadInput, match=rf"'{name}' is not in .*: get it with `{command}`"):
            Images(name=name).load()
    sizes = {'shape': 3, 'scale': 6, 'orientation': 40, 'x_position': 32, 'y_position': 32}
    features = {'image': kinds.Image(shape=(64, 64, 1))}
    features |= {f'label_{name}': kinds.ClassLabel(num_classes=size) for name, size in sizes.items()}
    features |= {f'value_{name}': kinds.Tensor(shape=(), dtype=np.float32) for name in sizes}
    factors = np.random.default_rng(0).integers(0, list(sizes.values()), (30, 5))
    x = sprites.draw(factors, 64, tuple(sizes.values()), 1.0)
    examples = [
        {'image': png(picture[..., 0])}
        | {f'label_{name}': int(value) for name, value in zip(sizes, row, strict=True)}
        | {f'value_{name}': 0.5 for name in sizes}
        for picture, row in zip(x, factors, strict=True)
    ]
    write(tmp_path / 'tfds' / 'dsprites' / '2.0.0', kinds.FeaturesDict(features), {'train': examples})
    for _ in range(2):  # the second time from the cache
        data = Images(name='dsprites', values='binarise').load()
        assert data.factors is not None and sorted(data.factors.items()) == sorted(sizes.items())
        assert (data.levels, data.domain.kind, len(data.train), len(data.test)) == (2, 'binary', 27, 3)
        order = [list(sizes).index(name) for name in data.factors]
        for split in (data.train, data.test):
            assert split.factors is not None
            for picture, row in zip(split.x, split.factors, strict=True):
                (i,) = np.flatnonzero((factors[:, order] == row).all(axis=1))
                assert (x[i] == picture).all()
        assert data.protocol['factors'] == data.factors
