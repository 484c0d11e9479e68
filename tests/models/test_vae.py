"""A VAE whose exact posterior is known scores exactly; its loss is the paper's, term by term."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.latents.posteriors import FullCovariance
from research.maths.bounds import ELBO, ImportanceWeighted, gaussian_log_prob
from research.maths.likelihoods import Bernoulli, Categorical, DiscretisedLogistic, Gaussian
from research.maths.rates import FreeBits
from research.maths.regularisers import DIP, MMD, TotalCorrelation
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.types import Domain
from tests.models.completion import states

KEY = jax.random.key(0)
LINEAR = MLP(hidden=())
W, B, S = 1.5, 0.4, 0.8  # x = W z + B + S e


def linear(slope: list[float], bias: list[float]) -> dict[str, Any]:
    return {'params': {'Dense_0': {'kernel': jnp.array([slope]), 'bias': jnp.array(bias)}}}


def factor_analysis(wrong: float = 0.0) -> tuple[VAE, dict[str, Any]]:
    """One latent, one variable: the posterior is N(W (x - B) / (W^2 + S^2), S^2 / (W^2 + S^2)), its mean off by `wrong`."""
    total = W**2 + S**2
    params = {
        'encoder': linear([W / total, 0], [-W * B / total + wrong, float(np.log(S**2 / total))]),
        'decoder': linear([W], [B - 0.1]),
        'constants': {'offset': jnp.array([0.1])},
    }
    return VAE(encoder=LINEAR, decoder=LINEAR, likelihood=Gaussian(scale=S), latent=1), params


X = jnp.array([[-2.0], [0.3], [1.7]])
EXACT = stats.norm.logpdf(np.asarray(X[:, 0]), B, np.hypot(W, S))


@pytest.mark.parametrize('samples', [1, 7])
def test_with_the_exact_posterior_any_number_of_samples_scores_exactly(samples: int) -> None:
    """All importance weights are then p(x)."""
    model, params = factor_analysis()
    score = dataclasses.replace(model, score_samples=samples, score_chunk=3).log_prob
    np.testing.assert_allclose(jax.jit(score)(params, X, KEY), EXACT, rtol=1e-4)


def test_with_another_posterior_the_bound_is_below_and_closes() -> None:
    model, params = factor_analysis(wrong=0.3)

    def mean(samples: int, repeats: int) -> np.ndarray:
        score = dataclasses.replace(model, score_samples=samples, score_chunk=100).log_prob
        return np.asarray(jax.jit(jax.vmap(lambda key: score(params, X, key)))(jax.random.split(KEY, repeats))).mean(
            axis=0
        )

    elbo = EXACT - 0.3**2 / (2 * S**2 / (W**2 + S**2))  # the gap is KL(q || posterior)
    np.testing.assert_allclose(mean(1, 4000), elbo, atol=0.06)
    np.testing.assert_allclose(mean(2000, 10), EXACT, atol=0.02)


def test_the_mean_loss_is_minus_the_log_likelihood_at_the_exact_posterior() -> None:
    model, params = factor_analysis()
    losses = jax.jit(jax.vmap(lambda key: model.loss(params, X, key).loss))(jax.random.split(KEY, 4000))
    error = float(losses.std()) / np.sqrt(4000)
    assert abs(float(losses.mean()) + EXACT.mean()) < 4 * error


def losses(model: VAE, params: Any, repeats: int) -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(lambda key: model.loss(params, X, key).loss))(jax.random.split(KEY, repeats)))


def test_one_weight_is_the_elbo_in_expectation_and_groups_are_their_mean() -> None:
    model, params = factor_analysis(wrong=0.3)
    elbo = -(EXACT - 0.3**2 / (2 * S**2 / (W**2 + S**2))).mean()
    for objective in (ELBO(), ImportanceWeighted(samples=1), ImportanceWeighted(samples=1, groups=5)):
        sampled = losses(dataclasses.replace(model, objective=objective), params, 4000)
        assert abs(sampled.mean() - elbo) < 4 * sampled.std() / np.sqrt(4000)


def test_the_importance_weighted_loss_falls_with_k_to_the_exact_score() -> None:
    model, params = factor_analysis(wrong=0.3)
    means = [
        losses(dataclasses.replace(model, objective=ImportanceWeighted(samples=k)), params, n).mean()
        for k, n in ((1, 4000), (5, 4000), (50, 2000))
    ]
    assert means[0] > means[1] + 0.05 and means[1] > means[2] > -EXACT.mean() - 0.02
    assert means[2] == pytest.approx(-EXACT.mean(), abs=0.05)


def test_the_gradient_is_the_self_normalised_sum_over_draws() -> None:
    """Burda et al. 2016, eq. 13: the gradient of each log-weight by itself, weighed by hand (eq. 14)."""
    model, params = factor_analysis(wrong=0.3)
    k = 4
    noise = jax.random.normal(jax.random.fold_in(KEY, 0), (k, 3, 1))  # what `loss` draws from this key

    def log_weights(net: Any) -> jax.Array:
        variables = {**params, **net}
        mean, log_var = model.encode(variables, X)

        def one(noise: jax.Array) -> jax.Array:
            z = mean + jnp.exp(log_var / 2) * noise
            log_p = model.likelihood.log_prob(model.decode(variables, z, (1,)), X)
            return log_p + gaussian_log_prob(z) - gaussian_log_prob(z, mean, log_var)

        return jax.vmap(one)(noise)  # [k, batch]

    net = {name: params[name] for name in ('encoder', 'decoder')}
    each, w = jax.jit(lambda net: (jax.jacobian(log_weights)(net), jax.nn.softmax(log_weights(net), axis=0)))(net)
    expected = jax.tree.map(lambda g: -np.einsum('kb,kb...->...', w, g) / 3, each)
    whole = dataclasses.replace(model, objective=ImportanceWeighted(samples=k))
    got = jax.jit(jax.grad(lambda net: whole.loss({**params, **net}, X, KEY).loss))(net)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, expected)


def test_all_draws_are_one_pass_of_the_decoder() -> None:
    model, params = factor_analysis()
    model = dataclasses.replace(model, objective=ImportanceWeighted(samples=7, groups=3))
    shapes = str(jax.make_jaxpr(lambda key: model.loss(params, X, key).loss)(KEY))
    assert 'f32[63,1]' in shapes  # 7 * 3 draws of 3 examples
    assert not {'scan', 'while'} & set(re.findall(r'\w+', shapes))


def test_beta_weighs_the_rate_and_nothing_else() -> None:
    model, params = factor_analysis(wrong=0.3)
    for beta in (0.0, 1.0, 4.0):
        result = jax.jit(dataclasses.replace(model, beta=beta).loss)(params, X, KEY)
        distortion, rate = float(result.metrics['distortion']), float(result.metrics['rate'])
        assert float(result.loss) == pytest.approx(distortion + beta * rate, rel=1e-5)
        mean, log_var = model.encode(params, X)
        expected = 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var).sum(axis=1).mean()
        assert rate == pytest.approx(float(expected), rel=1e-5)


def test_samples_and_reconstructions_of_the_linear_model_are_its_own() -> None:
    model, params = factor_analysis()
    x = np.asarray(jax.jit(lambda params: model.sample(params, KEY, 20_000, (1,)))(params))
    assert stats.kstest(x[:, 0], stats.norm(B, np.hypot(W, S)).cdf).pvalue > 1e-4
    posterior = W * (np.asarray(X) - B) / (W**2 + S**2)
    np.testing.assert_allclose(model.reconstruct(params, X), W * posterior + B, rtol=1e-4, atol=1e-5)


def test_the_decoder_starts_at_the_marginals() -> None:
    """With the net's own output at zero, every z gives each pixel's (smoothed) frequency."""
    x = (np.random.default_rng(0).random((50, 2, 2)) < [[0.1, 0.9], [0.5, 0.5]]).astype(np.float32)
    model = VAE(encoder=LINEAR, decoder=LINEAR, latent=2)
    params = model.init(KEY, jnp.asarray(x))
    frequency = model.likelihood.mean(model.decode(params, jnp.zeros((1, 2)), (2, 2)))[0]
    np.testing.assert_allclose(frequency, (x.sum(axis=0) + 1) / 52, rtol=1e-5)
    plain = dataclasses.replace(model, start_at_mean=False).init(KEY, jnp.asarray(x))
    np.testing.assert_array_equal(plain['constants']['offset'], np.zeros((2, 2)))


def test_batch_statistics_of_both_nets_come_back_from_the_loss() -> None:
    net = MLP(hidden=(4,), batch_norm=True)
    model, x = VAE(encoder=net, decoder=net, latent=2), (jax.random.uniform(KEY, (8, 3)) < 0.5).astype(jnp.float32)
    params = model.init(KEY, x)
    mutable = jax.jit(model.loss)(params, x, KEY).mutable
    for name in ('encoder', 'decoder'):
        old, new = params[name]['batch_stats'], mutable[name]['batch_stats']
        assert str(jax.tree.structure(old)) == str(jax.tree.structure(new))
        assert all((a != b).any() for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True))


SLOPES, BIASES = np.array([1.5, -0.7, 0.4]), np.array([0.4, 0.1, -0.2])
OBSERVED = np.array([True, False, True])


def line(likelihood: Any, **fields: Any) -> tuple[VAE, dict[str, Any]]:
    """One latent, three variables: outputs are SLOPES z + BIASES, and q is the posterior of the normal case."""
    variance = 1 / (1 + (SLOPES**2).sum() / S**2)
    code = variance * SLOPES / S**2
    kernel = jnp.stack([jnp.asarray(code), jnp.zeros(3)], axis=1)
    bias = jnp.array([-float(code @ BIASES), float(np.log(variance))])
    params = {
        'encoder': {'params': {'Dense_0': {'kernel': kernel, 'bias': bias}}},
        'decoder': linear(list(SLOPES), list(BIASES)),
        'constants': {'offset': jnp.zeros(3)},
    }
    return VAE(encoder=LINEAR, decoder=LINEAR, likelihood=likelihood, latent=1, **fields), params


def normal_parts() -> tuple[np.ndarray, np.ndarray]:
    return BIASES, np.outer(SLOPES, SLOPES) + S**2 * np.eye(3)


def test_the_marginal_of_a_linear_model_converges_to_the_exact_one() -> None:
    model, params = line(Gaussian(scale=S), score_samples=4000, score_chunk=20)
    x = jnp.array([[0.3, 9.0, 1.0], [-2.0, -9.0, 0.5], [2.5, jnp.nan, -1.0]])  # what is not observed plays no part
    mean, cov = normal_parts()
    for observed in (OBSERVED, ~OBSERVED, np.array([True, False, False])):
        seen = np.nan_to_num(np.asarray(x))[:, observed]
        exact = stats.multivariate_normal.logpdf(seen, mean[observed], cov[np.ix_(observed, observed)])
        found = jax.jit(model.log_marginal)(params, jnp.where(observed, jnp.nan_to_num(x), x), observed)
        np.testing.assert_allclose(found, exact, atol=0.05)
    nothing = jax.jit(model.log_marginal)(params, x, np.zeros(3, bool))
    np.testing.assert_allclose(nothing, 0, atol=0.05)


def test_completions_of_a_linear_model_converge_to_the_exact_conditional() -> None:
    model, params = line(Gaussian(scale=S), score_samples=400, score_chunk=10)
    mean, cov = normal_parts()
    x, n = np.array([1.2, 0.0, -0.8]), 3000
    drawn = np.asarray(jax.jit(model.conditional)(params, jnp.tile(jnp.asarray(x), (n, 1)), OBSERVED, KEY))
    np.testing.assert_allclose(drawn[:, OBSERVED], np.tile(x[OBSERVED], (n, 1)), rtol=1e-6)
    gain = cov[1, OBSERVED] @ np.linalg.inv(cov[np.ix_(OBSERVED, OBSERVED)])
    exact = stats.norm(mean[1] + gain @ (x - mean)[OBSERVED], np.sqrt(cov[1, 1] - gain @ cov[OBSERVED, 1]))
    assert stats.kstest(drawn[:, 1], exact.cdf).pvalue > 1e-4


@pytest.mark.parametrize('likelihood', [Bernoulli(), Categorical(levels=2)], ids=['bernoulli', 'categorical'])
def test_parts_of_bits_are_sums_over_completions(likelihood: Any) -> None:
    """Against the integral over z; the encoder is another model's, so that its weights have work to do."""
    model, params = line(likelihood, score_samples=8000, score_chunk=20)
    if isinstance(likelihood, Categorical):  # logits (0, o) of the two values, and an encoder of one-hot bits
        wide = np.stack([np.zeros(3), SLOPES], axis=1).reshape(-1), np.stack([np.zeros(3), BIASES], axis=1).reshape(-1)
        kernel = jnp.repeat(params['encoder']['params']['Dense_0']['kernel'], 2, axis=0).at[::2].set(0)
        params['encoder']['params']['Dense_0']['kernel'] = kernel
        params |= {'decoder': linear(list(wide[0]), list(wide[1])), 'constants': {'offset': jnp.zeros((3, 2))}}
    z = np.linspace(-8, 8, 2001)
    on = 1 / (1 + np.exp(-(z[:, None] * SLOPES + BIASES)))
    every = states(3)
    p = np.stack([np.prod(np.where(x > 0, on, 1 - on), axis=1) for x in every]) @ stats.norm.pdf(z) * (z[1] - z[0])
    assert p.sum() == pytest.approx(1, abs=1e-6)
    x = jnp.asarray(every).astype(jnp.int32 if isinstance(likelihood, Categorical) else jnp.float32)
    for observed in (OBSERVED, ~OBSERVED, np.ones(3, bool)):
        agree = ((every[:, None] == every[None]) | ~observed).all(axis=2)
        found = jax.jit(model.log_marginal)(params, x, observed)
        np.testing.assert_allclose(found, np.log(agree @ p), atol=0.06)
    n, i = 2000, 5
    fill = dataclasses.replace(model, score_samples=400).conditional
    drawn = np.asarray(jax.jit(fill)(params, jnp.tile(x[i], (n, 1)), OBSERVED, KEY))
    possible = ((every == every[i]) | ~OBSERVED).all(axis=1)
    exact = p * (every[:, 1] == 1) @ possible / (p @ possible)
    assert abs((drawn[:, 1] == 1).mean() - exact) < 4 * np.sqrt(exact * (1 - exact) / n) + 0.005
    assert drawn.dtype == x.dtype and (drawn[:, OBSERVED] == every[i][OBSERVED]).all()


def test_one_draw_and_odd_numbers_of_draws_are_taken() -> None:
    """k is rounded up to whole rounds of M components; with M = 1 the prior proposes alone."""
    x = jnp.asarray(states(3))
    for samples, chunk, k in ((7, 3, 9), (1, 10, 1), (5, 1, 5)):
        model, params = line(Bernoulli(), score_samples=samples, score_chunk=chunk)
        z, log_w = jax.jit(model.weighed)(params, x, OBSERVED, KEY)
        assert z.shape == (k, 8, 1) and log_w.shape == (k, 8) and np.isfinite(log_w).all()


def test_what_it_cannot_score_is_said() -> None:
    assert VAE().fits(Domain(kind='binary', shape=(2,))) is None
    assert 'Bernoulli' in str(VAE(likelihood=Bernoulli()).fits(Domain(kind='integer', shape=(2,), values=3)))
    for likelihood in (Categorical(levels=17), DiscretisedLogistic(levels=17)):
        assert VAE(likelihood=likelihood).fits(Domain(kind='integer', shape=(2,), values=17)) is None
        assert '256' in str(VAE(likelihood=likelihood).fits(Domain(kind='integer', shape=(2,), values=256)))


def test_a_part_that_needs_another_is_refused_by_name() -> None:
    bits = Domain(kind='binary', shape=(2,))
    assert 'FreeBits is of one draw' in str(VAE(rate=FreeBits(), objective=ImportanceWeighted()).fits(bits))
    assert 'posterior=Diagonal' in str(VAE(regulariser=TotalCorrelation(), posterior=FullCovariance()).fits(bits))
    for regulariser in (TotalCorrelation(), DIP(), MMD()):
        assert VAE(regulariser=regulariser, rate=FreeBits()).fits(bits) is None


def test_the_weight_of_the_rate_warms_up() -> None:
    model, params = factor_analysis(wrong=0.3)
    warm = dataclasses.replace(model, warm_up=4, beta=2.0)
    params['constants']['step'] = jnp.zeros(())
    for step, weight in enumerate((0.0, 0.5, 1.0, 1.5, 2.0, 2.0)):
        result = jax.jit(warm.loss)(params, X, KEY)
        expected = float(result.metrics['distortion']) + weight * float(result.metrics['rate'])
        assert float(result.loss) == pytest.approx(expected, rel=1e-5)
        params = params | {'constants': result.mutable['constants']}
        assert float(params['constants']['step']) == step + 1
