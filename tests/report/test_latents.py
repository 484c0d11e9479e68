"""What latents do, on the page: pictures of the arrays as they are, named rightly, and curves where the log says."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from research.report import latents, page, pictures, planes, records
from research.types import BadInput
from tests.report import runs
from tests.report.test_page import EVIL, Elements, image_run, rendered

RNG = np.random.default_rng(0)
BOTH = ({'rate': 1.0, 'distortion': 9.0}, {'rate': 2.0, 'distortion': 7.0}, {'rate': 1.5, 'distortion': 6.0})


def arrays(**fields: Any) -> dict[str, Any]:
    """Two bases, two latents, seven steps; five pairs; thirty means in the plane."""
    found: dict[str, Any] = {
        'examples': RNG.random((10, 8, 8, 1)), 'reconstruction': RNG.random((10, 8, 8, 1)),
        'traversal': RNG.random((2, 2, 7, 8, 8, 1)), 'bases': np.array([-1, 0]), 'latents': np.array([12, 3]),
        'activity': np.array([0.876, 0.004]), 'deviations': np.arange(-3.0, 4.0),
        'interpolation': RNG.random((5, 8, 8, 8, 1)), 'sphere': np.array(False),
        'plane': RNG.normal(size=(30, 2)), 'shares': np.array([0.5, 0.25]), 'latent': np.array(16),
        'classes': np.arange(30) % 3, 'class_name': np.array('label'),
    }  # fmt: skip
    return {name: value for name, value in (found | fields).items() if value is not None}


def latent_run(folder: Path, config: str = 'vae', **fields: Any) -> Path:
    image_run(folder, config)
    np.savez(folder / latents.FILE, **arrays(**fields))
    return folder


def logged(folder: Path, *epochs: dict[str, float], tested: tuple[float, float] | None = None) -> Path:
    rows = [json.dumps({'epoch': i + 1, 'loss': 1.0, **epoch}) + '\n' for i, epoch in enumerate(epochs)]
    (folder / 'metrics.jsonl').write_text(''.join(rows))
    if tested:
        lines = [json.dumps(runs.figure(n, v)) + '\n' for n, v in zip(('rate', 'distortion'), tested, strict=True)]
        with (folder / 'results.jsonl').open('a') as file:
            file.writelines(lines)
    return folder


def images(html: str) -> list[np.ndarray]:
    found = re.findall(r'<div class="rowed">.*?base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


def drawn(values: np.ndarray, columns: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(pictures.grid(values.reshape(-1, *values.shape[-3:]), columns))))


def test_the_pictures_are_the_arrays_in_their_order(tmp_path: Path) -> None:
    kept = arrays()
    html = rendered(latent_run(tmp_path / 'a', **kept))
    examples, reconstruction, ways, walks = (
        kept[name] for name in ('examples', 'reconstruction', 'interpolation', 'traversal')
    )
    ends = examples.reshape(5, 2, 8, 8, 1)
    rows = np.concatenate([ends[:, :1], ways, ends[:, 1:]], axis=1)
    expected = [
        drawn(np.concatenate([examples, reconstruction]), 10), drawn(rows, 10), drawn(walks[0], 7), drawn(walks[1], 7)
    ]  # fmt: skip
    for found, wanted in zip(images(html), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_rows_and_columns_have_their_names(tmp_path: Path) -> None:
    html = rendered(latent_run(tmp_path / 'a'))
    told = Elements(html).text
    for words in (
        'z[12]  0.88', 'z[3]  0.00', 'about the mean of the prior', 'about test example 1', 'along the line',
        'below 0.01, it says nothing', 'the first two principal components of 16 latents, coloured by label',
        'first component, 50 % of the variance', 'second component, 25 %', 'label 2',
    ):  # fmt: skip
        assert words in told
    assert html.index('z[12]') < html.index('z[3]')
    assert html.count('<span class=still>z[3]') == 2 and '<span class=still>z[12]' not in html
    steps = '<div class="steps">' + ''.join(f'<span>{v}</span>' for v in ('−3', '−2', '−1', '0', '+1', '+2', '+3'))
    assert html.count(steps) == 2


def test_a_sphere_and_a_plane_say_what_they_are(tmp_path: Path) -> None:
    fields: dict[str, Any] = {'sphere': np.array(True), 'bases': np.array([0, 1]), 'shares': None, 'classes': None}
    told = Elements(rendered(latent_run(tmp_path / 'a', latent=np.array(2), **fields))).text
    assert 'along the great circle' in told and 'stay on the sphere' in told and 'about test example 2' in told
    assert 'z[0]' in told and 'principal' not in told and 'coloured' not in told


def test_integer_levels_go_from_black_to_white(tmp_path: Path) -> None:
    folder = latent_run(tmp_path / 'a', reconstruction=np.full((10, 8, 8, 1), 16), examples=np.zeros((10, 8, 8, 1)))
    card = json.loads((folder / 'card.json').read_text())
    card['domain'] |= {'kind': 'integer', 'values': 17}
    (folder / 'card.json').write_text(json.dumps(card))
    first = images(rendered(folder))[0]
    assert set(np.unique(first)) == {0, pictures.GUTTER, 255}


def test_a_run_without_the_file_has_no_such_part(tmp_path: Path) -> None:
    html = rendered(image_run(tmp_path / 'a'))
    assert 'Latent variables' not in html and 'Rate and distortion' not in html
    both = rendered(tmp_path / 'a', latent_run(tmp_path / 'b', 'other'))
    assert both.count('<div class="latents">') == 1


def test_a_broken_file_is_refused_by_its_name(tmp_path: Path) -> None:
    folder = latent_run(tmp_path / 'a')
    whole = (folder / latents.FILE).read_bytes()
    ragged: list[dict[str, Any]] = [
        {'examples': None}, {'activity': np.ones(3)}, {'plane': np.zeros((3, 3))}, {'interpolation': np.zeros(4)},
        {'reconstruction': np.full((10, 8, 8, 1), np.nan)}, {'classes': np.array([{}] * 30, dtype=object)},
    ]  # fmt: skip
    contents = [b'', b'no archive', whole[: len(whole) // 2]]
    for fields in ragged:
        buffer = io.BytesIO()
        np.savez(buffer, **arrays(**fields))
        contents.append(buffer.getvalue())
    for content in contents:
        (folder / latents.FILE).write_bytes(content)
        with pytest.raises(BadInput, match=r'a/latents\.npz holds no readable pictures of latents'):
            rendered(folder)


def test_words_of_a_file_are_no_markup(tmp_path: Path) -> None:
    html = rendered(logged(latent_run(tmp_path / 'a', EVIL, class_name=np.array(EVIL)), *BOTH))
    assert '<img src=x' not in html and '<svg/onload' not in html
    assert not re.search(r'https?://', html)
    assert all(not name.startswith('on') for _, attrs in Elements(html).found for name in attrs)


def test_many_runs_still_make_a_small_page(tmp_path: Path) -> None:
    folders = [latent_run(tmp_path / f'{i}', f'vae{i}', traversal=RNG.random((2, 9, 7, 8, 8, 1)), latents=np.arange(9),
                          activity=np.ones(9), plane=RNG.normal(size=(1000, 2)), classes=np.arange(1000) % 10)
               for i in range(12)]  # fmt: skip
    html = rendered(*folders)
    decoded = sum(len(one) * 3 / 4 for one in re.findall(r'<div class="rowed">.*?base64,([^"]+)"', html))
    assert decoded < page.LATENTS
    assert len(html) < 1_500_000


def test_a_dot_lies_where_its_mean_does_on_one_scale() -> None:
    points = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 1.0]])
    svg = planes.scatter(points, [np.array([0, 2]), np.array([1])], [5, 7], ('a', 'b'), 'c')
    spots = np.array([[float(v) for v in pair] for pair in re.findall(r'M([\d.]+) ([\d.]+)h0', svg)])
    scale = planes.SIDE / (4 * 1.04)  # pixels of one unit, in both directions
    np.testing.assert_allclose(spots, spots[0] + points * [scale, -scale], atol=0.11)
    assert re.findall(r'class="class"[^>]*>(\d)<', svg) == ['5', '7']


def test_rates_and_distortions_are_a_path_in_the_order_of_epochs(tmp_path: Path) -> None:
    folder = logged(image_run(tmp_path / 'a'), *BOTH, tested=(1.25, 6.5))
    path = planes.of_run('vae', records.read(folder))
    assert path == planes.Path('vae', (1.0, 2.0, 1.5), (9.0, 7.0, 6.0), True, (1.25, 6.5))
    svg = planes.plot([path])
    (line,) = re.findall(r'stroke-width="1.5"[^>]*points="([^"]+)"', svg)
    x, y = np.array([[float(v) for v in spot.split(',')] for spot in line.split()]).T
    np.testing.assert_allclose((x[2] - x[0]) / (x[1] - x[0]), 0.5, atol=1e-3)  # x: rate
    np.testing.assert_allclose((y[1] - y[0]) / (y[2] - y[0]), 2 / 3, atol=1e-3)  # y: distortion, upwards
    assert y[0] < y[2]
    assert 'vae: epoch 3, rate 1.5, distortion 6' in svg and 'vae, test split: rate 1.25, distortion 6.5' in svg
    (same,) = re.findall(r'class="same"[^>]*points="([^"]+)"', svg)
    (x0, y0), (x1, y1) = ((float(v) for v in spot.split(',')) for spot in same.split())
    np.testing.assert_allclose(y0 + (y1 - y0) * (x[2] - x0) / (x1 - x0), y[2], atol=0.2)  # through the last epoch
    nats = (y[2] - y[0]) / 3, (x[1] - x[0])  # pixels of a nat
    np.testing.assert_allclose((y1 - y0) / nats[0], (x1 - x0) / nats[1], rtol=1e-2)  # what one loses the other gains


def test_a_wild_start_is_cut_off_and_told(tmp_path: Path) -> None:
    epochs = [{'rate': 1.0 + i / 40, 'distortion': 900.0 if i == 0 else 10 - i / 40} for i in range(20)]
    html = rendered(logged(image_run(tmp_path / 'a'), *epochs))
    assert 'rate, nats per example (start cut off)' in html
    assert 'Diamond' not in html


def test_runs_without_both_terms_or_with_broken_ones_have_no_path(tmp_path: Path) -> None:
    for i, epoch in enumerate(({'rate': 1.0}, {'distortion': 1.0}, {'rate': float('nan'), 'distortion': 1.0})):
        record = records.read(logged(image_run(tmp_path / str(i)), epoch))
        assert planes.of_run('run', record) is None
    steady = planes.Path('one', [2.0], [3.0])
    assert '<circle' in planes.plot([steady])  # a single point has an axis too


def test_a_sweep_has_a_dot_for_each_member(tmp_path: Path) -> None:
    members = [
        records.read(logged(image_run(tmp_path / str(i)), {'rate': 50.0, 'distortion': 50.0}, {'rate': 9.0 - i, 'distortion': 4.0 + i}))
        for i in range(4)
    ]  # fmt: skip
    html = planes.cells([('beta=1', members[:2]), ('beta=4', members[2:]), ('other', [])])
    titles = re.findall(r'<title>([^<]+)</title>', html)
    assert titles == [
        'beta=1: rate 9, distortion 4', 'beta=1: rate 8, distortion 5', 'beta=4: rate 7, distortion 6', 'beta=4: rate 6, distortion 7',
    ]  # fmt: skip
    assert 'stroke-width="1.5"' not in html  # no line joins members
    assert Elements(html).text.count('beta=4') == 1 + 2
    assert planes.cells([('none', [records.read(image_run(tmp_path / 'plain'))])]) == ''
    many = [(f'beta={i}', members[:1]) for i in range(20)]
    assert 'The best 16 of 20 cells' in planes.cells(many) and '<rect' in planes.cells(many)
