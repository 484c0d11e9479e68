"""The null experiment: two cells of one model, other seeds, really trained. Nothing differs, so 5 % may be rejected.

400 cells of 4 fits: a mixture of Gaussians by EM, whose seed decides which examples the means start from, and so which
local optimum it ends in. That is the variance which a bootstrap over test examples does not see.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.maths import statistics
from research.models.mixture import GaussianMixture
from research.trainers.em import EMTrainer

PAIRS, SEEDS, TRAIN, TEST, EPOCHS = 200, 4, 150, 300, 12


def points(rng: np.random.Generator, count: int) -> np.ndarray:
    """[count, 2] float32: a noisy spiral, which four Gaussians cannot fit in one way only."""
    angle = 3 * np.pi * rng.random(count)
    curve = (0.2 + angle[:, None] / 6) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (curve + 0.1 * rng.standard_normal((count, 2))).astype(np.float32)


@functools.cache
def fits() -> np.ndarray:
    """Test nats [pairs, 2, seeds, n] of 1600 fits."""
    rng = np.random.default_rng(0)
    train, test = jnp.asarray(points(rng, TRAIN)), jnp.asarray(points(rng, TEST))
    trainer = EMTrainer(model=GaussianMixture(components=4))

    def fit(seed: jax.Array) -> jax.Array:
        key = jax.random.key(seed)
        state = trainer.init(key, train)

        def epoch(_: int, state: object) -> object:
            return trainer.end_epoch(trainer.step(state, train, key)[0])[0]  # type: ignore[arg-type]

        state = jax.lax.fori_loop(0, EPOCHS, epoch, state)
        return -trainer.model.log_prob(trainer.params(state), test, key)  # type: ignore[attr-defined]

    nats = jax.jit(lambda seeds: jax.lax.map(fit, seeds, batch_size=100))(jnp.arange(PAIRS * 2 * SEEDS))
    return np.asarray(nats, np.float64).reshape(PAIRS, 2, SEEDS, TEST)


def rejected(p_values: list[float | None]) -> float:
    return float(np.mean([p is not None and p < 0.05 for p in p_values]))


def test_the_fits_differ() -> None:
    """Else the experiment would be empty: seeds move the score by more than a hundredth of a nat."""
    means = fits().mean(axis=-1)
    assert np.isfinite(means).all()
    assert 0.01 < means.std() < 1


def test_one_pair_in_twenty_is_rejected_where_nothing_differs() -> None:
    assert 0.02 <= rejected([statistics.difference(a, b).p for a, b in fits()]) <= 0.08


@pytest.mark.parametrize('seeds', [2, 3])
def test_with_fewer_seeds_no_more_are(seeds: int) -> None:
    assert rejected([statistics.difference(a[:seeds], b[:seeds]).p for a, b in fits()]) <= 0.08


def test_the_permutation_of_seeds_is_as_honest() -> None:
    """With 4 and 4 seeds its p has steps of 2 / 70, so 0.029 is all of the 0.05 that it can use."""
    rate = rejected([statistics.permutation(a, b).p for a, b in fits().mean(axis=-1)])
    assert rate <= 0.08


def test_a_bootstrap_over_examples_alone_would_not_be() -> None:
    """With one fit each there is nothing else, and 45 % of all pairs are told apart: as fits, which is what it says."""
    plain = [statistics.difference(a[:1], b[:1]) for a, b in fits()[:60]]
    assert rejected([one.p for one in plain]) > 0.2
    assert {one.test for one in plain} == {statistics.TWO_FITS}
