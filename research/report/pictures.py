"""Samples as PNG: a grid of images, a scatter of points in the plane, a piano roll.

Everything is nearest-neighbour and deterministic: a pixel of the picture is a value of the sample, never a blend, so
that what looks blurred is blurred in the model. Pillow is imported where it is used, since most callers only ask for
a table.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from research.report.markup import plain, write_atomically
from research.types import BadInput

Limits = tuple[float, float, float, float]  # x low, x high, y low, y high

CELL = 48  # pixels: small images are enlarged by the whole number that brings them nearest to this, from below
SIDE = 360  # pixels of a scatter
STEPS = 256  # time steps of a piano roll made of pieces
INK, EDGE, PAPER = (0, 92, 175), (213, 94, 0), (250, 250, 248)
RULE = (222, 222, 218)
GUTTER = 150  # a mid grey: seen beside black digits and beside white paper, in a light page and in a dark one
SEPARATOR = '\n\n' + '-' * 40 + '\n\n'


def grid(images: NDArray[Any], columns: int | None = None, scale: int | None = None) -> bytes:
    """PNG of images [n, height, width], [n, height, width, 1] or [n, height, width, 3], row by row.

    Floats are taken as [0, 1], integers as 0 to 255, both clipped; booleans as black and white. `columns` defaults
    to a square, `scale` (pixels per pixel) to cells of about 48. BadInput for another shape, no image, or NaN.
    """
    pixels = _bytes(_stacked(np.asarray(images)))
    n, height, width, channels = pixels.shape
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    scale = scale or max(1, CELL // max(height, width))
    if columns < 1 or scale < 1:
        raise BadInput(f'columns and scale of a grid are {columns} and {scale}; both must be at least 1')
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    gap = max(1, scale // 3)
    cell_height, cell_width = height * scale + gap, width * scale + gap
    rows = math.ceil(n / columns)
    canvas = np.full((rows * cell_height + gap, columns * cell_width + gap, channels), GUTTER, np.uint8)
    for i in range(n):
        top, left = (i // columns) * cell_height + gap, (i % columns) * cell_width + gap
        canvas[top : top + height * scale, left : left + width * scale] = pixels[i]
    return _png(canvas)


def limits_of(points: NDArray[Any]) -> Limits:
    """The square around the origin that holds all points [n, 2], its half side rounded up to a half.

    Take it from the real data and use it for the samples too: two scatters compare only on the same axes.
    """
    reach = float(np.abs(_finite(np.asarray(points, np.float64), 'points')).max(initial=0.5))
    half = math.ceil(2 * reach) / 2
    return (-half, half, -half, half)


def scatter(points: NDArray[Any], limits: Limits | None = None) -> bytes:
    """PNG of points [n, 2], y upwards. Where points fall together the ink is darker.

    A point outside `limits` is drawn on the frame, in orange: a sampler that escapes must not look good by it.
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise BadInput(f'points of shape {points.shape} cannot be scattered; the shape must be [n, 2]')
    low_x, high_x, low_y, high_y = limits or limits_of(points)
    if not (low_x < high_x and low_y < high_y):
        raise BadInput(f'limits {limits} of a scatter leave no room; each low must be below its high')
    unit = (_finite(points, 'points') - (low_x, low_y)) / (high_x - low_x, high_y - low_y)  # [n, 2] in [0, 1]
    outside = ((unit < 0) | (unit > 1)).any(axis=1)
    place = np.clip(unit, 0, 1) * (SIDE - 5) + 2  # two pixels of margin, for the dots
    columns, rows = np.rint(place[:, 0]).astype(int), np.rint(SIDE - 1 - place[:, 1]).astype(int)
    canvas = _paper(low_x, high_x, low_y, high_y)
    _stamp(canvas, rows[~outside], columns[~outside], INK)
    _stamp(canvas, rows[outside], columns[outside], EDGE, reach=2)
    return _png(np.rint(canvas).astype(np.uint8))


def roll(frames: NDArray[Any], scale: int = 4) -> bytes:
    """PNG of a piano roll: frames [time, keys] in [0, 1], time to the right, low keys at the bottom.

    Faint lines stand below every C of an 88-key piano (key 0 is A0) and before every fourth time step.
    """
    frames = np.asarray(frames)
    if frames.ndim != 2 or not frames.size:
        raise BadInput(f'frames of shape {frames.shape} are no piano roll; the shape must be [time, keys]')
    on = np.clip(_finite(frames.astype(np.float64), 'frames'), 0, 1).T[::-1]  # [keys, time], high keys first
    keys, time = on.shape
    canvas = np.tile(np.array(PAPER, np.float64), (keys * scale, time * scale, 1))
    canvas[:, :: 4 * scale] = RULE
    for key in range(3, keys, 12):
        canvas[(keys - key) * scale - 1] = RULE
    ink = on.repeat(scale, axis=0).repeat(scale, axis=1)[..., None]
    return _png(np.rint(canvas * (1 - ink) + np.array(INK) * ink).astype(np.uint8))


def joined(pieces: NDArray[Any]) -> NDArray[Any]:
    """The first `STEPS` time steps of pieces [n, time, keys] end to end, without those behind an end (-1)."""
    frames = pieces.reshape(-1, pieces.shape[2])
    return frames[(frames >= 0).any(axis=1)][:STEPS]


def draw(samples: NDArray[Any], domain: Mapping[str, Any], limits: Limits | None = None) -> bytes:
    """PNG of samples [n, ...] as the domain's modality shows them.

    `domain` needs 'modality', and 'kind' and 'values' where a value is not already a grey level: 'binary' is drawn
    as black and white, 'integer' with `values` levels from black to white. Points that are not in the plane are
    drawn as a table of greys, one row a sample.
    """
    samples, modality = np.asarray(samples), domain.get('modality')
    if domain.get('kind') == 'binary':
        samples = samples.astype(np.float64)
    if domain.get('kind') == 'integer' and domain.get('values', 0) > 1:
        samples = samples.astype(np.float64) / (domain['values'] - 1)
    if modality == 'image':
        return grid(samples)
    if modality == 'music':
        return roll(joined(samples) if samples.ndim == 3 else samples)
    if modality == 'points':
        flat = samples.reshape(len(samples), -1)
        return scatter(flat, limits) if flat.shape[1] == 2 else grid(_greys(flat)[None])
    raise BadInput(f'samples of modality {plain(modality)!r} cannot be drawn; it must be image, music or points')


def save(
    samples: NDArray[Any] | Sequence[str], domain: Mapping[str, Any], path: Path, limits: Limits | None = None
) -> None:
    """Write samples beside a run, whole or not at all: strings as UTF-8 text, everything else as PNG (see `draw`)."""
    if domain.get('modality') == 'text':
        write_atomically(path, SEPARATOR.join(str(sample) for sample in samples).encode('utf-8', 'replace'))
    else:
        write_atomically(path, draw(np.asarray(samples), domain, limits))


def fit(png: bytes, budget: int, name: str) -> bytes:
    """The same PNG where it has at most `budget` bytes, else halved until it has. BadInput where it is no PNG."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(png), formats=['PNG']) as opened:
            picture: Image.Image = opened
            picture.load()
            while len(png) > budget and min(picture.size) > 1:
                picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.NEAREST)
                png = _encoded(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(f'{plain(name)} is not a readable PNG picture: {plain(error)}') from error
    return png


def _stacked(images: NDArray[Any]) -> NDArray[Any]:
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise BadInput(f'images of shape {images.shape} cannot be drawn; the shape must be [n, height, width, 1 or 3]')
    return images


def _bytes(images: NDArray[Any]) -> NDArray[Any]:
    if images.dtype == np.bool_:
        return np.where(images, np.uint8(255), np.uint8(0))
    if np.issubdtype(images.dtype, np.integer):
        return np.asarray(np.clip(images, 0, 255), np.uint8)
    shades = np.clip(_finite(images.astype(np.float64), 'images'), 0, 1)
    return np.asarray(np.rint(shades * 255), np.uint8)


def _finite(values: NDArray[Any], name: str) -> NDArray[Any]:
    if not np.isfinite(values).all():
        raise BadInput(f'{name} to draw hold NaN or infinity; every value must be finite')
    return values


def _greys(table: NDArray[Any]) -> NDArray[np.float64]:
    low, high = float(table.min(initial=0)), float(table.max(initial=1))
    return np.asarray((table - low) / (high - low), np.float64)


def _paper(low_x: float, high_x: float, low_y: float, high_y: float) -> NDArray[np.float64]:
    """An empty scatter [side, side, 3] with its frame, and the axes through zero where they lie inside."""
    canvas = np.tile(np.array(PAPER, np.float64), (SIDE, SIDE, 1))
    if low_x < 0 < high_x:
        canvas[:, round(-low_x / (high_x - low_x) * (SIDE - 5) + 2)] = RULE
    if low_y < 0 < high_y:
        canvas[round(SIDE - 3 + low_y / (high_y - low_y) * (SIDE - 5))] = RULE
    canvas[[0, -1]] = canvas[:, [0, -1]] = RULE
    return canvas


def _stamp(
    canvas: NDArray[np.float64], rows: NDArray[Any], columns: NDArray[Any], ink: tuple[int, int, int], reach: int = 1
) -> None:
    """Add one translucent dot per point, `reach` pixels around it: each halves the paper that still shows."""
    hits = np.zeros(canvas.shape[:2])
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            inside = (np.clip(rows + down, 0, SIDE - 1), np.clip(columns + right, 0, SIDE - 1))
            np.add.at(hits, inside, 0.5 if abs(down) == abs(right) == reach else 1.0)
    left = (0.5**hits)[..., None]
    canvas[:] = canvas * left + np.array(ink) * (1 - left)


def _png(canvas: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    return _encoded(Image.fromarray(canvas[..., 0] if canvas.shape[-1] == 1 else canvas))


def _encoded(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format='PNG', optimize=True)
    return buffer.getvalue()
