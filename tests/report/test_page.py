"""The page stands alone, runs nobody's markup, and says what the folders say."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from research.report import page, pictures, records
from research.types import BadInput
from tests.report import runs

EVIL = '</script></pre><img src=x onerror="alert(1)"><svg/onload=alert(2)>\'" https://evil.example/x'


class Elements(HTMLParser):
    """Every element with its attributes, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ''
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def image_run(folder: Path, config: str = 'vae', value: float = 46.0, seed: int = 0) -> Path:
    runs.make(folder, config, [runs.nll(value, 'bound'), runs.bits(1.04), runs.figure('pixel_mmd', 0.01)])
    images = np.random.default_rng(seed).random((16, 8, 8, 1))
    pictures.save(images, {'modality': 'image'}, folder / 'samples.png')
    pictures.save(np.zeros((16, 8, 8, 1)), {'modality': 'image'}, folder / 'data.png')
    return folder


def text_run(folder: Path, sample: str, config: str = 'ngram') -> Path:
    lines = [runs.nll(1.67, unit='character'), runs.bits(2.4, 'character')]
    runs.make(folder, config, lines, data='reference', domain=runs.TEXT)
    (folder / 'samples.txt').write_text(sample, 'utf-8')
    (folder / 'data.txt').write_text('To be, or not to be', 'utf-8')
    return folder


def rendered(*folders: Path, title: str = 'A page', lead: str = '') -> str:
    return page.render([records.read(folder) for folder in folders], title, lead)


def test_the_page_holds_tables_pictures_texts_curves_and_origins(tmp_path: Path) -> None:
    html = rendered(image_run(tmp_path / 'a'), text_run(tmp_path / 'b', 'KING: lo'), lead='The verdict.\n\nAnd more.')
    found = Elements(html).found
    assert [tag for tag, _ in found].count('table') >= 2
    assert sum(tag == 'img' for tag, _ in found) == 2
    assert sum(attrs.get('class') == 'curves' for _, attrs in found) == 2
    assert sum(attrs.get('class') == 'lead' for _, attrs in found) == 2
    for told in (
        'KING: lo',
        'To be, or not to be',
        'abc123',
        'f' * 64,
        'trainer.model.beta',
        '0.10.2',
        'cpu x2',
        '46.000',
    ):
        assert told in html


def test_nothing_in_the_page_points_outside(tmp_path: Path) -> None:
    html = rendered(image_run(tmp_path / 'a'), text_run(tmp_path / 'b', 'see https://example.org and //cdn.example'))
    assert not re.search(r'https?://|@import|url\(|xmlns', html)
    for _, attrs in Elements(html).found:
        for name in ('src', 'href', 'action', 'data', 'srcset', 'poster'):
            assert (attrs.get(name) or '#').startswith(('#', 'data:image/png;base64,'))
    assert 'see https://example.org and //cdn.example' in Elements(html).text


def test_names_and_samples_are_text_wherever_they_stand(tmp_path: Path) -> None:
    folder = text_run(tmp_path / 'a', EVIL, config=EVIL)
    card = json.loads((folder / 'card.json').read_text())
    card |= {key: EVIL for key in ('summary', 'commit', 'device', 'model', 'trainer')}
    card |= {'values': {EVIL: EVIL}, 'overrides': [EVIL], 'versions': {EVIL: EVIL}}
    card['data'] = {'name': EVIL, 'sha256': EVIL, 'protocol': {EVIL: EVIL}}
    card['domain'] |= {'modality': EVIL}
    (folder / 'card.json').write_text(json.dumps(card))
    result = runs.figure(EVIL, 1.0) | {'unit': EVIL, 'split': EVIL, 'settings': {EVIL: EVIL}}
    (folder / 'results.jsonl').write_text(json.dumps(result))
    (folder / 'samples.png').write_bytes(pictures.grid(np.zeros((1, 4, 4))))
    elements = Elements(rendered(folder, title=EVIL, lead=EVIL))
    for tag, attrs in elements.found:
        assert not any(name.startswith('on') for name in attrs)
        assert tag != 'img' or (attrs['src'] or '').startswith('data:image/png;base64,')
    assert sum(tag == 'script' for tag, _ in elements.found) == 1
    assert EVIL in elements.text


def test_what_a_run_lacks_is_blank_and_the_rest_is_shown(tmp_path: Path) -> None:
    bare = runs.make(tmp_path / 'gan', 'gan', losses=[], extra={'parameters': None, 'values': None, 'versions': None})
    html = rendered(bare, image_run(tmp_path / 'vae'))
    row = next(part for part in re.split('</?tr>', html) if part.startswith('<th scope="row">gan'))
    assert row.count('–</span>') == row.count('<td') == 6


def test_samples_npz_is_drawn_where_there_is_no_picture(tmp_path: Path) -> None:
    folder = runs.make(tmp_path / 'a', 'vae', [runs.nll(46.0)])
    np.savez(folder / 'samples.npz', samples=np.zeros((4, 8, 8, 1)))
    assert sum(tag == 'img' for tag, _ in Elements(rendered(folder)).found) == 1


def test_samples_that_are_broken_or_pickled_are_refused(tmp_path: Path) -> None:
    folder = runs.make(tmp_path / 'a', 'vae', [runs.nll(46.0)])
    np.savez(folder / 'samples.npz', samples=np.array([{'a': 1}], dtype=object))
    for content in (None, b'PK\x03\x04 and nothing more', b'', b'\x93NUMPY'):
        if content is not None:
            (folder / 'samples.npz').write_bytes(content)
        with pytest.raises(BadInput, match=r'samples\.npz holds no readable array'):
            rendered(folder)
    (folder / 'samples.png').write_bytes(b'no picture')
    with pytest.raises(BadInput, match=r'samples\.png is not a readable PNG'):
        rendered(folder)


def test_losses_of_another_kind_get_a_plot_of_their_own(tmp_path: Path) -> None:
    gan = runs.make(tmp_path / 'gan', 'gan', losses=[])
    (gan / 'metrics.jsonl').write_text('{"epoch": 1, "critic_loss": 1.2, "generator_loss": 0.7}\n')
    html = rendered(gan, image_run(tmp_path / 'vae'), image_run(tmp_path / 'mixture', 'mixture', 44.0))
    assert html.count('<svg class="curves"') == 2


def test_many_large_runs_stay_below_five_megabytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((64, 32, 32, 3))
    folders = []
    for i in range(16):
        folder = runs.make(tmp_path / str(i), f'run_{i}', [runs.nll(40.0 + i)], losses=[1.0 + i] * 2000)
        pictures.save(np.roll(noise, i, axis=1), {'modality': 'image'}, folder / 'samples.png')
        folders.append(folder)
    assert sum((folder / 'samples.png').stat().st_size for folder in folders) > 2_600_000
    out = page.write([records.read(folder) for folder in folders], tmp_path / 'page.html', 'Many')
    assert out.stat().st_size < page.LIMIT


def test_writing_is_deterministic_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    record = records.read(image_run(tmp_path / 'run'))
    first = page.write([record], tmp_path / 'out' / 'page.html', 'T').read_bytes()
    assert page.write([record], tmp_path / 'out' / 'page.html', 'T').read_bytes() == first
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['page.html']
    with pytest.raises(BadInput, match='is a folder'):
        page.write([record], tmp_path, 'T')
    with pytest.raises(BadInput, match='cannot be written'):
        page.write([record], tmp_path / 'run' / 'card.json' / 'page.html', 'T')
    with pytest.raises(BadInput, match='at least one run'):
        page.write([], tmp_path / 'page.html', 'T')
