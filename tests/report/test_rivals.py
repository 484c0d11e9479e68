"""The best network against the best model without one: the sentence and the table follow from the numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from research.report import leaderboard, rivals
from research.report.leaderboard import Board


def run_folder(
    home: Path, name: str, network: bool, nll: float, error: float, kind: str = 'exact', seed: int = 0
) -> Path:
    folder = home / f'{name}-{seed}'
    folder.mkdir()
    data = {'name': 'digits', 'sha256': 'a' * 64, 'values': 'scale', 'protocol': {}}
    domain: dict[str, Any] = {'kind': 'unit', 'shape': [8, 8, 1], 'modality': 'image', 'unit': 'example'}
    card = {'format': 1, 'config': name, 'network': network, 'data': data, 'domain': domain, 'values': {}}
    card['seed'] = seed
    (folder / 'card.json').write_text(json.dumps(card))
    settings = {'standard_error': error}
    result = {'metric': 'test_nll', 'value': nll, 'unit': 'nats per example', 'kind': kind, 'n': 9, 'split': 'test'}
    (folder / 'results.jsonl').write_text(json.dumps(result | {'settings': settings}) + '\n')
    return folder


def board(home: Path, *runs: tuple[Any, ...]) -> Board:
    folders = [run_folder(home, *run) for run in runs]
    (only,) = leaderboard.boards([leaderboard.read(folder) for folder in folders])
    return only


def test_the_lower_score_comes_first(tmp_path: Path) -> None:
    said = rivals.verdict(board(tmp_path, ('vae', True, 90.0, 0.5, 'bound'), ('em', False, 100.0, 0.5, 'exact')))
    assert 'digits, a neural network comes first: vae at most 90, em 100 nats per example' in said


def test_the_best_of_each_side_is_compared(tmp_path: Path) -> None:
    runs = (('em', False, 80.0, 0.1, 'exact'), ('worse', False, 99.0, 0.1, 'exact'), ('rnn', True, 90.0, 0.1, 'exact'))
    said = rivals.verdict(board(tmp_path, *runs))
    assert 'a model without a network comes first: em 80, rnn 90' in said
    assert 'worse' not in said


def test_a_bound_in_second_place_leaves_a_doubt(tmp_path: Path) -> None:
    said = rivals.verdict(board(tmp_path, ('em', False, 80.0, 0.1, 'exact'), ('vae', True, 90.0, 0.1, 'bound')))
    assert 'as far as the bound of vae tells' in said


def test_a_small_gap_is_too_close_to_call(tmp_path: Path) -> None:
    said = rivals.verdict(board(tmp_path, ('em', False, 80.0, 1.0, 'exact'), ('rnn', True, 81.0, 1.0, 'exact')))
    assert 'too close to call' in said


def test_one_side_alone_is_no_comparison(tmp_path: Path) -> None:
    said = rivals.verdict(board(tmp_path, ('em', False, 80.0, 1.0, 'exact')))
    assert said.startswith('On digits: Lowest test score: 80')


def test_seeds_are_one_row_and_the_verdict_knows_their_spread(tmp_path: Path) -> None:
    """Four and four seeds: a gap far beyond their spread is called, one within it is not."""
    (tmp_path / 'far').mkdir()
    (tmp_path / 'near').mkdir()
    scores = {'far': (80.0, 90.0), 'near': (80.0, 80.3)}
    boards = {}
    for name, (em, rnn) in scores.items():
        runs = [('em', False, em + seed, 0.1, 'exact', seed) for seed in range(4)]
        runs += [('rnn', True, rnn + seed, 0.1, 'exact', seed) for seed in range(4)]
        boards[name] = board(tmp_path / name, *runs)
    assert [len(row.records) for row in boards['far'].rows] == [4, 4]
    assert 'em 81.5 (79.45 to 83.55), rnn 91.5' in rivals.verdict(boards['far'])
    assert 'a model without a network comes first' in rivals.verdict(boards['far'])
    assert 'too close to call' in rivals.verdict(boards['near'])


def test_an_estimate_is_nobodys_best(tmp_path: Path) -> None:
    runs = (('rbm', True, 70.0, 0.1, 'estimate'), ('rnn', True, 90.0, 0.1, 'exact'), ('em', False, 80.0, 0.1, 'exact'))
    assert 'em 80, rnn 90' in rivals.verdict(board(tmp_path, *runs))


def test_the_table_has_a_row_for_each_comparison_and_marks_who_comes_first(tmp_path: Path) -> None:
    for name in ('far', 'near', 'alone'):
        (tmp_path / name).mkdir()
    far = board(tmp_path / 'far', ('vae', True, 90.0, 0.5, 'bound'), ('em', False, 80.0, 0.5, 'exact'))
    near = board(tmp_path / 'near', ('vae', True, 81.0, 0.5, 'bound'), ('em', False, 80.9, 0.5, 'exact'))
    alone = board(tmp_path / 'alone', ('em', False, 80.0, 0.5, 'exact'))
    lines = rivals.text_table([far, near, alone]).splitlines()
    assert len(lines) == 3
    assert '<= 90.0000' in lines[1]
    assert '80.0000*' in lines[1]
    assert '*' not in lines[2]
    html = rivals.table([far, near, alone])
    assert html.count('<tr>') == 3
    assert html.count('class="number best"') == 1
    assert rivals.table([alone]) == ''
