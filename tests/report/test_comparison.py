"""The tables of a comparison: order, intervals, ranks with ties, verdicts and what is said of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from research.engine import score
from research.maths import statistics
from research.report import cells, comparison
from research.report.comparison import Cell, compare
from research.types import Domain

N = 200


def cell(
    label: str, mean: float, seeds: int = 3, *, kind: str = 'exact', paired: bool = True, spread: float = 0.1
) -> Cell:
    """Fits whose means are `mean` and `spread` apart, on 200 examples of varying difficulty."""
    difficulty = np.random.default_rng(0).normal(0, 5, N)
    rng = np.random.default_rng(sum(map(ord, label)))
    offsets = spread * np.arange(seeds)[:, None] - spread * (seeds - 1) / 2
    noise = rng.normal(0, 0.3, (seeds, N))
    nats = mean + difficulty - difficulty.mean() + offsets + noise - noise.mean(axis=1, keepdims=True)
    values = nats.mean(axis=1).tolist()
    return Cell(label=label, values=values, nats=nats if paired else None, unit='nats per example', kind=kind)


def test_cells_come_best_first_with_students_interval() -> None:
    cells = [cell('worse', 92.0), cell('best', 90.0), cell('alone', 91.0, seeds=1)]
    rows = compare(cells).cells
    assert [(row['cell'], row['label'], row['seeds']) for row in rows] == [
        ('A', 'best', 3),
        ('B', 'alone', 1),
        ('C', 'worse', 3),
    ]
    interval = stats.ttest_1samp(cells[1].values, 0.0).confidence_interval()
    assert (rows[0]['low'], rows[0]['high']) == pytest.approx((interval.low, interval.high))
    assert (rows[1]['low'], rows[1]['high']) == (None, None)
    assert [row['label'] for row in compare(cells, less_is_better=False).cells] == ['worse', 'alone', 'best']


def test_a_tie_shares_a_rank_and_a_difference_does_not() -> None:
    table = compare([cell('a', 90.0), cell('b', 90.01), cell('c', 95.0)])
    assert [row['rank'] for row in table.cells] == [1, 1, 3]
    assert [row['verdict'] for row in table.pairs] == ['tie', 'A better', 'B better']
    first = table.pairs[0]
    assert first['low'] < 0 < first['high'] and first['adjusted'] >= first['p'] >= 0.05
    assert all(row['difference'] < 0 for row in table.pairs)


def test_holm_counts_all_pairs_of_the_table() -> None:
    table = compare([cell('a', 90.0), cell('b', 90.15), cell('c', 90.3)])
    assert [row['adjusted'] for row in table.pairs] == statistics.holm([row['p'] for row in table.pairs])


def test_a_bound_that_loses_leaves_a_doubt_and_one_that_wins_does_not() -> None:
    lost = compare([cell('exact', 90.0), cell('vae', 95.0, kind='bound')])
    won = compare([cell('exact', 95.0), cell('vae', 90.0, kind='bound')])
    assert (lost.pairs[0]['verdict'], won.pairs[0]['verdict']) == ('A better?', 'A better')
    assert '<= 95.00' in comparison.text(lost) and 'may be as good in truth' in comparison.text(lost)
    assert '<= 90.00' in comparison.text(won) and 'may be as good in truth' not in comparison.text(won)


def test_which_test_is_asked() -> None:
    def test(a: Cell, b: Cell) -> str:
        return str(compare([a, b]).pairs[0]['test'])

    assert test(cell('a', 90.0), cell('b', 91.0)) == 'seeds and examples'
    assert test(cell('a', 90.0, seeds=1), cell('b', 91.0)) == 'seeds and examples: one fit of A'
    assert test(cell('a', 92.0, seeds=1), cell('b', 91.0)) == 'seeds and examples: one fit of B'
    assert test(cell('a', 90.0, seeds=1), cell('b', 91.0, seeds=1)) == 'bootstrap: these two fits'
    assert test(cell('a', 90.0, paired=False), cell('b', 91.0)) == 'permutation of seeds'
    table = compare([cell('a', 90.0, seeds=1, paired=False), cell('b', 95.0)])
    assert (table.pairs[0]['verdict'], table.pairs[0]['p'], table.cells[1]['rank']) == ('not tested', None, 1)


def test_windows_of_other_sizes_are_not_paired() -> None:
    """Two texts cut differently: as many windows, but not the same ones."""
    a, b = cell('a', 90.0), cell('b', 91.0)
    units = np.ones(N)
    units[:2] = 0.5, 1.5
    other = Cell(label='b', values=b.values, nats=b.nats, units=units)
    assert comparison.pair(a, other).test == statistics.PERMUTED
    assert comparison.pair(a, Cell(label='b', values=b.values, nats=b.nats, units=np.ones(N))).test == statistics.SEEDS


def test_no_side_is_taken_where_none_is_known() -> None:
    table = compare([cell('a', 90.0), cell('b', 95.0)], less_is_better=None)
    assert [row['rank'] for row in table.cells] == [None, None]
    assert table.pairs[0]['verdict'] == 'they differ'
    assert 'rank:' not in comparison.text(table)


def test_the_text_is_aligned_narrow_and_tells_what_to_know() -> None:
    long = 'vae_digits trainer.model.encoder.hidden=[400, 400, 400] \x1b[2J'
    table = compare([cell(long, 90.0, seeds=1), cell('b', 91.0, seeds=1, kind='bound'), cell('c', 92.0)])
    text = comparison.text(table)
    lines = text.split('\n')
    assert max(map(len, lines)) <= 120 and '\x1b' not in text
    assert lines[0].split() == ['rank', 'cell', 'seeds', 'mean', '95', '%', 'interval', 'kind']
    assert len({line.index('A - ') for line in lines if line.startswith('A - ')}) == 1
    assert 'train more seeds' in text and 'one seed speaks of that fit alone' in text
    short = comparison.text(table, most=1)
    assert '... and 2 more pairs' in short and 'B - C' not in short
    assert 'pair' not in comparison.text(compare([cell('a', 90.0)]))


def test_letters_go_on_after_z() -> None:
    assert comparison.letters(28)[24:] == ['Y', 'Z', 'AA', 'AB']


@pytest.mark.parametrize(
    'domain',
    [
        Domain(kind='binary', shape=(160, 88), unit='time step', modality='music'),
        Domain(kind='binary', shape=(88,), unit='time step', modality='music'),
        Domain(kind='unit', shape=(8, 8, 1), modality='image'),
        Domain(kind='tokens', shape=(65,), values=5, unit='character'),
    ],
    ids=['pieces', 'frames', 'images', 'text'],
)
def test_bits_per_dimension_are_of_the_variables_that_the_evaluation_counts(domain: Domain) -> None:
    assert cells.variables(dataclasses.asdict(domain)) == score.variables(domain)
