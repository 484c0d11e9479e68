"""A pixel of a picture is a value of a sample."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from research.report import pictures
from research.types import BadInput


def pixels(png: bytes) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture)


def test_a_grid_holds_every_value_enlarged_and_clipped() -> None:
    images = np.array([[[0.0, 0.5], [1.0, 2.0]], [[-1.0, 0.25], [0.75, 1.0]]])[..., None]
    shown = pixels(pictures.grid(images, columns=2, scale=3))
    assert shown.shape == (8, 15)
    expected = [[[0, 128], [255, 255]], [[0, 64], [191, 255]]]
    for i, left in enumerate((1, 8)):
        cell = shown[1:7, left : left + 6]
        np.testing.assert_array_equal(cell, np.kron(expected[i], np.ones((3, 3))))


def test_a_grid_is_row_by_row_and_colour_stays_colour() -> None:
    images = np.zeros((3, 1, 1, 3), np.uint8)
    images[0, ..., 0], images[1, ..., 1], images[2, ..., 2] = 255, 255, 255
    shown = pixels(pictures.grid(images, scale=1))
    assert [tuple(shown[1, 1]), tuple(shown[1, 3]), tuple(shown[3, 1])] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert tuple(shown[3, 3]) == (pictures.GUTTER,) * 3


@pytest.mark.parametrize('kind', [np.uint8, np.int32, np.bool_, np.float32])
def test_each_type_of_white_is_white(kind: type) -> None:
    white = {np.bool_: True, np.float32: 1.0}.get(kind, 255)
    assert pixels(pictures.grid(np.full((1, 2, 2), white, kind), scale=1))[1, 1] == 255


def test_what_cannot_be_drawn_is_refused() -> None:
    for bad in (np.zeros((2, 3)), np.zeros((1, 2, 2, 2)), np.zeros((0, 2, 2, 1)), np.full((1, 2, 2), np.nan)):
        with pytest.raises(BadInput):
            pictures.grid(bad)
    with pytest.raises(BadInput, match=r'\[n, 2\]'):
        pictures.scatter(np.zeros((4, 3)))
    with pytest.raises(BadInput, match=r'\[time, keys\]'):
        pictures.roll(np.zeros(88))
    with pytest.raises(BadInput, match='image, music or points'):
        pictures.draw(np.zeros((1, 2)), {'modality': 'smell'})


def test_a_scatter_points_upwards_and_flags_what_escapes() -> None:
    limits = (-1.0, 1.0, -1.0, 1.0)
    shown = pixels(pictures.scatter(np.array([[0.5, 0.5]] * 20), limits)).astype(int)
    dark = np.argwhere(np.abs(shown - pictures.INK).sum(axis=2) < 9)
    row, column = dark.mean(axis=0) / pictures.SIDE
    assert abs(row - 0.25) < 0.01 and abs(column - 0.75) < 0.01
    escaped = pixels(pictures.scatter(np.array([[9.0, 0.0]] * 20), limits)).astype(int)
    orange = np.argwhere(np.abs(escaped - pictures.EDGE).sum(axis=2) < 9)
    assert len(orange) and orange[:, 1].min() > pictures.SIDE - 8


def test_limits_hold_all_points_and_are_square() -> None:
    assert pictures.limits_of(np.array([[0.2, -2.1], [1.0, 0.0]])) == (-2.5, 2.5, -2.5, 2.5)


def test_a_roll_puts_time_to_the_right_and_low_keys_at_the_bottom() -> None:
    frames = np.zeros((6, 88))
    frames[5, 0] = 1
    shown = pixels(pictures.roll(frames, scale=4))
    assert shown.shape == (88 * 4, 6 * 4, 3)
    ink = np.argwhere((shown == pictures.INK).all(axis=2))
    assert (ink.min(axis=0) == (87 * 4, 5 * 4)).all() and len(ink) == 16


def test_a_domain_tells_what_white_is() -> None:
    ones = np.ones((1, 2, 2, 1), np.int32)
    for domain in ({'kind': 'binary'}, {'kind': 'integer', 'values': 2}):
        assert pixels(pictures.draw(ones, domain | {'modality': 'image'}))[3 * 8, 3 * 8] == 255
    assert pixels(pictures.draw(ones, {'modality': 'image', 'kind': 'integer', 'values': 256}))[24, 24] == 1


def test_points_off_the_plane_become_a_table() -> None:
    assert pixels(pictures.draw(np.eye(16), {'modality': 'points', 'kind': 'binary'})).ndim == 2


def test_save_is_deterministic_and_leaves_nothing_beside(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).random((5, 4, 4, 1))
    for name in ('a.png', 'b.png'):
        pictures.save(samples, {'modality': 'image'}, tmp_path / name)
    assert (tmp_path / 'a.png').read_bytes() == (tmp_path / 'b.png').read_bytes()
    pictures.save(['to be', 'or nöt'], {'modality': 'text'}, tmp_path / 'c.txt')
    assert (tmp_path / 'c.txt').read_text('utf-8').split(pictures.SEPARATOR) == ['to be', 'or nöt']
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.png', 'b.png', 'c.txt']


def test_fit_leaves_a_small_picture_alone_and_shrinks_a_large_one() -> None:
    png = pictures.grid(np.random.default_rng(0).random((9, 40, 40)))
    assert pictures.fit(png, len(png), 'a.png') == png
    assert len(pictures.fit(png, 3000, 'a.png')) <= 3000
    for broken in (b'', b'GIF89a', png[: len(png) // 2]):
        with pytest.raises(BadInput, match=r'a\.png is not a readable PNG'):
            pictures.fit(broken, 10**6, 'a.png')
