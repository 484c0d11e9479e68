"""A sweep's page: who is best and with whom it ties, what is drawn where, and that nothing in it is anybody's markup."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from research.report import ablation, comparison, pictures, records, responses, strips
from research.report.comparison import Cell
from research.report.responses import Point
from research.report.strips import Strip
from research.report.study import Study, lead
from tests.report import runs
from tests.report.test_page import EVIL, Elements

BETA, RATE = 'trainer.model.beta', 'trainer.learning_rate'
N = 100


def study(
    folder: Path,
    grid: Mapping[str, Sequence[Any]] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    *,
    failed: Sequence[tuple[int, int]] = (),
    config: str = 'vae_digits',
    losses: Sequence[float] = (3.0, 2.0, 1.5),
    kind: str = 'exact',
    step: float = 2.0,
) -> Study:
    """A sweep whose cells are `step` nats apart, the first the best. `failed` are (cell, seed)."""
    grid = {BETA: (0.5, 1.0, 2.0, 4.0)} if grid is None else grid
    settings = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    difficulty = np.random.default_rng(0).normal(0, 5, N)
    difficulty -= difficulty.mean()
    rows: list[dict[str, Any]] = []
    found, labels, cells = [], {}, {}
    for number, own in enumerate(settings):
        labels[number] = ' '.join(f'{path.rpartition(".")[2]}={value}' for path, value in own.items()) or 'base'
        fine = [seed for seed in seeds if (number, seed) not in failed]
        nats = np.stack([90 + step * number + difficulty + 0.1 * seed for seed in fine]) if fine else None
        if nats is not None:
            note = f' ({len(seeds) - len(fine)} failed)' * (len(fine) < len(seeds))
            cells[number] = Cell(
                label=labels[number] + note, values=nats.mean(1).tolist(), nats=nats, unit='nats per example',
                kind=kind, seeds=fine,
            )  # fmt: skip
        for seed in seeds:
            bad = (number, seed) in failed
            row = {'member': len(rows), 'cell': number, **own, 'seed': seed, 'status': 'failed' if bad else 'done'}
            rows.append(row | {'failed_at': 'epoch 1, step 3' if bad else None, 'test_nll': None if bad else 90.0})
            member = folder / f'{len(rows):04d}'
            runs.make(member, config, losses=[loss + seed / 10 for loss in losses], extra={'seed': seed})
            found.append(records.read(member, scores=False))
    return Study(
        fields=list(grid), seeds=seeds, mode='vmap', groups=1, compilations=1, seconds=12.3, labels=labels, cells=cells,
        table=comparison.compare(list(cells.values())) if cells else None, metric='test_nll', rows=rows, records=found,
    )  # fmt: skip


def test_the_page_says_who_is_best_and_shows_each_part(tmp_path: Path) -> None:
    html = ablation.render(study(tmp_path))
    elements = Elements(html)
    assert '<h1>vae_digits: ablation over beta</h1>' in html
    assert 'Best of 4: beta=0.5, test_nll 90.10 nats per example (95 % interval' in elements.text
    assert 'Better than all other cells beyond chance' in elements.text
    heads = re.findall(r'<h3>(.*?)</h3>', html)
    assert heads == ['What the settings do', 'Training', 'Pairs', 'Every member', 'How these numbers came to be']
    assert sum(attrs.get('class') == 'strips' for _, attrs in elements.found) == 1 + 4  # the axis and the cells
    assert sum(attrs.get('class') == 'curves' for _, attrs in elements.found) == 2
    for told in ('f' * 64, 'abc123', 'cpu x2', '0.10.2', 'vmap', 'batch_size', '12.3 s'):
        assert told in html
    shared = html[html.index('Configuration that all members share') :]
    assert BETA not in shared  # a field of the grid is not among what all share


def test_ties_are_named_and_share_a_rank(tmp_path: Path) -> None:
    told = study(tmp_path, {BETA: (1.0, 2.0, 4.0)}, step=0.0)
    assert 'Tied with it: beta=2.0, beta=4.0.' in lead(told)[0]
    ranks = re.findall(r'<tr><td class="number">(.*?)</td>', ablation.render(told))
    assert ranks == ['1=', '1=', '1=']


def test_a_bound_leaves_a_doubt(tmp_path: Path) -> None:
    (sentence,) = lead(study(tmp_path, kind='bound'))
    assert 'at most 90.10' in sentence and 'as far as bounds can tell' in sentence


def test_members_that_failed_are_shown_with_their_step(tmp_path: Path) -> None:
    told = study(tmp_path, failed=[(1, 0), (3, 0), (3, 1), (3, 2)])
    html = ablation.render(told)
    assert '4 of 12 members failed.' in lead(told)[0]
    assert html.count('NaN at epoch 1, step 3') == 4
    assert 'beta=4.0 seed=2: NaN at epoch 1, step 3 <small>members/0011</small>' in html
    rows = re.findall(r'<tr><td[^>]*>[^<]*</td><th scope="row" class="lettered">.*?</tr>', html)
    counts = [re.findall(r'<td class="number">([^<]*|<span.*?</span>)</td>', row)[-2:] for row in rows]
    assert [count[0] for count in counts] == ['3', '2', '3', '0'] and counts[-1] == ['0', '3']
    columns = [len(re.findall(r'<t[dh][ >]', row)) for row in rows]
    assert len(set(columns)) == 1
    assert 'beta=4.0' not in html[html.index('>Training<') : html.index('>Pairs<')]


def test_a_sweep_of_which_nothing_came_through_is_told_of(tmp_path: Path) -> None:
    told = study(tmp_path, {BETA: (1.0,)}, (0,), failed=[(0, 0)], losses=())
    html = ablation.render(told)
    assert 'No member of this sweep came through.' in html and 'NaN at epoch 1, step 3' in html


def test_without_a_grid_there_is_one_cell_over_seeds(tmp_path: Path) -> None:
    told = study(tmp_path, {})
    assert lead(told)[0].startswith('base: test_nll 90.10 nats per example')
    html = ablation.render(told)
    assert 'ablation over 3 seeds' in html and '>Pairs<' not in html and 'What the settings do' not in html


def test_names_are_text_wherever_they_stand(tmp_path: Path) -> None:
    told = study(tmp_path, {f'trainer.{EVIL}': (EVIL, 'b'), RATE: (1, 2, 3)}, failed=[(0, 0)], config=EVIL)
    elements = Elements(ablation.render(told))
    assert not any(name.startswith('on') for _, attrs in elements.found for name in attrs)
    assert not any(tag == 'img' for tag, _ in elements.found)
    assert sum(tag == 'script' for tag, _ in elements.found) == 1
    assert 'onerror="alert(1)"' in elements.text


def test_nothing_in_the_page_points_outside(tmp_path: Path) -> None:
    html = ablation.render(study(tmp_path, config='https://example.org/x'))
    assert not re.search(r'https?://|@import|url\(|xmlns', html)
    assert not any({'src', 'href', 'action'} & set(attrs) for _, attrs in Elements(html).found)
    assert "default-src 'none'" in html


def test_every_element_is_closed_and_every_picture_parses(tmp_path: Path) -> None:
    html = ablation.render(study(tmp_path, {BETA: (1.0, 2.0), RATE: (1e-3, 3e-3)}, failed=[(3, 0)]))
    for tag in ('svg', 'table', 'tr', 'td', 'details', 'div', 'section', 'p', 'ul', 'li', 'small', 'span'):
        assert html.count(f'</{tag}>') == len(re.findall(rf'<{tag}[ >]', html)), tag
    body = re.sub(r'<w?br>', '', html[html.index('<main>') : html.index('</main>') + 7])
    ElementTree.fromstring(body.replace('<details open>', '<details>'))


def test_many_pairs_are_folded_and_few_are_not(tmp_path: Path) -> None:
    few = ablation.render(study(tmp_path / 'few'))
    many = ablation.render(study(tmp_path / 'many', {BETA: (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)}, (0, 1)))
    assert ('<details open><summary>6 pairs' in few, '<details><summary>15 pairs' in many) == (True, True)


def test_thirty_two_members_stay_below_a_megabyte(tmp_path: Path) -> None:
    grid = {BETA: tuple(range(1, 17)), RATE: (1e-3, 2e-3)}
    told = study(tmp_path, grid, (0,), losses=[1.0 + 1 / (i + 1) for i in range(600)])
    out = ablation.write(told, tmp_path / 'index.html')
    assert out.stat().st_size < 1_000_000
    html = out.read_text('utf-8')
    assert 'The best 8 of 32 cells.' in html and '496 pairs' in html


def test_cells_of_different_data_come_with_a_warning(tmp_path: Path) -> None:
    told = study(tmp_path, {'data.values': ('binarise', 'dequantise')})
    assert len(lead(told)) == 1
    card = json.loads((told.records[0].folder / 'card.json').read_text())
    card['data']['protocol'] = {'binarise': 'threshold'}
    (told.records[0].folder / 'card.json').write_text(json.dumps(card))
    other = records.read(told.records[0].folder, scores=False)
    changed = dataclasses.replace(told, records=[other, *told.records[1:]])
    assert 'cells differ in binarise' in lead(changed)[1]


def test_samples_are_shown_where_there_are_some(tmp_path: Path) -> None:
    told = study(tmp_path)
    for member in (0, 11):
        pictures.save(np.zeros((4, 8, 8, 1)), {'modality': 'image'}, told.records[member].folder / 'samples.png')
    html = ablation.render(told)
    assert re.findall(r'<figcaption>(.*?)</figcaption>', html) == ['best: beta=0.5', 'worst: beta=4.0']


def test_the_response_has_the_longest_numeric_field_across() -> None:
    grid = itertools.product((0.5, 1.0, 2.0, 4.0), (1e-3, 3e-3), ('relu', 'tanh'))
    points = [Point({'a.beta': b, 'rate': r, 'act': act}, b + r, b, b + 1) for b, r, act in grid]
    plots = responses.responses(points, ['rate', 'act', 'a.beta'], 'nll')
    assert [plot.told for plot in plots] == ['act=relu', 'act=tanh']
    svg = ElementTree.fromstring(plots[0].svg)
    lines = list(svg.iter('polyline'))
    assert [line.attrib['data-name'] for line in lines] == ['rate=0.001', 'rate=0.003']
    assert lines[0].attrib['data-x'] == '0.5 1 2 4' and len(list(svg.iter('polygon'))) == 2
    xs = [float(point.split(',')[0]) for point in lines[0].attrib['points'].split()]
    assert np.diff(xs) == pytest.approx(np.full(3, xs[1] - xs[0]), abs=0.2)  # doublings are equal steps
    assert any(text.text == 'beta (log scale)' for text in svg.iter('text'))
    assert not responses.responses(points, ['act'], 'nll')


@pytest.mark.parametrize(
    ('numbers', 'ratio'),
    [
        ((0.5, 1, 2, 4), True),
        ((1e-4, 3e-4, 1e-3), True),
        ((1, 2, 3, 4), False),
        ((0.0, 0.1, 1.0), False),
        ((1, 100), False),
        ((16, 32, 64), True),
        ((0.1, 0.2, 0.3, 0.5), False),
    ],
)
def test_when_an_axis_is_logarithmic(numbers: Sequence[float], ratio: bool) -> None:
    assert responses.by_ratio(numbers) == ratio


def test_a_training_band_goes_from_the_least_to_the_most_seed(tmp_path: Path) -> None:
    told = study(tmp_path, {})
    (plot,) = responses.training([('base', told.trained(0))])
    svg = ElementTree.fromstring(plot.svg)
    (line,), (band,) = svg.iter('polyline'), svg.iter('polygon')
    assert line.attrib['data-y'] == '3.1 2.1 1.6'
    ys = [float(point.split(',')[1]) for point in band.attrib['points'].split()]
    middle = [float(point.split(',')[1]) for point in line.attrib['points'].split()]
    assert all(top < y < bottom for top, y, bottom in zip(ys[:3], middle, ys[:2:-1], strict=True))


def test_strips_lie_on_one_axis_and_what_is_beyond_it_is_marked() -> None:
    rows = [Strip(mean, mean - 1, mean + 1, [mean - 0.5, mean + 0.5]) for mean in (10.0, 11.0, 12.0, 900.0)]
    axis = strips.axis(rows)
    assert axis is not None and axis.low < 10 and 12 < axis.high < 20
    drawn = [ElementTree.fromstring(strips.strip(row, axis, 10.0)) for row in rows]
    means = [float(c.attrib['cx']) for one in drawn for c in one.iter('circle') if c.attrib['class'] == 'mean']
    assert means == sorted(means) and len(means) == 3
    assert len(list(drawn[3].iter('polygon'))) == 1 and not list(drawn[3].iter('circle'))
    assert [sum(c.attrib['class'] == 'seed' for c in one.iter('circle')) for one in drawn] == [2, 2, 2, 0]
    assert strips.axis([Strip(float('nan'), None, None, [float('nan')])]) is None
    alone = strips.axis([Strip(3.0, None, None, [3.0])])
    assert alone is not None and alone.low < 3 < alone.high
