"""Quad-tree circuits against the recursion they stand for, over all images of a few pixels; EM climbs; nothing is undefined."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.maths.likelihoods import Categorical
from research.models.independent import Independent
from research.models.quad_tree import QuadTree, normalised
from research.trainers.em import EMTrainer
from research.types import Conditional, Domain
from tests.models.completion import check_conditional, check_marginals

KEY = jax.random.key(0)
Params = dict[str, Any]
Shape = tuple[int, ...]


def images(shape: Shape, values: int) -> np.ndarray:
    """All of them, [values^pixels, *shape]."""
    every = np.array(list(itertools.product(range(values), repeat=int(np.prod(shape)))))
    return every.reshape(-1, *shape).astype(np.int32)


def data(shape: Shape, values: int, rows: int = 120) -> np.ndarray:
    """Three prototypes with errors."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, values, (3, *shape))[rng.integers(3, size=rows)]
    return np.where(rng.random(x.shape) < 0.2, rng.integers(0, values, x.shape), x).astype(np.int32)


def climb(model: QuadTree, params: Params, x: jax.Array, count: int) -> tuple[Params, jax.Array]:
    """`count` iterations of EM, and the mean log-likelihood before each, [count]."""

    def step(params: Params, _: None) -> tuple[Params, jax.Array]:
        statistics, metrics = model.statistics(params, x)
        return model.solve(params, statistics), -metrics['loss']

    return jax.lax.scan(step, params, None, length=count)


def em(model: QuadTree, params: Params, x: np.ndarray, count: int) -> tuple[Params, np.ndarray]:
    fitted, levels = jax.jit(lambda params, x: climb(model, params, x, count))(params, jnp.asarray(x))
    return fitted, np.asarray(levels)


def fitted(model: QuadTree, shape: Shape, count: int = 5) -> Params:
    x = data(shape, model.values or 2)
    return em(model, jax.jit(model.init)(KEY, jnp.asarray(x)), x, count)[0]


def probabilities(model: QuadTree, params: Params, x: np.ndarray) -> np.ndarray:
    return np.exp(np.asarray(jax.jit(model.log_prob)(params, jnp.asarray(x), KEY), np.float64))


def recursion(params: Params, x: np.ndarray, reduce: Any = np.sum) -> float:
    """p(x) of one image [height, width, channels] by eq. 1, region by region from the whole down. With `reduce` the maximum:
    that of the most probable units."""
    tables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), normalised(params))

    def units(level: int, i: int, j: int, sides: list[Shape]) -> np.ndarray:
        """What region (i, j) of a level says, before it is mixed: [K]."""
        if level == 0:
            return np.exp([tables['leaves'][i, j, c, x[i, j, c]] for c in range(x.shape[2])]).prod(axis=0)
        found = np.ones(1)
        for a, b in itertools.product((2 * i, 2 * i + 1), (2 * j, 2 * j + 1)):
            if a < sides[level - 1][0] and b < sides[level - 1][1]:
                found = found * mixed(level - 1, a, b, sides)
        return found

    def mixed(level: int, i: int, j: int, sides: list[Shape]) -> np.ndarray:
        p, name = units(level, i, j, sides), '{}x{}'.format(*sides[level])
        return reduce(tables['sums'][name][i, j] * p[:, None], axis=0) if level and name in tables['sums'] else p

    sides: list[Shape] = [x.shape[:2]]
    while len(sides) < 2 or sides[-1] != (1, 1):
        sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    return float(mixed(len(sides) - 1, 0, 0, sides)[0])


CASES = [
    ('2x2, three values', QuadTree(states=2, values=3), (2, 2, 1)),
    ('2x3, three values', QuadTree(states=3, values=3), (2, 3, 1)),
    ('3x3, binary', QuadTree(states=2, values=0), (3, 3, 1)),
    ('2x2, two channels', QuadTree(states=2, values=2), (2, 2, 2)),
    ('3x3, product on top', QuadTree(states=2, values=0, top='product'), (3, 3, 1)),
    ('one pixel', QuadTree(states=2, values=3), (1, 1, 1)),
]
cases = pytest.mark.parametrize(('model', 'shape'), [case[1:] for case in CASES], ids=[case[0] for case in CASES])


@cases
def test_log_prob_is_the_recursion_and_adds_up_to_one(model: QuadTree, shape: Shape) -> None:
    params, x = fitted(model, shape), images(shape, model.values or 2)
    p = probabilities(model, params, x)
    assert p.sum() == pytest.approx(1, abs=1e-5)
    for i in range(0, len(x), max(1, len(x) // 40)):
        assert p[i] == pytest.approx(recursion(params, x[i]), rel=1e-4)


@cases
def test_parts_of_an_image_by_enumeration(model: QuadTree, shape: Shape) -> None:
    """Marginals are sums over completions, draws fall as they say within four standard errors, whatever stands elsewhere."""
    params, x, n = fitted(model, shape), images(shape, model.values or 2), 20_000
    assert isinstance(model, Conditional)
    p, rng = probabilities(model, params, x), np.random.default_rng(1)
    marginal, fill = jax.jit(model.log_marginal), jax.jit(model.conditional)
    for observed in (np.zeros(shape, bool), np.ones(shape, bool), rng.random(shape) < 0.5):
        one = x[len(x) // 3]
        agree = ((x == one) | ~observed).reshape(len(x), -1).all(axis=1)
        given = jnp.asarray(np.where(observed, one, 99))
        assert float(marginal(params, given[None], observed)[0]) == pytest.approx(np.log(p[agree].sum()), abs=1e-4)
        exact = np.where(agree, p, 0) / p[agree].sum()
        drawn = np.asarray(fill(params, jnp.tile(given, (n, 1, 1, 1)), observed, KEY)).reshape(n, -1)
        assert (drawn.reshape(n, *shape)[:, observed] == one[observed]).all()
        code = drawn @ ((model.values or 2) ** np.arange(drawn.shape[1]))[::-1]
        found = np.bincount(code, minlength=len(x)) / n
        assert (np.abs(found - exact) < 4 * np.sqrt(exact * (1 - exact) / n) + 2e-4).all()


def test_a_row_of_bits_is_an_image_of_one_row() -> None:
    model = QuadTree(states=2, values=0)
    params = fitted(model, (5,))
    check_marginals(model, params, 5)
    check_conditional(model, params, 5)


def test_samples_fall_as_their_probabilities_say() -> None:
    model, shape, n = QuadTree(states=3, values=3), (2, 2), 20_000
    params = fitted(model, shape)
    p = probabilities(model, params, images(shape, 3))
    drawn = np.asarray(jax.jit(lambda p: model.sample(p, KEY, n, shape))(params))
    assert drawn.shape == (n, *shape)
    found = np.bincount(drawn.reshape(n, 4) @ (3 ** np.arange(4))[::-1], minlength=81) / n
    assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-4).all()


def test_expected_counts_are_those_of_all_units() -> None:
    """2x4: the unit of the whole and of its two halves by enumeration, added over three images."""
    model, shape, k = QuadTree(states=2, values=3), (2, 4, 1), 2
    params, x = fitted(model, shape), data(shape, 3)[:3]
    found = jax.jit(model.statistics)(params, jnp.asarray(x))[0]
    tables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), normalised(params))
    halves, whole = tables['sums']['1x2'], tables['sums']['1x1']
    leaves = np.zeros(tables['leaves'].shape)
    sums = {'1x2': np.zeros((1, 2, k, k)), '1x1': np.zeros((1, 1, k, 1))}
    for row in x:
        pixel = np.exp(np.take_along_axis(tables['leaves'], row[..., None, None], axis=3))[:, :, 0, 0]  # [2, 4, K]
        side = [pixel[:, 2 * h : 2 * h + 2].prod(axis=(0, 1)) for h in range(2)]
        joint = {
            (a, b, c): whole[0, 0, a, 0] * halves[0, 0, b, a] * side[0][b] * halves[0, 1, c, a] * side[1][c]
            for a, b, c in itertools.product(range(k), repeat=3)
        }
        for (a, b, c), p in joint.items():
            q = p / sum(joint.values())
            sums['1x1'][0, 0, a, 0] += q
            sums['1x2'][0, 0, b, a] += q
            sums['1x2'][0, 1, c, a] += q
            for i, j in itertools.product(range(2), range(4)):
                leaves[i, j, 0, row[i, j, 0], b if j < 2 else c] += q
    np.testing.assert_allclose(found['leaves'], leaves, rtol=1e-4, atol=1e-5)
    for name, expected in sums.items():
        np.testing.assert_allclose(found['sums'][name], expected, rtol=1e-4, atol=1e-5)


def test_the_most_probable_units_and_values() -> None:
    """Of all completions, none has likelier units."""
    model, shape = QuadTree(states=3, values=2), (2, 3, 1)
    params, every = fitted(model, shape), images(shape, 2)
    observed = np.array([1, 0, 0, 0, 1, 0], bool).reshape(shape)
    level = np.array([recursion(params, x, np.max) for x in every])
    for one in every[[0, 13, 42, 63]]:
        found = np.asarray(jax.jit(model.most_probable)(params, jnp.asarray(one[None]), observed))[0]
        agree = ((every == one) | ~observed).reshape(len(every), -1).all(axis=1)
        assert (found[observed] == one[observed]).all()
        assert recursion(params, found, np.max) == pytest.approx(level[agree].max(), rel=1e-4)


@pytest.mark.parametrize('top', ['sum', 'product'])
def test_em_never_lowers_the_likelihood(top: Any) -> None:
    """Four starts; pseudo-counts move the maximum a little, for which 1e-4 nats are allowed."""
    model = QuadTree(states=3, values=3, smoothing=1e-4, leaf_smoothing=1e-5, top=top)
    x = data((3, 4, 1), 3)
    run = jax.jit(lambda key, x: climb(model, model.init(key, x), x, 20)[1])
    for seed in range(4):
        levels = np.asarray(run(jax.random.key(seed), jnp.asarray(x)))
        assert (np.diff(levels) > -1e-4).all()
        assert levels[-1] > levels[0] + 0.5


def test_one_unit_is_an_independent_model() -> None:
    shape = (3, 3, 1)
    x = data(shape, 3)
    model, alone = (
        QuadTree(states=1, values=3, leaf_smoothing=0.7),
        Independent(likelihood=Categorical(levels=3), smoothing=0.7),
    )
    params = em(model, jax.jit(model.init)(KEY, jnp.asarray(x)), x, 1)[0]
    start = EMTrainer(model=alone).init(KEY, jnp.asarray(x))
    reference = alone.solve(start.params, alone.statistics(start.params, jnp.asarray(x))[0])
    expected = alone.log_prob(reference, jnp.asarray(x), KEY)
    np.testing.assert_allclose(model.log_prob(params, jnp.asarray(x), KEY), expected, rtol=1e-5)


def test_a_product_on_top_makes_the_quarters_independent() -> None:
    """And with a sum on top they are not."""
    shape = (4, 4)
    x = data(shape, 2)
    quarters = [np.zeros(shape, bool) for _ in range(4)]
    for quarter, (i, j) in zip(quarters, itertools.product((0, 2), repeat=2), strict=True):
        quarter[i : i + 2, j : j + 2] = True
    gaps = {}
    for top in ('sum', 'product'):
        model = QuadTree(states=3, values=0, top=top)
        params = fitted(model, shape, count=20)
        marginal = jax.jit(model.log_marginal)
        parts = sum(np.asarray(marginal(params, jnp.asarray(x), quarter)) for quarter in quarters)
        gaps[top] = np.abs(np.log(probabilities(model, params, x)) - parts).max()
    assert gaps['product'] < 1e-4 < 0.1 < gaps['sum']


@pytest.mark.parametrize(
    'x',
    [np.zeros((4, 3, 3)), np.ones((1, 1, 1)), np.eye(2)[None].repeat(2, 0), np.full((2, 7, 1), 2)],
    ids=['constant', 'one pixel', 'fewer than units', 'column'],
)
def test_degenerate_data_are_defined(x: np.ndarray) -> None:
    """By EM and by gradient: finite parameters, and every image has a probability."""
    model, x = QuadTree(states=5, values=3), x.astype(np.int32)

    @jax.jit
    def everything(x: jax.Array) -> tuple[Any, jax.Array]:
        start = model.init(KEY, x)
        params = climb(model, start, x, 4)[0]
        slope = jax.grad(lambda params: model.loss(params, x, KEY).loss)(start)
        return (params, slope), model.log_prob(params, 2 - x, KEY)

    found, log_p = everything(jnp.asarray(x))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    assert np.isfinite(log_p).all()
    assert (log_p <= 0).all()


def test_a_large_image_does_not_underflow() -> None:
    """30 x 30 pixels of 32 values: log p is thousands of nats below 0, and finite, as its slope is."""
    rng = np.random.default_rng(0)
    model, x = QuadTree(states=4, values=32), jnp.asarray(rng.integers(0, 32, (5, 30, 30, 1)))
    params = jax.jit(model.init)(KEY, jnp.zeros_like(x))
    value, slope = jax.jit(jax.value_and_grad(lambda params, x: model.loss(params, x, KEY).loss))(params, x)
    assert 2000 < float(value) < 1e4
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


def test_what_does_not_fit_is_said() -> None:
    image = Domain(kind='integer', shape=(8, 8, 1), values=17)
    assert QuadTree(values=17).fits(image) is None
    assert QuadTree(values=0).fits(Domain(kind='binary', shape=(9,))) is None
    assert 'unit' in str(QuadTree(values=0).fits(Domain(kind='unit', shape=(2, 2))))
    assert 'values=3' in str(QuadTree(values=3).fits(image))
    assert '2x2' in str(QuadTree(values=2, top='product').fits(Domain(kind='integer', shape=(2, 2), values=2)))
