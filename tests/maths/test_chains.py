"""The algebra of hidden chains against the enumeration of all paths; both orders of computing it agree."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from research.maths import chains
from research.maths.chains import Chain

K, TIME = 3, 5
RNG = np.random.default_rng(0)
CHAIN = Chain(
    jnp.asarray(np.log(RNG.dirichlet(np.ones(K))), jnp.float32),
    jnp.asarray(np.log(RNG.dirichlet(np.ones(K), K)), jnp.float32),
)
LOG_E = RNG.normal(size=(TIME, 4, K)).astype(np.float32) * 2
EXISTS = np.ones((TIME, 4), bool)
EXISTS[3:, 1] = False  # a sequence of three steps
EXISTS[:2, 2] = False  # and one that begins late
EXISTS[:, 3] = False  # nothing at all

FORMS = pytest.mark.parametrize(
    ('forward', 'backward'),
    [(chains.forward, chains.backward), (chains.forward_parallel, chains.backward_parallel)],
    ids=['scan', 'parallel'],
)


class Paths:
    """All paths of one sequence with their joint log-probabilities in float64."""

    def __init__(self, log_e: np.ndarray) -> None:
        pi, a = np.asarray(CHAIN.initial, np.float64), np.asarray(CHAIN.transition, np.float64)
        self.paths = np.array(list(itertools.product(range(K), repeat=len(log_e))), dtype=int)
        self.log_joint = np.array(
            [
                sum((pi[z[0]] if t == 0 else a[z[t - 1], z[t]]) + float(log_e[t, z[t]]) for t in range(len(z)))
                for z in self.paths
            ]
        )
        self.log_p = special.logsumexp(self.log_joint)
        self.p = np.exp(self.log_joint - self.log_p)

    def posterior(self, t: int) -> np.ndarray:
        return np.array([self.p[self.paths[:, t] == k].sum() for k in range(K)])

    def moves(self) -> np.ndarray:
        total = np.zeros((K, K))
        for z, p in zip(self.paths, self.p, strict=True):
            np.add.at(total, (z[:-1], z[1:]), p)
        return total


ORACLES = [Paths(LOG_E[EXISTS[:, n], n]) for n in range(3)]


@FORMS
def test_every_path_enumerated(forward: Any, backward: Any) -> None:
    """Evidence, posteriors and expected transitions of sequences of 5, 3, 3 and 0 steps."""
    alpha, gains = jax.jit(forward)(CHAIN, LOG_E, EXISTS)
    np.testing.assert_allclose(gains.sum(axis=0), [*(o.log_p for o in ORACLES), 0], rtol=1e-5, atol=1e-5)
    posterior, moves = chains.expected(CHAIN, alpha, jax.jit(backward)(CHAIN, LOG_E, EXISTS), EXISTS)
    for n in range(3):
        steps = np.flatnonzero(EXISTS[:, n])
        for i, t in enumerate(steps):
            np.testing.assert_allclose(posterior[t, n], ORACLES[n].posterior(i), rtol=1e-4, atol=1e-6)
    assert not np.asarray(posterior)[~EXISTS].any()
    np.testing.assert_allclose(moves, sum(o.moves() for o in ORACLES), rtol=1e-4)


def test_viterbi_finds_the_best_of_all_paths() -> None:
    path, best = jax.jit(chains.most_probable)(CHAIN, LOG_E, EXISTS)
    for n in range(3):
        first = ORACLES[n].log_joint.argmax()
        np.testing.assert_array_equal(np.asarray(path)[EXISTS[:, n], n], ORACLES[n].paths[first])
        assert float(best[n]) == pytest.approx(ORACLES[n].log_joint[first], rel=1e-5)
    assert (np.asarray(path)[~EXISTS] == -1).all()
    assert float(best[3]) == 0


def test_paths_are_drawn_from_their_posterior() -> None:
    """20000 draws of a whole path, each of the 27 within four standard errors."""
    n, log_e = 20_000, np.repeat(LOG_E[:3, 1:2], 20_000, axis=1)
    exists = np.ones((3, n), bool)
    alpha, _ = jax.jit(chains.forward)(CHAIN, log_e, exists)
    drawn = np.asarray(jax.jit(lambda alpha, key: chains.draw(CHAIN, alpha, exists, key))(alpha, jax.random.key(1)))
    found = np.bincount(np.array([9, 3, 1]) @ drawn, minlength=27) / n
    p = ORACLES[1].p
    assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-6).all()


@FORMS
def test_long_sequences_and_sharp_emissions_stay_finite(forward: Any, backward: Any) -> None:
    """Emissions that differ by 300 nats, against a recursion in float64 logarithms."""
    log_e = (RNG.normal(size=(200, 1, K)) * 300 - 1000).astype(np.float32)
    exists = np.ones((200, 1), bool)
    a = np.asarray(CHAIN.transition, np.float64)
    level = np.asarray(CHAIN.initial, np.float64) + log_e[0, 0]
    for t in range(1, 200):
        level = special.logsumexp(level[:, None] + a, axis=0) + log_e[t, 0]
    alpha, gains = jax.jit(forward)(CHAIN, log_e, exists)
    assert float(gains.sum()) == pytest.approx(special.logsumexp(level), rel=1e-6)
    posterior, moves = chains.expected(CHAIN, alpha, jax.jit(backward)(CHAIN, log_e, exists), exists)
    np.testing.assert_allclose(posterior.sum(axis=2), 1, rtol=1e-5)
    assert float(moves.sum()) == pytest.approx(199, rel=1e-5)


def test_the_gradient_of_the_evidence_is_the_posterior() -> None:
    """d log p(x) / d e_t(k) = p(z_t = k | x): autodiff through the scan against eq. 4."""
    gradient = jax.jit(jax.grad(lambda e: chains.forward(CHAIN, e, EXISTS)[1].sum()))(jnp.asarray(LOG_E))
    alpha, _ = chains.forward(CHAIN, LOG_E, EXISTS)
    posterior, _ = chains.expected(CHAIN, alpha, chains.backward(CHAIN, LOG_E, EXISTS), EXISTS)
    np.testing.assert_allclose(gradient, posterior, atol=1e-5)


def test_a_walk_visits_states_as_the_chain_says() -> None:
    n = 20_000
    states = np.asarray(jax.jit(lambda key: chains.walk(CHAIN, key, n, 3))(jax.random.key(2)))
    p = np.exp(np.asarray(CHAIN.initial, np.float64))
    for t in range(3):
        found = np.bincount(states[:, t], minlength=K) / n
        assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / n)).all()
        p = p @ np.exp(np.asarray(CHAIN.transition, np.float64))
