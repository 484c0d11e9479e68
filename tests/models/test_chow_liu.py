"""Chow-Liu against all trees there are, enumeration of all states, and the published table."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse.csgraph import minimum_spanning_tree
from sklearn.metrics import mutual_info_score

from research.data import Binary
from research.data.binary import FOLDER
from research.maths import trees
from research.models.chow_liu import ChowLiu
from research.types import Conditional, Domain
from tests.models.completion import check_conditional, check_marginals, check_most_probable, states

KEY = jax.random.key(0)
Params = dict[str, jax.Array]
TABLE = {
    'nltcs': -6.759045, 'msnbc': -6.540127, 'kdd': -2.294894, 'plants': -16.524015, 'baudio': -44.374902,
    'jester': -58.226532, 'bnetflix': -60.250346, 'accidents': -33.188110, 'tretail': -10.946545,
    'pumsb_star': -30.807048, 'dna': -87.734776, 'kosarek': -11.490084,
}  # fmt: skip


def fitted(model: ChowLiu, x: np.ndarray) -> Params:
    return jax.jit(lambda x: model.solve({}, model.statistics({}, x)[0]))(jnp.asarray(x, jnp.float32))


def data(dims: int, rows: int = 60, seed: int = 0) -> np.ndarray:
    """Bits that copy one earlier bit, with errors."""
    rng = np.random.default_rng(seed)
    x = rng.random((rows, dims)) < rng.uniform(0.2, 0.8, dims)
    for i in range(1, dims):
        x[:, i] ^= x[:, rng.integers(i)] & (rng.random(rows) < 0.7)
    return x.astype(np.float32)


def all_trees(dims: int) -> Iterator[list[int]]:
    """The parents of every tree on `dims` variables, the root being 0: dims^(dims - 2) of them."""
    for parent in itertools.product(range(dims), repeat=dims - 1):
        above = [0, *parent]
        if all(leads_to_the_root(i, above) for i in range(dims)):
            yield above


def leads_to_the_root(i: int, parent: list[int]) -> bool:
    for _ in parent:
        i = parent[i]
    return i == 0


def likelihood(parent: list[int], x: np.ndarray, alpha: float) -> float:
    """The expected log-likelihood under the smoothed pair frequencies, which is what the best tree maximises, by loops."""
    n, total = len(x), 0.0
    for i in range(x.shape[1]):
        if i == 0:
            ones = (x[:, 0].sum() + 2 * alpha) / (n + 4 * alpha)
            total += sum(p * np.log(p) for p in (ones, 1 - ones))
            continue
        pair = np.array([[((x[:, i] == a) & (x[:, parent[i]] == b)).sum() for b in (0, 1)] for a in (0, 1)])
        pair = (pair + alpha) / (n + 4 * alpha)
        total += (pair * np.log(pair / pair.sum(axis=0))).sum()
    return total


@pytest.mark.parametrize('dims', [2, 3, 4, 5])
@pytest.mark.parametrize('alpha', [1.0, 0.01])
def test_of_all_trees_the_found_one_is_the_best(dims: int, alpha: float) -> None:
    every = list(all_trees(dims))
    assert len(every) == dims ** (dims - 2)
    for seed in range(3):
        x = data(dims, seed=seed)
        parent = np.asarray(fitted(ChowLiu(alpha=alpha), x)['parent']).tolist()
        best = max(likelihood(tree, x, alpha) for tree in every)
        assert likelihood(parent, x, alpha) == pytest.approx(best, abs=1e-6)


def test_scipy_and_scikit_learn_find_the_same_tree() -> None:
    """Mutual information by scikit-learn, the spanning tree by SciPy, conditional frequencies by counting; hardly smoothed."""
    x = data(12, 400)
    information = np.array([[mutual_info_score(a, b) for b in x.T] for a in x.T])
    edges = minimum_spanning_tree(-np.triu(information, 1)).nonzero()
    params = fitted(ChowLiu(alpha=1e-6), x)
    parent = np.asarray(params['parent'])
    found = {(min(i, p), max(i, p)) for i, p in enumerate(parent.tolist()) if i}
    assert found == set(zip(*(ends.tolist() for ends in edges), strict=True))
    expected = np.log(np.where(x[:, 0] == 1, x[:, 0].mean(), 1 - x[:, 0].mean()))
    for i in range(1, 12):
        above = x[:, parent[i]]
        ones = np.where(above == 1, x[above == 1, i].mean(), x[above == 0, i].mean())
        expected = expected + np.log(np.where(x[:, i] == 1, ones, 1 - ones))
    np.testing.assert_allclose(ChowLiu().log_prob(params, jnp.asarray(x), KEY), expected, rtol=1e-4)


def test_information_of_weighted_examples() -> None:
    """With weights of 1 that of counts; with others by the formula, in float64."""
    x, n = jnp.asarray(data(6)), jnp.float32(60)
    plain = trees.mutual_information(n, x.T @ x, 0.5)
    np.testing.assert_allclose(trees.weighted_information(n, x.T @ x, 0.5), plain, atol=1e-6)
    weight = np.random.default_rng(0).exponential(size=60)
    both = (np.asarray(x) * weight[:, None]).T @ np.asarray(x)
    found = trees.weighted_information(jnp.float32(weight.sum()), jnp.asarray(both, jnp.float32), 0.5)
    pair = np.stack([1 - np.asarray(x), np.asarray(x)], axis=-1)
    p = (np.einsum('n,nia,njb->ijab', weight, pair, pair) + 0.5) / (weight.sum() + 2)
    alone = p.sum(axis=3)[:, 0], p.sum(axis=2)[0]
    exact = (p * np.log(p / (alone[0][:, None, :, None] * alone[1][None, :, None, :]))).sum(axis=(2, 3))
    exact_pairs = ~np.eye(6, dtype=bool)
    np.testing.assert_allclose(np.asarray(found)[exact_pairs], exact[exact_pairs], atol=1e-6)


def test_it_is_exact_by_enumeration() -> None:
    """All states of six variables: scores, marginals, conditionals, most probable completions."""
    x = data(6)
    model = ChowLiu()
    params = fitted(model, x)
    assert isinstance(model, Conditional)
    parent, log_p = np.asarray(params['parent']), np.asarray(params['log_p'])
    every = states(6)
    by_hand = [sum(log_p[i, int(row[i]), int(row[parent[i]])] for i in range(6)) for row in every]
    np.testing.assert_allclose(model.log_prob(params, jnp.asarray(every), KEY), by_hand, rtol=1e-5)
    assert np.exp(by_hand).sum() == pytest.approx(1, abs=1e-5)
    check_marginals(model, params, 6)
    check_conditional(model, params, 6)
    check_most_probable(model, params, 6)


def test_samples_have_the_exact_pair_frequencies() -> None:
    """Within four standard errors of what the tree says, for every pair that it joins."""
    x, n = data(5), 20_000
    params = fitted(ChowLiu(), x)
    drawn = np.asarray(jax.jit(lambda p: ChowLiu().sample(p, KEY, n, (5,)))(params))
    p = np.exp(np.asarray(ChowLiu().log_prob(params, jnp.asarray(states(5)), KEY), np.float64))
    for i, j in itertools.combinations(range(5), 2):
        exact = p[(states(5)[:, i] == 1) & (states(5)[:, j] == 1)].sum()
        assert abs((drawn[:, i] * drawn[:, j]).mean() - exact) < 4 * np.sqrt(exact * (1 - exact) / n) + 1e-6


@pytest.mark.parametrize(
    'x',
    [np.zeros((5, 3)), np.ones((1, 4)), np.array([[0], [1], [1]]), np.array([[0, 1, 1], [1, 1, 0]])],
    ids=['constant', 'one example', 'one variable', 'a constant variable'],
)
def test_degenerate_data_are_defined(x: np.ndarray) -> None:
    """Smoothing gives every state a probability: they are finite, add up to 1, and a constant variable is as smoothed."""
    params = fitted(ChowLiu(), x)
    log_p = np.asarray(ChowLiu().log_prob(params, jnp.asarray(states(x.shape[1])), KEY), np.float64)
    assert np.isfinite(log_p).all()
    assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-5)
    assert sorted(np.asarray(params['order']).tolist()) == list(range(x.shape[1]))
    one = np.exp(log_p)[states(x.shape[1])[:, -1] == 1].sum()
    assert one == pytest.approx((x[:, -1].sum() + 2) / (len(x) + 4), abs=1e-5)


def test_other_data_are_refused() -> None:
    assert 'real' in str(ChowLiu().fits(Domain(kind='real', shape=(2,))))


@pytest.mark.parametrize('name', TABLE)
def test_the_published_table(name: str, likeness_dir: str) -> None:
    """alpha = 1: test log-likelihoods to 1e-5."""
    if not (Path(likeness_dir) / FOLDER / f'{name}.npz').is_file():
        pytest.skip(f'{name} is not in the data folder')
    sets = Binary(name=name).load()
    params = fitted(ChowLiu(), np.asarray(sets.train.x))
    log_p = jax.jit(ChowLiu().log_prob)(params, jnp.asarray(sets.test.x), KEY)
    assert np.asarray(log_p, np.float64).mean() == pytest.approx(TABLE[name], abs=1e-5)
