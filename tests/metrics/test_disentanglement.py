"""Metrics of disentanglement where their values are known: perfect, constant, rotated, doubled and unrelated codes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from research import evaluate
from research.data import Data, Images, Sprites
from research.metrics import disentanglement, factors, interventions
from research.metrics.disentanglement import dci, mig, modularity, mutual_information, sap
from research.metrics.interventions import beta_vae_score, factor_vae_score
from research.models.independent import Independent
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.types import BadInput

SIZES = (3, 4, 5)
ALL = [mig, modularity, sap, dci, beta_vae_score, factor_vae_score]
NAMES = [
    'mig', 'dci_disentanglement', 'dci_completeness', 'dci_informativeness', 'sap', 'modularity', 'beta_vae_score',
    'factor_vae_score',
]  # fmt: skip


def grid(sizes: tuple[int, ...], times: int) -> np.ndarray:
    """Every cell equally often, so that factors are exactly independent, and knowing one says exactly nothing of another."""
    return np.tile(np.indices(sizes).reshape(len(sizes), -1).T, (times, 1))


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interventions, 'COUNTED', 2000)
    monkeypatch.setattr(interventions, 'ASKED', 2000)


TRUTH = grid(SIZES, 20)  # [1200, 3]
PERFECT = TRUTH * [2.0, -0.5, 1.0] + [3, 0, -7]
# Four latents that each know something, and one that knows nothing.
MIXED = (
    np.random.default_rng(0).normal(size=(1200, 5)) * [0.3, 0.2, 0.5, 0.4, 1]
    + np.c_[TRUTH @ [1, 0, 0], TRUTH @ [0.2, 1, 0], TRUTH @ [0, 0, 1], TRUTH @ [0.5, 0, 0.5], np.zeros(1200)]
)


def test_a_perfect_code_has_the_ceiling_of_each_metric() -> None:
    """1, but for SAP, whose second latent is right one time in `values` by chance; one factor of more values than bins."""
    assert mig(PERFECT, TRUTH) == pytest.approx(1, abs=1e-12)
    assert modularity(PERFECT, TRUTH) == pytest.approx(1, abs=1e-12)
    assert sap(PERFECT, TRUTH) == pytest.approx(np.mean([1 - 1 / size for size in SIZES]), abs=0.05)
    assert dci(PERFECT, TRUTH) == pytest.approx((1, 1, 1), abs=1e-3)
    assert dci(PERFECT[:300], TRUTH[:300], classifier=disentanglement.boosted) == pytest.approx((1, 1, 1), abs=1e-3)
    assert beta_vae_score(PERFECT, TRUTH) == 1
    assert factor_vae_score(PERFECT, TRUTH) == 1
    fine = grid((2, 40), 10)  # two of its values to a bin
    assert mig(fine * 1.0, fine) == pytest.approx((1 + np.log(20) / np.log(40)) / 2)


def test_a_constant_code_has_the_floor_of_each_metric() -> None:
    """0, or what is right without looking: the most frequent value, or one factor always."""
    constant = np.full((1200, 4), 7.0)
    assert mig(constant, TRUTH) == modularity(constant, TRUTH) == sap(constant, TRUTH) == 0
    disentangled, complete, right = dci(constant, TRUTH)
    assert disentangled == complete == 0
    assert right == pytest.approx(np.mean([1 / size for size in SIZES]), abs=0.05)
    assert beta_vae_score(constant, TRUTH) == pytest.approx(1 / 3, abs=0.03)
    assert factor_vae_score(constant, TRUTH) == 0
    padded = np.concatenate([PERFECT, constant], axis=1)  # beside others it changes only the mean over latents
    assert mig(padded, TRUTH) == pytest.approx(1)
    assert modularity(padded, TRUTH) == pytest.approx(3 / 7)
    assert factor_vae_score(padded, TRUTH) == beta_vae_score(padded, TRUTH) == 1


def rotated(degrees: float, truth: np.ndarray) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return truth @ np.array([[c, -s], [s, c]])


def test_a_code_rotated_by_45_degrees_tells_as_much_and_separates_nothing() -> None:
    """a + b and a - b tell equally much of a, and of b: every gap is 0, and which was held is a guess."""
    truth = grid((12, 12), 30)
    code = truth @ np.array([[1, 1], [1, -1]])
    assert mig(code, truth) == pytest.approx(0, abs=1e-12)
    assert modularity(code, truth) == pytest.approx(0, abs=1e-12)
    assert sap(code, truth) < 0.02
    disentangled, complete, right = dci(code, truth)
    assert disentangled < 0.01 and complete < 0.01 and right > 0.99
    assert beta_vae_score(code, truth) == pytest.approx(0.5, abs=0.04)
    assert factor_vae_score(code, truth) == pytest.approx(0.5, abs=0.04)


def test_a_code_rotated_by_20_degrees_fools_the_variance_and_not_the_information() -> None:
    """Where a is held, the two latents keep sin^2 and cos^2 of their variance: the vote is right all the same."""
    truth = grid((12, 12), 30)
    code = rotated(20, truth)
    centred = code - code.mean(axis=0)
    kept = [code[truth[:, 0] == a].var(axis=0) / (centred**2).mean(axis=0) for a in range(12)]
    np.testing.assert_allclose(kept, np.tile([np.sin(np.deg2rad(20)) ** 2, np.cos(np.deg2rad(20)) ** 2], (12, 1)))
    assert factor_vae_score(code, truth) > 0.99 and beta_vae_score(code, truth) > 0.99
    assert mig(code, truth) < 0.6
    assert dci(code, truth).disentanglement < 0.7


def test_a_factor_told_twice_is_no_gap_and_still_modular() -> None:
    twice = np.repeat(PERFECT, 2, axis=1)
    assert mig(twice, TRUTH) == pytest.approx(0, abs=1e-12) and sap(twice, TRUTH) == 0
    assert modularity(twice, TRUTH) == pytest.approx(1)
    found = dci(twice, TRUTH)
    assert found.disentanglement > 0.99 and found.completeness < 0.75  # two of six: 1 - log 2 / log 6 = 0.61
    assert factor_vae_score(twice, TRUTH) == 1


def test_an_unrelated_code_is_at_chance() -> None:
    """Each information is (bins - 1)(values - 1) / 2n on average, and modularity what follows from that; scores guess."""
    truth = grid(SIZES, 100)
    noise = np.random.default_rng(1).uniform(size=(6000, 6))
    found = mutual_information(disentanglement.binned(noise), truth)
    bias = 19 * (np.array(SIZES) - 1) / (2 * 6000)
    spread = np.sqrt(2 * 19 * (np.array(SIZES) - 1)) / (2 * 6000) / np.sqrt(6)  # chi-squared, over six latents
    assert (np.abs(found.mean(axis=0) - bias) < 4 * spread).all()
    assert mig(noise, truth) < 0.002 and sap(noise, truth) < 0.02
    assert modularity(noise, truth) == pytest.approx(1 - (bias[:2] ** 2).sum() / bias[2] ** 2 / 2, abs=0.15)
    disentangled, complete, right = dci(noise, truth)
    assert disentangled < 0.02 and complete < 0.02
    assert right == pytest.approx(np.mean([1 / size for size in SIZES]), abs=0.02)
    assert beta_vae_score(noise, truth) == pytest.approx(1 / 3, abs=0.05)
    assert factor_vae_score(noise, truth) == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize('metric', ALL)
def test_order_sign_and_scale_of_latents_change_nothing(metric: Callable[..., Any]) -> None:
    found = np.array(metric(MIXED, TRUTH))
    near = (
        0.02 if metric in (dci, beta_vae_score) else 1e-9
    )  # a forest draws in the order of latents; a solver stops early
    order = [3, 0, 4, 2, 1]
    np.testing.assert_allclose(metric(MIXED[:, order], TRUTH), found, atol=near)
    np.testing.assert_allclose(metric(MIXED * [4, 0.5, 8, 1, 2], TRUTH), found, atol=near)
    np.testing.assert_allclose(metric(-MIXED, TRUTH), found, atol=max(near, 0.005))  # a bin is closed on the left
    np.testing.assert_allclose(metric(MIXED, TRUTH[:, [2, 0, 1]]), found, atol=0.05)  # other draws of groups
    assert np.array_equal(metric(MIXED, TRUTH), found)


def test_mutual_information_is_scikit_learns_and_exact_on_a_table() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 7, (500, 3)), rng.integers(0, 4, (500, 2))
    b[:, 0] = (a[:, 0] + b[:, 0]) % 4
    by_pair = [[mutual_info_score(x, y) for y in b.T] for x in a.T]
    np.testing.assert_allclose(mutual_information(a, b), by_pair, atol=1e-12)
    table = np.array([[3, 1, 0], [1, 2, 5]])
    rows, columns = np.nonzero(table)
    x, y = np.repeat(rows, table[rows, columns]), np.repeat(columns, table[rows, columns])
    p = table / 12
    by_hand = sum(p[i, j] * np.log(p[i, j] / (p[i].sum() * p[:, j].sum())) for i, j in zip(rows, columns, strict=True))
    assert mutual_information(x[:, None], y[:, None])[0, 0] == pytest.approx(by_hand)


def test_a_sum_tells_its_own_entropy_less_that_of_the_other_part() -> None:
    """I(a + b; a) = H(a + b) - H(b), exact on a grid."""
    truth = grid((6, 6), 5)
    total = truth.sum(axis=1, keepdims=True)
    p = np.convolve(np.full(6, 1 / 6), np.full(6, 1 / 6))
    expected = -(p * np.log(p)).sum() - np.log(6)
    np.testing.assert_allclose(mutual_information(total, truth), [[expected, expected]])
    assert mig(total * 1.0, truth, bins=11) == pytest.approx(expected / np.log(6))  # one latent: its gap is to nothing


def test_groups_hold_one_factor_and_draw_all_that_have_its_value() -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 3, 60)
    by = interventions.groups(values)
    drawn = interventions.alike(by, np.repeat(np.arange(3), 20_000), rng)
    assert (values[drawn] == np.repeat(np.arange(3), 20_000)).all()
    often = np.bincount(drawn, minlength=60)
    expected = 20_000 / np.bincount(values)[values]
    assert (np.abs(often - expected) < 5 * np.sqrt(expected)).all()


def test_latents_that_hardly_move_have_no_vote() -> None:
    """One that stands still but for rounding would win every vote of the others."""
    truth = grid(SIZES, 20)
    still = 1e-6 * (truth[:, :1] + np.random.default_rng(4).normal(size=(1200, 1)))
    noise = np.random.default_rng(5).normal(size=(1200, 2))
    assert factor_vae_score(np.concatenate([still, truth * 1.0], axis=1), truth) == 1
    assert factor_vae_score(still, truth) == 0 < factor_vae_score(still, truth, pruned=0.0)
    assert factor_vae_score(noise * 0.049, truth) == 0 < factor_vae_score(noise * 0.06, truth)


def test_golden_numbers() -> None:
    """Of one code and seed. Forest and classifier may move a little with scikit-learn."""
    code = MIXED + 2 * np.random.default_rng(7).normal(size=(1200, 5))
    exact = (mig(code, TRUTH), modularity(code, TRUTH), sap(code, TRUTH), factor_vae_score(code, TRUTH))
    assert exact == pytest.approx((0.08465678307, 0.7968654913, 0.1034491298, 0.6935), abs=1e-9)
    assert (*dci(code, TRUTH), beta_vae_score(code, TRUTH)) == pytest.approx((0.122, 0.095, 0.366, 0.778), abs=0.02)
    assert sap(code, TRUTH, seed=1) != exact[2]


@pytest.mark.parametrize(
    ('codes', 'truth', 'message'),
    [
        (PERFECT[:5], TRUTH, r'codes \[5, 3\] and factors \[1200, 3\]: expected \[n, latent\] and \[n, k\]'),
        (PERFECT[:, 0], TRUTH, 'expected'),
        (PERFECT[:0], TRUTH[:0], 'expected'),
        (np.where(PERFECT == 3, np.nan, PERFECT), TRUTH, 'some are NaN or infinite'),
        (PERFECT, TRUTH * [1, 0, 0], '1 of 3 vary; expected at least two'),
    ],
)
def test_what_is_no_code_or_no_factors_is_refused(codes: np.ndarray, truth: np.ndarray, message: str) -> None:
    for metric in ALL:
        with pytest.raises(BadInput, match=message):
            metric(codes, truth)


def test_a_factor_of_one_value_is_left_out() -> None:
    padded = np.insert(TRUTH, 1, 9, axis=1)
    assert mig(MIXED, padded) == mig(MIXED, TRUTH)
    assert factor_vae_score(MIXED, padded) == factor_vae_score(MIXED, TRUTH)


def test_all_are_measured_by_name_with_their_settings() -> None:
    found = factors.measure(PERFECT, TRUTH)
    assert [figure.metric for figure in found] == NAMES
    assert found[0].settings == {'bins': 20} and found[0].value == pytest.approx(1)
    assert found[1].settings == {'learned': 800, 'classifier': 'forest', 'trees': 10, 'leaf': 10}
    assert found[-1].settings == {'batch': 64, 'learned': 2000, 'asked': 2000, 'pruned': 0.05}


@pytest.fixture(scope='module')
def few() -> Data:
    return Sprites(side=16, sizes=(3, 2, 2, 5, 5), test=200).load()


def fitted(model: Any, data: Data, params: Any = None) -> evaluate.Fitted:
    if params is None:
        params = jax.jit(model.init)(jax.random.key(0), np.asarray(data.test.x[:50]))
    run = SimpleNamespace(trainer=SimpleNamespace(model=model), seed=0)
    return evaluate.Fitted(run, params, data.domain)


def test_a_model_with_a_code_is_measured_on_data_with_factors_and_no_other(few: Data) -> None:
    vae = VAE(encoder=MLP(hidden=(8,)), decoder=MLP(hidden=(8,)), latent=3)
    ready = fitted(vae, few)
    results = evaluate.factor_results(ready, few, 'test')
    assert [result.metric for result in results] == NAMES
    assert {(r.n, r.split, r.unit, r.kind) for r in results} == {(200, 'test', 'score', 'estimate')}
    code = np.asarray(vae.encode(ready.params, few.test.x)[0])
    assert few.test.factors is not None
    assert results[0].value == pytest.approx(mig(code, few.test.factors), abs=0.01)
    broken = ready._replace(params=jax.tree.map(lambda leaf: leaf * np.nan, ready.params))
    assert evaluate.factor_results(broken, few, 'test') == []
    assert evaluate.factor_results(ready, dataclasses.replace(few, factors=None), 'test') == []
    assert evaluate.factor_results(ready, dataclasses.replace(few, factors={'shape': 3, 'x': 1}), 'test') == []
    assert evaluate.factor_results(fitted(Independent(), few), few, 'test') == []
    digits = Images(name='digits', values='threshold').load()
    assert evaluate.factor_results(fitted(vae, digits), digits, 'test') == []
