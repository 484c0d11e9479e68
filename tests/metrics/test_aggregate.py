"""The aggregate posterior against closed forms: x ~ N(0, I), z = A x + noise is normal, and so is every part of it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.maths.bounds import gaussian_kl
from research.metrics import aggregate

KEY = jax.random.key(0)
A = np.array([[1.2, 0.9], [-0.5, 0.8]])
VARIANCES = np.array([0.3, 0.5])  # of q(z | x)
COV = A @ A.T + np.diag(VARIANCES)  # of q(z)
INFORMATION = 0.5 * (np.linalg.slogdet(COV)[1] - np.log(VARIANCES).sum())
CORRELATION = 0.5 * (np.log(np.diag(COV)).sum() - np.linalg.slogdet(COV)[1])
DIMENSIONS = 0.5 * (np.diag(COV) - 1 - np.log(np.diag(COV)))


def codes(n: int, seed: int = 0) -> tuple[jax.Array, jax.Array]:
    x = np.random.default_rng(seed).normal(size=(n, 2))
    return jnp.asarray((x @ A.T).astype(np.float32)), jnp.tile(jnp.log(jnp.asarray(VARIANCES, jnp.float32)), (n, 1))


def test_the_density_is_the_mixture_of_all_codes() -> None:
    mean, log_var = codes(20)
    z = mean + 0.3
    joint, alone = jax.jit(lambda z: aggregate.log_aggregate(z, mean, log_var, aggregate.mixture(20)))(z)
    scale = np.sqrt(VARIANCES)
    each = stats.norm.pdf(np.asarray(z)[:, None], np.asarray(mean)[None], scale)  # [z, x, latent]
    np.testing.assert_allclose(joint, np.log(each.prod(axis=2).mean(axis=1)), rtol=1e-4)
    np.testing.assert_allclose(alone, np.log(each.mean(axis=1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('weights', [aggregate.mixture(3000), aggregate.left_out(3000)], ids=['mixture', 'left out'])
def test_all_terms_reach_their_closed_forms(weights: aggregate.Weights) -> None:
    mean, log_var = codes(3000)
    found = jax.jit(lambda key: aggregate.split(mean, log_var, key, weights))(KEY)
    for values, closed in (
        (found.mutual_information, INFORMATION),
        (found.total_correlation, CORRELATION),
        (found.dimension_wise_kl[:, 0], DIMENSIONS[0]),
        (found.dimension_wise_kl[:, 1], DIMENSIONS[1]),
    ):
        each = np.asarray(values, np.float64)
        assert abs(each.mean() - closed) < 4 * each.std() / np.sqrt(3000) + 0.01


def test_the_terms_add_up_to_the_rate() -> None:
    """At each draw to log q(z | x) - log p(z), whatever the weights; on average to the closed KL divergence."""
    mean, log_var = codes(500)
    every = (aggregate.mixture(500), aggregate.left_out(500), aggregate.weighted(500, 9000))
    sums = []
    for weights in every:
        found = jax.jit(lambda key, weights=weights: aggregate.split(mean, log_var, key, weights))(KEY)
        sums.append(found.mutual_information + found.total_correlation + found.dimension_wise_kl.sum(axis=1))
    for other in sums[1:]:
        np.testing.assert_allclose(other, sums[0], atol=1e-3)
    off = np.asarray(sums[0] - gaussian_kl(mean, log_var), np.float64)
    assert abs(off.mean()) < 4 * off.std() / np.sqrt(500)


def test_the_biases_are_on_the_sides_that_are_named() -> None:
    """Sets of 8: the mixture's information is too low, without its own too high, weighted sampling's too high by more."""
    n, population, sets = 8, 3000, 300

    @jax.jit
    def information(mean: jax.Array, log_var: jax.Array, key: jax.Array) -> jax.Array:
        every = (
            aggregate.mixture(n),
            aggregate.left_out(n),
            aggregate.weighted(n, population),
            aggregate.stratified(n, population),
        )
        return jnp.stack([aggregate.split(mean, log_var, key, w).mutual_information.mean() for w in every])

    found = np.stack([information(*codes(n, seed), jax.random.fold_in(KEY, seed)) for seed in range(sets)])
    mean, error = found.mean(axis=0), 4 * found.std(axis=0) / np.sqrt(sets)
    mixture, left_out, weighted, stratified = mean
    assert mixture < INFORMATION - error[0] and (found[:, 0] < np.log(n) + 0.5).all()
    assert left_out > INFORMATION + error[1]
    assert weighted == pytest.approx(mixture + np.log(population), rel=1e-4)
    assert INFORMATION < stratified < weighted and stratified == pytest.approx(left_out, abs=0.5)


def test_information_never_exceeds_the_logarithm_of_the_set() -> None:
    """Codes far apart tell exactly which example it was: log n; without the own term nothing bounds it."""
    mean, log_var = 100.0 * jnp.arange(32.0)[:, None], jnp.zeros((32, 1))
    own = jax.jit(lambda key: aggregate.split(mean, log_var, key, aggregate.mixture(32)))(KEY)
    np.testing.assert_allclose(own.mutual_information, np.log(32), rtol=1e-3)
    other = jax.jit(lambda key: aggregate.split(mean, log_var, key, aggregate.left_out(32)))(KEY)
    assert float(other.mutual_information.min()) > 1000


def test_stratified_sampling_is_unbiased_for_the_density() -> None:
    """Over random subsets that hold the own example; of the whole set it is the mixture."""
    population, n, draws = 40, 6, 4000
    mean, log_var = codes(population)
    z = mean + 0.2
    whole = np.exp(aggregate.log_aggregate(z, mean, log_var, aggregate.mixture(population))[0][0])
    weights = aggregate.stratified(n, population)

    @jax.jit
    @jax.vmap
    def density(key: jax.Array) -> jax.Array:
        others = 1 + jax.random.choice(key, population - 1, (n - 1,), replace=False)
        rows = jnp.concatenate([jnp.zeros(1, jnp.int32), others])
        return jnp.exp(aggregate.log_aggregate(z[rows], mean[rows], log_var[rows], weights)[0][0])

    found = np.asarray(density(jax.random.split(KEY, draws)), np.float64)
    assert abs(found.mean() - whole) < 4 * found.std() / np.sqrt(draws)
    assert aggregate.stratified(n, n) == pytest.approx(aggregate.mixture(n))


def test_active_units_vary_with_the_data() -> None:
    rng = np.random.default_rng(0)
    mean = jnp.asarray(rng.normal(size=(2000, 4)) * np.sqrt([1.0, 0.02, 0.005, 0.0]) + 7, jnp.float32)
    np.testing.assert_allclose(aggregate.activity(mean), [1.0, 0.02, 0.005, 0.0], rtol=0.1, atol=1e-6)
    assert aggregate.active_units(mean) == 2
