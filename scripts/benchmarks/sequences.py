"""Baum-Welch beside hmmlearn and dynamax, and the best tree over 1556 variables: same start, same iterations, same likelihood."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.data import Binary
from research.maths.emissions import CategoricalEmission, Emission, GaussianEmission
from research.models.chow_liu import ChowLiu
from research.models.hmm import HMM
from research.types import BadInput
from scripts.benchmarks.contest import Contest, Measure
from scripts.benchmarks.density import em, timed

KEY = jax.random.key(0)
STATES, SEQUENCES, LENGTH, ITERATIONS, LEVELS, DIMS = 64, 200, 100, 5, 32, 4
SAME = 1e-4  # relative, between the log-likelihoods that the contenders end with
TINY = 1e-6  # smoothing and floor: next to none, as the peers have none


def start(kind: str, rows: np.ndarray, states: int) -> dict[str, np.ndarray]:
    """First states, transitions and what each state shows, at random."""
    rng = np.random.default_rng(1)
    begun = {'initial': rng.dirichlet(np.ones(states)), 'transition': rng.dirichlet(np.ones(states), states)}
    if kind == 'categorical':
        return begun | {'shown': rng.dirichlet(np.ones(LEVELS), states)}
    means = rows[rng.choice(len(rows), states, replace=False)].astype(np.float64)
    return begun | {'means': means, 'variances': np.ones((states, DIMS))}


def data(kind: str, sequences: int, length: int) -> np.ndarray:
    """Of a chain that stays where it is nine times in ten: symbols [sequences, length], or reals [sequences, length, DIMS]."""
    rng = np.random.default_rng(0)
    moved = rng.random((sequences, length)) < 0.1
    z = np.maximum.accumulate(np.where(moved, np.arange(length), 0), axis=1)
    z = np.take_along_axis(rng.integers(0, 8, (sequences, length)), z, axis=1)
    if kind == 'categorical':
        return ((4 * z + rng.geometric(0.3, z.shape)) % LEVELS).astype(np.int32)
    means = 2 * rng.normal(size=(8, DIMS))
    return (means[z] + rng.normal(size=(*z.shape, DIMS))).astype(np.float32)


def ours(kind: str, x: np.ndarray, begun: dict[str, np.ndarray]) -> tuple[Callable[[], Any], Callable[[], float]]:
    """The fit, and the log-likelihood of all of x it ends with."""
    categorical = CategoricalEmission(levels=LEVELS, smoothing=TINY)
    emission: Emission = categorical if kind == 'categorical' else GaussianEmission(variance_floor=TINY)
    model = HMM(states=len(begun['initial']), emission=emission, smoothing=TINY, context=0)
    logs = {k: jnp.asarray(np.log(v), jnp.float32) for k, v in begun.items() if k != 'means'}
    shown = {'log_p': logs.pop('shown')} if kind == 'categorical' else {
        'means': jnp.asarray(begun['means'], jnp.float32), 'log_variances': logs.pop('variances'),
    }  # fmt: skip
    fit = em(model, logs | {'emission': shown}, x, ITERATIONS)
    score = jax.jit(lambda params, x: model.log_prob(params, x, KEY).sum())
    return fit, lambda: float(score(fit(), x))


def hmmlearn(kind: str, x: np.ndarray, begun: dict[str, np.ndarray]) -> tuple[Callable[[], Any], Callable[[], float]]:
    from hmmlearn import hmm

    logging.getLogger('hmmlearn').setLevel(logging.ERROR)  # it did not converge: so many iterations were asked for
    rows, lengths = x.reshape(x.shape[0] * x.shape[1], -1), [x.shape[1]] * len(x)

    def fit() -> Any:
        common: dict[str, Any] = {'n_iter': ITERATIONS, 'tol': -np.inf, 'init_params': '', 'implementation': 'scaling'}
        k = len(begun['initial'])
        if kind == 'categorical':
            peer = hmm.CategoricalHMM(k, **common)
            peer.emissionprob_, peer.n_features = begun['shown'].copy(), LEVELS
        else:
            peer = hmm.GaussianHMM(k, 'diag', covars_prior=0, min_covar=0, **common)
            peer.means_, peer.covars_ = begun['means'].copy(), begun['variances'].copy()
        peer.startprob_, peer.transmat_ = begun['initial'].copy(), begun['transition'].copy()
        return peer.fit(rows, lengths)

    return fit, lambda: float(fit().score(rows, lengths))


def dynamax(kind: str, x: np.ndarray, begun: dict[str, np.ndarray]) -> tuple[Callable[[], Any], Callable[[], float]]:
    from dynamax.hidden_markov_model import CategoricalHMM, DiagonalGaussianHMM

    k = len(begun['initial'])
    own = {name: jnp.asarray(v, jnp.float32) for name, v in begun.items()}
    chain: dict[str, Any] = {'initial_probs': own['initial'], 'transition_matrix': own['transition']}
    flat = {'initial_probs_concentration': 1.0 + TINY, 'transition_matrix_concentration': 1.0 + TINY}
    if kind == 'categorical':
        peer: Any = CategoricalHMM(k, 1, LEVELS, emission_prior_concentration=1.0 + TINY, **flat)
        params, props = peer.initialize(KEY, emission_probs=own['shown'][:, None], **chain)
        batch = jnp.asarray(x[..., None])
    else:
        # concentration + 3 / 2 divides the scale: so the mode is the maximum of the likelihood
        loose = {
            'emission_prior_mean_concentration': TINY,
            'emission_prior_concentration': -1.5,
            'emission_prior_scale': TINY,
        }
        peer = DiagonalGaussianHMM(k, DIMS, **loose, **flat)
        scales = jnp.sqrt(own['variances'])
        params, props = peer.initialize(KEY, emission_means=own['means'], emission_scale_diags=scales, **chain)
        batch = jnp.asarray(x)

    @jax.jit
    def step(params: Any, state: Any) -> Any:  # that of its `fit_em`, which compiles it again at every call
        found, _ = jax.vmap(lambda row: peer.e_step(params, row))(batch)
        return peer.m_step(params, props, found, state)

    def fit() -> Any:
        now, state = params, peer.initialize_m_step_state(params, props)
        for _ in range(ITERATIONS):
            now, state = step(now, state)
        return now

    score = jax.jit(lambda params: jax.vmap(lambda row: peer.marginal_log_prob(params, row))(batch).sum())
    return fit, lambda: float(score(fit()))


def baum_welch(kind: str, states: int = STATES, sequences: int = SEQUENCES, length: int = LENGTH) -> Contest:
    x = data(kind, sequences, length)
    begun = start(kind, x.reshape(sequences * length, -1), states)
    contenders: dict[str, Measure] = {}
    want, notes, levels = {}, [], {}
    for name, make, ratio in (('ours', ours, None), ('hmmlearn', hmmlearn, 3.0), ('dynamax', dynamax, 1.5)):
        try:
            fit, level = make(kind, x, begun)
        except ImportError:
            notes.append(f'{name}, which is not installed')
            continue
        levels[name] = level()
        if abs(levels[name] - levels['ours']) > SAME * abs(levels['ours']):
            notes.append(f'{name}, which ends at {levels[name]:.1f} nats and ours at {levels["ours"]:.1f}')
            continue
        contenders[name] = timed(fit)
        if ratio is not None:
            want[name] = ratio
    return Contest(
        name=f'Baum-Welch, {kind}, {states} states, {sequences} sequences of {length}, to {levels["ours"]:.0f} nats',
        unit=f'fit of {ITERATIONS} EM iterations',
        contenders=contenders,
        want=want,
        notes=tuple(notes),
    )


def binary(rows: int = 2461, variables: int = 1556) -> tuple[np.ndarray, str]:
    """`ad`, or bits that hang together where it is absent or another shape is asked for."""
    try:
        if (rows, variables) != (2461, 1556):
            raise BadInput('another shape')
        return np.asarray(Binary(name='ad').load().train.x, np.float32), 'ad'
    except BadInput:
        rng = np.random.default_rng(0)
        rare, groups = rng.random(variables) * 0.1, rng.random((rows, 40)) < 0.05
        mixed = groups[:, rng.integers(0, 40, variables)] & (rng.random((rows, variables)) < 0.7)
        return (mixed | (rng.random((rows, variables)) < rare)).astype(np.float32), 'random bits'


def tree(rows: int = 2461, variables: int = 1556) -> str:
    """Counting and the tree, compiled on the way without any cache of compilations, and again. Seconds of this process's own
    work stand beside those that passed: a busy machine makes only the latter longer."""
    (x, what), model = binary(rows, variables), ChowLiu(alpha=0.1)
    settings: Any = jax.config  # whose fields mypy does not know
    cached = settings.jax_enable_compilation_cache
    settings.update('jax_enable_compilation_cache', False)
    try:
        fit = jax.jit(lambda x: model.solve({}, model.statistics({}, x)[0]))
        seconds = []
        for _ in range(4):
            began, worked = time.perf_counter(), time.process_time()
            jax.block_until_ready(fit(x))
            seconds.append((time.perf_counter() - began, time.process_time() - worked))
    finally:
        settings.update('jax_enable_compilation_cache', cached)
    first, again = seconds[0], sorted(seconds[1:])[1]
    verdict = 'yes' if first[0] <= 2 else 'NO'
    return '\n'.join(
        (
            f'Chow-Liu tree, {len(x)} x {x.shape[1]}, {what}',
            f'  with compilation  {first[0]:5.2f} s ({first[1]:.2f} of processors)  wanted at most 2: {verdict}',
            f'  again             {again[0]:5.2f} s ({again[1]:.2f} of processors)',
        )
    )


def contests() -> list[Contest]:
    return [baum_welch('categorical'), baum_welch('gaussian')]
