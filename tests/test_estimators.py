"""The table of estimators: what it says follows from what was measured, and one command makes it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import estimators as experiment
from experiments.estimators import Row
from research.metrics.likelihood import over_examples
from research.types import BadInput
from tests.command import caller


def rows() -> list[Row]:
    values = np.array([-24.0, -26.0, -25.0])
    return [
        Row('ELBO', 'ELBO', 50, over_examples(values), over_examples(np.array([-0.5, -0.7, -0.6]))),
        Row('importance', 'importance, k = 5', 5, over_examples(values), over_examples(np.array([-0.1, -0.3, -0.2]))),
        Row('importance', 'importance, k = 5000', 5000, over_examples(values), over_examples(np.zeros(3))),
    ]


def test_the_table_shows_biases_with_their_sign_and_interval() -> None:
    lines = experiment.markdown('linear', rows()).splitlines()
    assert lines[:4] == [
        'linear',
        '',
        '| estimator | decoder passes | nats | bias | low | high |',
        '| --- | --: | --: | --: | --: | --: |',
    ]
    assert lines[4] == '| ELBO | 50 | -25.00 | -0.600 | -0.848 | -0.352 |'
    assert lines[6] == '| importance, k = 5000 | 5,000 | -25.00 | +0.000 | +0.000 | +0.000 |'


def test_the_picture_has_a_curve_of_each_kind_over_what_it_costs() -> None:
    picture = experiment.picture(rows())
    assert 'data-name="importance"' in picture and 'data-x="5 5000"' in picture
    assert 'data-name="ELBO"' not in picture


def test_passes_count_every_chain_and_the_pilots() -> None:
    assert experiment.passes(10, chains=4, leapfrog=3) == 4 * 31 + 2 * (300 * 3 + 1)


@pytest.mark.parametrize('words', [['0'], ['ten'], [''], []])
def test_lists_of_numbers_are_checked(words: list[str]) -> None:
    with pytest.raises(BadInput, match='--draws'):
        experiment.counts(words, 'draws')


def test_biases_on_the_plane_are_against_the_exact_values() -> None:
    one = experiment.subject('2-D', epochs=20, examples=30)
    assert one.exact is not None and one.made_exact is not None and len(one.made_exact) == 30
    table, gap = experiment.rows(one, [1, 500], [], chains=2, leapfrog=3)
    biases = {row.label: row.bias for row in table}
    assert gap is None and list(biases) == ['ELBO', 'importance, k = 1', 'importance, k = 500']
    elbo, best = biases['ELBO'], biases['importance, k = 500']
    assert elbo.high is not None and elbo.high < 0 and abs(best.mean) < 0.1
    assert experiment.told(one, gap).startswith('2-D: bias against the exact log p(x), 30 test images')


def test_one_command_trains_measures_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At toy size, the deep model: what is printed, and the three files."""
    every = experiment.models()
    monkeypatch.setattr(experiment, 'models', lambda: {'deep': every['deep']})
    out, call = tmp_path / 'out', caller(capsys, monkeypatch)
    toy = ('--epochs=20', '--examples=10', '--chains=2', '--leapfrog=3', '--draws=1,50', '--temperatures=4,40')
    done = call(experiment, '--out', out, *toy)
    assert done.code == 0, done.err
    assert 'the lower bound by the same path is' in done.out
    (deep,) = json.loads((out / 'estimators.json').read_text()).values()
    bias = {row['label']: row['bias']['mean'] for row in deep}
    assert all(abs(value) < 3 for value in bias.values()) and bias['ELBO'] < 0.2  # of ten images and a short path
    assert deep[-1]['label'] == 'annealing back to q, T = 4' and deep[-1]['bias']['mean'] == 0
    assert '| ELBO | 50 |' in (out / 'table.md').read_text()
    page = (out / 'index.html').read_text()
    assert page.count('<svg class="curves"') == 1 and 'http' not in page.replace('http-equiv', '')
    again = call(experiment, '--out', tmp_path)
    assert again.code == 2 and 'was not made by this experiment' in again.err
    refused = call(experiment, '--out', out, '--examples', 5000)
    assert refused.code == 2 and '--examples 5000: there are 397 test images' in refused.err
