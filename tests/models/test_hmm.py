"""Hidden Markov models against all hidden paths enumerated, and against hmmlearn; EM climbs, and odd input is defined."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from research.data import Music
from research.maths.emissions import BernoulliEmission, CategoricalEmission, GaussianEmission, MixtureEmission
from research.models.hmm import HMM
from research.types import Domain
from tests.models.test_mixture import iterate

KEY = jax.random.key(0)
K, TIME = 3, 4
RNG = np.random.default_rng(0)
BITS = (RNG.random((6, TIME, 2)) < 0.4).astype(np.float32)
BITS[1, 2:] = -1  # two steps
BITS[2, 1:] = -1  # one
BITS[3] = -1  # none
BITS[4, 1, 0] = -1  # a step that lacks one bit
SYMBOLS = RNG.integers(0, 4, (6, TIME)).astype(np.int32)
SYMBOLS[1, 3:], SYMBOLS[2, :2], SYMBOLS[3] = -1, -1, -1
REALS = RNG.normal(size=(6, TIME, 2)).astype(np.float32)
REALS[1, 2:], REALS[3], REALS[4, 1, 0] = np.nan, np.nan, np.nan

MODELS: dict[str, tuple[HMM, np.ndarray]] = {
    'bernoulli': (HMM(states=K, emission=BernoulliEmission(), context=0), BITS),
    'categorical': (HMM(states=K, emission=CategoricalEmission(levels=4), context=0), SYMBOLS),
    'gaussian': (HMM(states=K, emission=GaussianEmission(variance_floor=1e-2), context=0), REALS),
    'mixture': (HMM(states=K, emission=MixtureEmission(base=BernoulliEmission(), components=2), context=0), BITS),
    'gaussian mixture': (
        HMM(states=K, emission=MixtureEmission(base=GaussianEmission(variance_floor=1e-2), components=2), context=0),
        REALS,
    ),
}
models = pytest.mark.parametrize(('model', 'x'), MODELS.values(), ids=MODELS.keys())


def start(model: HMM, x: np.ndarray, seed: int = 0) -> Any:
    """A random point: some way from where `init` begins."""
    params = jax.jit(model.init)(jax.random.key(seed), jnp.asarray(x))
    keys = iter(jax.random.split(jax.random.key(seed + 1), 20))
    return jax.tree.map(lambda leaf: leaf + 0.7 * jax.random.normal(next(keys), leaf.shape), params)


def shows(emission: Any, params: Any, row: np.ndarray, k: int) -> float:
    """p(row | state k) by scipy, entries that are not there left out."""
    if isinstance(emission, MixtureEmission):
        w = special.softmax(np.asarray(params['logits'][k], np.float64))
        at = [k * emission.components + m for m in range(emission.components)]
        return float(sum(w[m] * shows(emission.base, params['base'], row, at[m]) for m in range(emission.components)))
    if isinstance(emission, BernoulliEmission):
        p, there = special.expit(np.asarray(params['outputs'][k], np.float64)), row >= 0
        return float(np.prod(np.where(row == 1, p, 1 - p)[there]))
    if isinstance(emission, CategoricalEmission):
        return float(special.softmax(np.asarray(params['log_p'][k], np.float64))[int(row[0])]) if row[0] >= 0 else 1.0
    scale, there = np.sqrt(np.exp(np.asarray(params['log_variances'][k])) + 1e-2), ~np.isnan(row)
    return float(np.prod(stats.norm.pdf(row, np.asarray(params['means'][k]), scale)[there]))


def paths(model: HMM, params: Any, x: np.ndarray, exists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All paths over the steps that exist, and p(x, path), for one sequence [time, ...]."""
    pi = special.softmax(np.asarray(params['initial'], np.float64))
    a = special.softmax(np.asarray(params['transition'], np.float64), axis=1)
    steps = x.reshape(len(x), -1)[exists]
    e = np.array([[shows(model.emission, params['emission'], row, k) for k in range(K)] for row in steps])
    every = np.array(list(itertools.product(range(K), repeat=len(steps))), dtype=int)
    joint = [
        np.prod([(pi[z[0]] if t == 0 else a[z[t - 1], z[t]]) * e[t, z[t]] for t in range(len(steps))]) for z in every
    ]
    return every, np.array(joint)


def present(name_x: np.ndarray) -> np.ndarray:
    """Steps that exist, [batch, time]."""
    seen = ~np.isnan(name_x) if name_x is REALS else name_x >= 0
    return seen.reshape(*name_x.shape[:2], -1).any(axis=2)


@models
def test_likelihood_posteriors_and_best_path_of_all_paths(model: HMM, x: np.ndarray) -> None:
    params, exists = start(model, x), present(x)
    log_p = np.asarray(jax.jit(model.log_prob)(params, x, KEY))
    posterior = np.asarray(jax.jit(model.posterior)(params, x))
    path, best = (np.asarray(v) for v in jax.jit(model.most_probable)(params, x))
    for n in range(len(x)):
        every, joint = paths(model, params, x[n], exists[n])
        assert log_p[n] == pytest.approx(np.log(joint.sum()), abs=1e-4)
        assert (path[n][~exists[n]] == -1).all()
        assert best[n] == pytest.approx(np.log(joint.max()), abs=1e-4)
        np.testing.assert_array_equal(path[n][exists[n]], every[joint.argmax()])
        for i, t in enumerate(np.flatnonzero(exists[n])):
            expected = np.array([joint[every[:, i] == k].sum() for k in range(K)]) / joint.sum()
            np.testing.assert_allclose(posterior[n, t], expected, atol=1e-5)
    assert log_p[3] == 0


@models
def test_em_never_lowers_the_likelihood(model: HMM, x: np.ndarray) -> None:
    """Over four starts, with next to no smoothing, which would move the maximum."""
    emission, tiny = model.emission, {'smoothing': 1e-5}
    if isinstance(emission, MixtureEmission):
        inner = {} if isinstance(emission.base, GaussianEmission) else tiny
        emission = type(emission)(base=type(emission.base)(**inner), components=2, smoothing=1e-5)
    elif isinstance(emission, CategoricalEmission):
        emission = CategoricalEmission(levels=4, smoothing=1e-5)
    else:
        emission = type(emission)(**({} if isinstance(emission, GaussianEmission) else tiny))
    quiet = HMM(states=K, emission=emission, smoothing=1e-5, context=0)
    more = np.concatenate([x, x[::-1], np.roll(x, 1, axis=0)])
    more[-3:] = more[0]
    for seed in range(4):
        fitted, levels = iterate(quiet, start(quiet, more, seed), more, 12)
        assert (np.diff(levels) > -3e-3).all()
        assert levels[-1] > levels[0] + 0.1
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted))


def test_statistics_add_up_over_batches() -> None:
    for model, x in MODELS.values():
        params, count = start(model, x), jax.jit(lambda p, x, m=model: m.statistics(p, x)[0])
        halves = jax.tree.map(jnp.add, count(params, x[:3]), count(params, x[3:]))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), halves, count(params, x))


OBSERVED = np.array([[True, False], [False, False], [True, True], [False, True]])


def test_marginals_are_sums_over_all_completions() -> None:
    """Bits observed in part, a step of which nothing is, and what stands there ignored."""
    model, x = MODELS['bernoulli'][0], BITS[[0, 5]]
    params = start(model, BITS)
    missing = np.argwhere(~OBSERVED)
    every = np.array(list(itertools.product((0, 1), repeat=len(missing))), np.float32)
    whole = np.repeat(x, len(every), axis=0)
    for n in range(len(x)):
        for i, values in enumerate(every):
            whole[n * len(every) + i][tuple(missing.T)] = values
    total = special.logsumexp(np.asarray(model.log_prob(params, whole, KEY)).reshape(2, -1), axis=1)
    marginal = jax.jit(model.log_marginal)
    np.testing.assert_allclose(marginal(params, x, OBSERVED), total, rtol=1e-5)
    np.testing.assert_allclose(marginal(params, np.where(OBSERVED, x, -1), OBSERVED), total, rtol=1e-5)
    np.testing.assert_allclose(marginal(params, x, np.ones_like(OBSERVED)), model.log_prob(params, x, KEY), rtol=1e-5)
    np.testing.assert_allclose(marginal(params, x, np.zeros_like(OBSERVED)), 0, atol=1e-5)


@pytest.mark.parametrize('name', ['bernoulli', 'mixture'])
def test_conditionals_are_drawn_as_all_completions_weigh(name: str) -> None:
    """20000 completions of five missing bits against their 32 exact probabilities, within four standard errors."""
    model, n = MODELS[name][0], 20_000
    params, x = start(model, BITS), BITS[:1]
    missing = np.argwhere(~OBSERVED)
    every = np.array(list(itertools.product((0, 1), repeat=len(missing))), np.float32)
    whole = np.repeat(x, len(every), axis=0)
    whole[:, missing[:, 0], missing[:, 1]] = every
    p = special.softmax(np.asarray(model.log_prob(params, whole, KEY), np.float64))
    drawn = np.asarray(jax.jit(model.conditional)(params, np.repeat(x, n, axis=0), OBSERVED, KEY))
    assert (drawn[:, OBSERVED] == x[:, OBSERVED]).all()
    bits = drawn[:, missing[:, 0], missing[:, 1]].astype(int)
    found = np.bincount(bits @ (1 << np.arange(len(missing)))[::-1], minlength=len(every)) / n
    assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-6).all()


def test_conditionals_of_reals_have_the_exact_mean() -> None:
    """E[x_2 | x_1, x_3, x_4], from the posterior given the rest."""
    model, n = MODELS['gaussian'][0], 20_000
    params, observed = start(model, REALS), np.ones((TIME, 2), bool)
    observed[1] = False
    x = np.where(observed, REALS[:1], 0.0).astype(np.float32)
    drawn = np.asarray(jax.jit(model.conditional)(params, np.repeat(x, n, axis=0), observed, KEY))[:, 1]
    e = np.array([[shows(model.emission, params['emission'], row, k) for k in range(K)] for row in x[0]])
    e[1] = 1
    pi, a = np.asarray(jax.nn.softmax(params['initial'])), np.asarray(jax.nn.softmax(params['transition'], axis=1))
    p = np.zeros(K)
    for z in itertools.product(range(K), repeat=TIME):
        p[z[1]] += pi[z[0]] * e[0, z[0]] * np.prod([a[z[t - 1], z[t]] * e[t, z[t]] for t in range(1, TIME)])
    mean = (p / p.sum()) @ np.asarray(params['emission']['means'])
    assert (np.abs(drawn.mean(axis=0) - mean) < 4 * drawn.std(axis=0) / np.sqrt(n)).all()


def test_what_is_not_there_stays_so_when_the_rest_is_drawn() -> None:
    model, observed = MODELS['bernoulli'][0], np.ones((TIME, 2), bool)
    observed[0, 0] = False
    drawn = np.asarray(model.conditional(start(model, BITS), BITS, observed, KEY))
    np.testing.assert_array_equal(drawn[1, 2:], -1)
    np.testing.assert_array_equal(drawn[:, observed], BITS[:, observed])
    assert set(np.unique(drawn[[0, 1, 2, 4, 5], 0, 0])) <= {0.0, 1.0}


def test_a_windows_context_is_given() -> None:
    """log p(window | context) = log p(context and window) - log p(context)."""
    whole = HMM(states=K, emission=CategoricalEmission(levels=4), context=0)
    given = HMM(states=K, emission=CategoricalEmission(levels=4), context=2)
    params, x = start(whole, SYMBOLS), RNG.integers(0, 4, (5, 6)).astype(np.int32)
    expected = whole.log_prob(params, x, KEY) - whole.log_prob(params, x[:, :2], KEY)
    np.testing.assert_allclose(given.log_prob(params, x, KEY), expected, rtol=1e-4)
    begun = np.concatenate([np.full((5, 2), -1, np.int32), x[:, 2:]], axis=1)  # a text's beginning has none
    np.testing.assert_allclose(given.log_prob(params, begun, KEY), whole.log_prob(params, x[:, 2:], KEY), rtol=1e-4)


@pytest.mark.parametrize('states', [1, 9])
def test_a_state_never_visited_and_a_symbol_never_seen_are_defined(states: int) -> None:
    """Nine states for two symbols of three: the third has a probability, and nothing becomes NaN."""
    model = HMM(states=states, emission=CategoricalEmission(levels=3), context=0)
    x = np.array([[0, 1, 0, 1, 0], [0, 1, 0, -1, -1]], np.int32)
    fitted, levels = iterate(model, jax.jit(model.init)(KEY, jnp.asarray(x)), x, 10)
    assert np.isfinite(levels).all()
    assert np.isfinite(model.log_prob(fitted, np.array([[2, 2, 2]], np.int32), KEY)).all()
    statistics = {'first': jnp.zeros(states), 'moves': jnp.zeros((states, states))}
    shown = {'counts': jnp.zeros((states, 3)).at[0].set(jnp.array([6.0, 3.0, 0.0]))}
    solved = model.solve(fitted, statistics | {'emission': shown})
    np.testing.assert_allclose(jax.nn.softmax(solved['transition'], axis=1), 1 / states, rtol=1e-5)
    average = np.array([6.5, 3.5, 0.5]) / 10.5
    if states > 1:
        np.testing.assert_allclose(np.exp(solved['emission']['log_p'][1]), average, rtol=1e-5)


def test_bits_that_are_constant_in_training_are_defined() -> None:
    model, x = HMM(states=4, context=0), np.zeros((3, 5, 2), np.float32)
    x[..., 1] = 1
    fitted, levels = iterate(model, jax.jit(model.init)(KEY, jnp.asarray(x)), x, 8)
    assert np.isfinite(levels).all()
    assert np.isfinite(model.log_prob(fitted, 1 - x, KEY)).all()


@pytest.mark.parametrize('kind', ['categorical', 'gaussian'])
def test_ten_iterations_of_baum_welch_are_hmmlearns(kind: str) -> None:
    """Log-likelihood and parameters from one start, without smoothing, sequences of different lengths."""
    reference = pytest.importorskip('hmmlearn.hmm')
    rng, lengths = np.random.default_rng(1), [30, 17, 1, 40]
    pi, a = rng.dirichlet(np.ones(K)), rng.dirichlet(np.ones(K), K)
    if kind == 'categorical':
        rows: np.ndarray = rng.integers(0, 5, (sum(lengths), 1))
        b = rng.dirichlet(np.ones(5), K)
        peer = reference.CategoricalHMM(K, n_iter=10, tol=-np.inf, init_params='', algorithm='viterbi')
        peer.emissionprob_, emission = b, {'log_p': np.log(b)}
        model = HMM(states=K, emission=CategoricalEmission(levels=5, smoothing=1e-6), smoothing=1e-6, context=0)
        x = np.full((4, 40), -1, np.int32)
    else:
        rows = rng.normal(size=(sum(lengths), 2)) + rng.integers(0, 3, (sum(lengths), 1))
        means, variances = rng.normal(size=(K, 2)), np.ones((K, 2))
        peer = reference.GaussianHMM(K, 'diag', n_iter=10, tol=-np.inf, init_params='', covars_prior=0, min_covar=0)
        peer.means_, peer.covars_, emission = means, variances, {'means': means, 'log_variances': np.log(variances)}
        model = HMM(states=K, emission=GaussianEmission(variance_floor=1e-8), smoothing=1e-6, context=0)
        x = np.full((4, 40, 2), np.nan, np.float32)
    peer.startprob_, peer.transmat_ = pi, a
    for n, piece in enumerate(np.split(rows, np.cumsum(lengths)[:-1])):
        x[n, : len(piece)] = piece.reshape(len(piece), *x.shape[2:])
    begun: Any = {'initial': np.log(pi), 'transition': np.log(a), 'emission': emission}
    begun = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), begun)
    peer.fit(rows, lengths)
    fitted, levels = iterate(model, begun, x, 10)
    assert 4 * levels[-2] == pytest.approx(peer.monitor_.history[-1], rel=1e-4)
    assert 4 * levels[-1] == pytest.approx(peer.score(rows, lengths), rel=1e-4)
    np.testing.assert_allclose(jax.nn.softmax(fitted['transition'], axis=1), peer.transmat_, atol=2e-3)
    best, path = peer.decode(rows[:30])
    ours, score = model.most_probable(fitted, x[:1])
    np.testing.assert_array_equal(ours[0, :30], path)
    assert float(score[0]) == pytest.approx(best, rel=1e-4)


def test_samples_have_the_moments_of_the_chain() -> None:
    """P(x_t = 1) = pi a^(t-1) p at each step, within four standard errors of 20000 sequences."""
    model, n = MODELS['bernoulli'][0], 20_000
    params = start(model, BITS)
    x = np.asarray(jax.jit(lambda p: model.sample(p, KEY, n, (3, 2)))(params))
    state = np.asarray(jax.nn.softmax(params['initial']))
    for t in range(3):
        p = state @ special.expit(np.asarray(params['emission']['outputs']))
        assert (np.abs(x[:, t].mean(axis=0) - p) < 4 * np.sqrt(p * (1 - p) / n)).all()
        state = state @ np.asarray(jax.nn.softmax(params['transition'], axis=1))


def test_what_it_cannot_take_is_said() -> None:
    text = Domain(kind='tokens', shape=(8,), values=5, context=2, unit='character')
    assert HMM(emission=CategoricalEmission(levels=5)).fits(text) is None
    assert 'tokens' in str(HMM().fits(text))
    assert 'data.pieces=true' in str(HMM().fits(Domain(kind='binary', shape=(88,), unit='time step')))
    pairs = Domain(kind='integer', shape=(8, 2), values=5)
    assert 'one symbol' in str(HMM(emission=CategoricalEmission(levels=5)).fits(pairs))


def test_one_state_on_the_chorales_is_the_independent_model(likeness_dir: str) -> None:
    """11.0602 nats a time step, pooled over all 4725 (smoothing 1 with the keys' own frequencies moves the sixth digit)."""
    data = Music(pieces=True).load(likeness_dir)
    assert data.train.x.shape == (229, 160, 88)
    model = HMM(states=1, context=0)
    x = jnp.asarray(data.train.x, jnp.int32)
    start = jax.jit(model.init)(KEY, x)
    fitted = jax.jit(lambda start, x: model.solve(start, model.statistics(start, x)[0]))(start, x)
    nats = -np.asarray(jax.jit(model.log_prob)(fitted, jnp.asarray(data.test.x), KEY), np.float64)
    assert nats.sum() / 4725 == pytest.approx(11.0602, abs=1e-3)
