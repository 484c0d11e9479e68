"""Who may be compared, who comes first, and that the columns line up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from research.report import codes, leaderboard, sections
from research.report.leaderboard import Board
from tests.report import runs


def board_of(tmp_path: Path, **results: list[dict[str, Any]]) -> Board:
    records = [leaderboard.read(runs.make(tmp_path / name, name, lines)) for name, lines in results.items()]
    (board,) = leaderboard.boards(records)
    return board


def test_lowest_score_first_and_blanks_last(tmp_path: Path) -> None:
    board = board_of(tmp_path, gan=[], vae=[runs.nll(46.5, 'bound')], mixture=[runs.nll(44.25)], flow=[runs.nll(50)])
    assert [row.label for row in board.rows] == ['mixture', 'vae', 'flow', 'gan']
    last = leaderboard.text_table(board).split('\n')[-1].split()
    assert last == ['gan', '-', '-', '12,345', '3.0']


def test_an_estimate_is_listed_in_its_place_but_wins_nothing(tmp_path: Path) -> None:
    board = board_of(tmp_path, lucky=[runs.nll(40.0, 'estimate')], vae=[runs.nll(46.0, 'bound')])
    assert [row.label for row in board.rows] == ['lucky', 'vae']
    score = next(column for column in leaderboard.columns(board) if column.key == 'nll')
    assert score.best == {1}
    assert leaderboard.headline(board) == 'Lowest test score: at most 46.000 nats per example, by vae.'


def test_runs_that_differ_in_their_seed_are_one_row_of_means(tmp_path: Path) -> None:
    """Mean and Student's interval by hand: t(0.975, 2) = 4.3027, sd 1, so 45 +- 2.4841. A seed given twice stays apart."""
    folders = [
        runs.make(tmp_path / f'{i}', 'vae', [runs.nll(44.0 + i), runs.figure('pixel_mmd', 0.1 * i)], extra={'seed': i})
        for i in range(3)
    ]
    folders += [
        runs.make(tmp_path / 'gmm', 'gmm', [runs.nll(50.0)]),
        runs.make(tmp_path / 'again', 'gmm', [runs.nll(51)]),
    ]
    (board,) = leaderboard.boards([leaderboard.read(folder) for folder in folders])
    assert [row.label for row in board.rows] == ['vae', 'gmm [gmm]', 'gmm [again]']
    columns = {column.key: column.cells for column in leaderboard.columns(board)}
    assert columns['nll'] == ('45.000', '50.000', '51.000')
    assert columns['seeds'] == ('3', '1', '1')
    assert columns['interval'] == ('42.516 to 47.484', '', '')
    assert board.rows[0].figures['pixel_mmd'].value == pytest.approx(0.1)
    page = sections.table(board)
    assert '42.516 .. 47.484' in page
    assert sections.provenance(board).count('vae, seed ') == 3


def test_an_infinite_score_is_shown_and_wins_nothing(tmp_path: Path) -> None:
    board = board_of(tmp_path, counts=[runs.nll(float('inf'))])
    assert 'inf' in leaderboard.text_table(board)
    assert leaderboard.headline(board).startswith('No run here has a test score')


def test_columns_line_up_and_numbers_stand_flush_right(tmp_path: Path) -> None:
    names = ['a', 'ein_sehr_langer_name_einer_konfiguration', '変分', 'e\u0301tude']
    records = []
    for i, name in enumerate(names):
        lines = [runs.nll(10.0 ** (i - 1)), runs.figure('pixel_mmd', 0.5 / (i + 1))]
        records.append(leaderboard.read(runs.make(tmp_path / str(i), name, lines)))
    (board,) = leaderboard.boards(records)
    columns = leaderboard.columns(board)
    shown = leaderboard.text_table(board).split('\n')[2:]
    padded = [leaderboard._text_column(column) for column in columns]
    for column in padded:
        assert len({leaderboard._width(cell) for cell in column}) == 1
    assert shown == ['  '.join(cells).rstrip() for cells in zip(*padded, strict=True)]
    score = padded[[column.key for column in columns].index('nll')]
    assert len({cell.rindex('.') for cell in score[1:]}) == 1


def test_other_protocol_data_or_unit_is_another_table(tmp_path: Path) -> None:
    folders = [
        runs.make(tmp_path / '0', 'vae', [runs.nll(46.0)]),
        runs.make(tmp_path / '1', 'ngram', [runs.nll(1.6, unit='character')], data='shakespeare', domain=runs.TEXT),
        runs.make(tmp_path / '2', 'vae', [runs.nll(30.0)], protocol={'binarise': 'threshold'}),
        runs.make(tmp_path / '3', 'vae', [runs.nll(31.0)], sha256='0' * 64),
        runs.make(tmp_path / '4', 'mixture', [runs.nll(45.0)]),
    ]
    boards = leaderboard.boards([leaderboard.read(folder) for folder in folders])
    assert [[row.record.folder.name for row in board.rows] for board in boards] == [['4', '0'], ['2'], ['3'], ['1']]
    assert boards[0].apart == ('binarise', 'data sha256')
    assert len({leaderboard.name(board) for board in boards}) == len(boards)
    assert 'they differ in binarise, data sha256' in leaderboard.text_table(boards[0])


def test_a_cross_entropy_of_grey_values_is_no_density(tmp_path: Path) -> None:
    """Both are nats per example on the same values in [0, 1], and not the same quantity. A GAN has no score to be either."""
    bernoulli = {'values': {'trainer.model.likelihood': 'Bernoulli'}}
    folders = [
        runs.make(tmp_path / 'vae', 'vae', [runs.nll(25.0)], extra=bernoulli),
        runs.make(tmp_path / 'gmm', 'gmm', [runs.nll(-60.0)]),
        runs.make(tmp_path / 'gan', 'gan', []),
    ]
    boards = leaderboard.boards([leaderboard.read(folder) for folder in folders])
    assert [[row.label for row in board.rows] for board in boards] == [['vae', 'gan'], ['gmm']]
    assert boards[0].apart == ('measure',)
    assert 'measure: Bernoulli cross-entropy of grey values' in leaderboard.text_table(boards[0])
    (alone,) = leaderboard.boards([leaderboard.read(folders[0])])
    assert 'measure' not in leaderboard.facts(alone)


def test_runs_of_one_config_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    folders = [runs.make(tmp_path / name, 'vae', [runs.nll(46.0)]) for name in ('seed0', 'seed1')]
    (board,) = leaderboard.boards([leaderboard.read(folder) for folder in folders])
    assert [row.label for row in board.rows] == ['vae [seed0]', 'vae [seed1]']


def test_a_column_that_nobody_fills_is_left_out_and_the_score_never_is(tmp_path: Path) -> None:
    heads = [column.head for column in leaderboard.columns(board_of(tmp_path, gan=[]))]
    assert heads == ['model', 'nats per example', 'kind', 'parameters', 'training seconds']


def test_different_numbers_of_test_cases_are_remarked(tmp_path: Path) -> None:
    board = board_of(tmp_path, vae=[runs.nll(46.0, n=100)], mixture=[runs.nll(45.0)])
    assert leaderboard.notes(board) == ['scored on different numbers of test cases: mixture 397, vae 100']


def test_a_name_cannot_command_the_terminal(tmp_path: Path) -> None:
    record = leaderboard.read(runs.make(tmp_path / 'a', 'vae\x1b[2J\n\u202eevil', [runs.nll(46.0)]))
    table = leaderboard.text_table(leaderboard.boards([record])[0])
    assert '\x1b' not in table and '\u202e' not in table and len(table.split('\n')) == 4


def test_a_run_alone_has_won_nothing(tmp_path: Path) -> None:
    board = board_of(tmp_path, vae=[runs.nll(46.0)], gan=[])
    assert not any(column.best for column in leaderboard.columns(board))


def test_codes_have_a_table_of_their_own_where_more_is_better(tmp_path: Path) -> None:
    """Interval by hand: 0.2, 0.3 and 0.4 have a half width of 4.3027 * 0.1 / sqrt 3 = 0.2484."""
    folders = [
        runs.make(
            tmp_path / f'{i}',
            'beta_vae',
            [runs.nll(46.0), runs.figure('mig', 0.2 + 0.1 * i), runs.figure('factor_vae_score', 0.5)],
            extra={'seed': i},
        )
        for i in range(3)
    ]
    folders += [
        runs.make(tmp_path / 'vae', 'vae', [runs.nll(45.0), runs.figure('mig', 0.1), runs.figure('pixel_mmd', 0.2)]),
        runs.make(tmp_path / 'gmm', 'gmm', [runs.nll(50.0)]),
    ]
    (board,) = leaderboard.boards([leaderboard.read(folder) for folder in folders])
    assert not {'mig', 'factor_vae_score'} & {column.head for column in leaderboard.columns(board)}
    table = codes.columns(board)
    assert [column.head for column in table] == ['model', 'seeds', 'mig', 'factor_vae_score']
    assert table[2].cells == ('0.100', '0.300 ± 0.248', '') and table[2].best == {1}
    assert table[3].cells == ('', '0.500 ± 0.000', '') and not table[3].best
    head, *lines = codes.text_table(board).splitlines()
    assert head.startswith('digits: how well single latents stand for single factors (more') and len(lines) == 4
    page = sections.of_codes(board)
    assert page.count('<tr>') == 4 and '0.300 ± 0.248' in page and page.count('★') == 0
    assert page.count('class="number best"') == 1
    assert leaderboard.less_is_better('mig') is False


def test_without_codes_there_is_no_such_table(tmp_path: Path) -> None:
    board = board_of(tmp_path, vae=[runs.nll(46.0), runs.figure('pixel_mmd', 0.1)])
    assert codes.columns(board) == [] and sections.of_codes(board) == codes.text_table(board) == ''


def test_texts_cut_differently_for_each_model_share_a_table_and_it_is_said(tmp_path: Path) -> None:
    folders = []
    for name, length in (('ngram', 1024), ('transformer', 64)):
        lines = [runs.nll(1.6, unit='character') | {'settings': {'standard_error': 0.02}}]
        protocol = {'test': 'the last 10 %', 'length': length, 'windows': {'test': 46}}
        folders.append(runs.make(tmp_path / name, name, lines, domain=runs.TEXT, protocol=protocol))
    (board,) = leaderboard.boards([leaderboard.read(folder) for folder in folders])
    (note,) = leaderboard.notes(board)
    assert note == 'the text was cut differently for each model (ngram: length 1024; transformer: length 64)'
    assert [c.cells for c in leaderboard.columns(board) if c.key == 'error'] == [('0.0200', '0.0200')]
