"""Estimators against likelihoods that are known: in closed form, by quadrature, by enumeration."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.engine import measure
from research.latents.posteriors import FullCovariance, VonMisesFisher
from research.latents.priors import UniformSphere, VampPrior
from research.maths.annealing import Annealing
from research.maths.likelihoods import Bernoulli, Gaussian
from research.metrics import likelihood
from research.metrics.latents import Codes, Levels, latent
from research.metrics.likelihood import Annealed, Importance, Sandwich, Terms, over_examples, simulate
from research.models.factor_vae import FactorVAE
from research.models.hierarchical_vae import HierarchicalVAE
from research.models.mixture import GaussianMixture
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.types import BadInput
from tests.models.completion import states

KEY = jax.random.key(0)
LINEAR = MLP(hidden=())
DIMS, LATENT, SCALE, N = 5, 2, 0.6, 60


def dense(kernel: Any, bias: Any) -> dict[str, Any]:
    return {'params': {'Dense_0': {'kernel': jnp.asarray(kernel), 'bias': jnp.asarray(bias)}}}


def linear_vae(wrong: float = 0.0) -> tuple[Codes, dict[str, Any], np.ndarray, np.ndarray]:
    """x ~ N(W z + b, SCALE^2): the model, its parameters, and mean and covariance of x. q is the diagonal normal nearest to the
    posterior (of the least KL(q || p)), its mean off by `wrong`."""
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(LATENT, DIMS)), rng.normal(size=DIMS)
    precision = np.eye(LATENT) + w @ w.T / SCALE**2
    gain = np.linalg.solve(precision, w / SCALE**2).T  # E[z | x] = (x - b) gain
    kernel = np.concatenate([gain, np.zeros_like(gain)], axis=1).astype(np.float32)
    bias = np.concatenate([wrong - b @ gain, -np.log(np.diag(precision))]).astype(np.float32)
    params = {
        'encoder': dense(kernel, bias),
        'decoder': dense(w.astype(np.float32), b.astype(np.float32)),
        'constants': {'offset': jnp.zeros(DIMS)},
    }
    vae = VAE(encoder=LINEAR, decoder=LINEAR, likelihood=Gaussian(scale=SCALE), latent=LATENT)
    return Codes(vae=vae), params, b, w.T @ w + SCALE**2 * np.eye(DIMS)


def closed_elbo(params: dict[str, Any], mean: np.ndarray, cov: np.ndarray, x: np.ndarray, wrong: float) -> np.ndarray:
    """log p(x) - KL(q || p(z | x)) of `linear_vae`, [n]."""
    w = np.asarray(params['decoder']['params']['Dense_0']['kernel'], np.float64)
    precision = np.eye(LATENT) + w @ w.T / SCALE**2
    own = np.diag(1 / np.diag(precision))
    off = np.full(LATENT, wrong)
    trace = np.trace(precision @ own) - LATENT + off @ precision @ off
    kl = 0.5 * (trace - np.linalg.slogdet(precision)[1] - np.linalg.slogdet(own)[1])
    return stats.multivariate_normal.logpdf(x, mean, cov) - kl


def known(n: int = N, wrong: float = 0.0) -> tuple[Codes, dict[str, Any], dict[str, Any], np.ndarray]:
    """Model, parameters, simulated data, and log p(x) of each."""
    model, params, mean, cov = linear_vae(wrong)
    data = jax.jit(lambda params: simulate(model, params, KEY, n, (DIMS,)))(params)
    return model, params, data, stats.multivariate_normal.logpdf(np.asarray(data['x'], np.float64), mean, cov)


def test_the_elbo_of_a_linear_model_and_its_terms() -> None:
    model, params, data, exact = known(wrong=0.2)
    found = measure.each(Terms(model=model, draws=2000), params, data['x'], KEY, N)
    _, _, mean, cov = linear_vae()
    closed = closed_elbo(params, mean, cov, np.asarray(data['x'], np.float64), 0.2)
    assert (closed < exact).all()
    off = over_examples(found['elbo'] - closed)
    assert off.low is not None and off.high is not None and off.low < 0.01 and off.high > -0.01
    np.testing.assert_allclose(found['elbo'], closed, atol=0.3)
    np.testing.assert_allclose(found['elbo'], -found['distortion'] - found['rate'], rtol=1e-5)
    rate = 0.5 * sum(np.exp(v) + m**2 - 1 - v for m, v in zip(*(np.asarray(a).T for a in moments(model, params, data)), strict=True))  # fmt: skip
    np.testing.assert_allclose(found['rate'], rate, atol=0.2)


def moments(model: Codes, params: Any, data: Any) -> Any:
    return jax.jit(model.vae.encode)(params, data['x'])


def test_bounds_rise_with_k_to_the_closed_form() -> None:
    """ELBO <= IWAE-5 <= IWAE-50 <= log p(x): every step by paired standard errors over examples."""
    model, params, data, exact = known(n=4000, wrong=0.3)
    x = data['x']
    rising = [measure.each(Terms(model=model, draws=50), params, x, KEY, 4000)['elbo']]
    rising += [measure.each(Importance(model=model, samples=k), params, x, KEY, 4000)['lower'] for k in (5, 50)]
    for lower, higher in zip(rising, [*rising[1:], exact], strict=True):
        step = over_examples(higher - lower)
        assert step.error is not None and step.mean > 3 * step.error
    biases = [abs(over_examples(bound - exact).mean) for bound in rising]
    assert biases[0] > 3 * biases[1] > 9 * biases[2] / 3 and biases[2] < 0.05
    many = over_examples(measure.each(Importance(model=model, samples=5000, chunk=500), params, x[:400], KEY, 400)['lower'] - exact[:400])  # fmt: skip
    assert abs(many.mean) < 0.01


@pytest.mark.parametrize('base', ['prior', 'proposal'])
def test_annealing_is_within_a_twentieth_of_a_nat_of_the_closed_form_and_the_sandwich_covers_it(base: Any) -> None:
    model, params, data, exact = known(wrong=0.3)
    steps = 300 if base == 'prior' else 30
    forward = Annealed(model=model, how=Annealing(temperatures=steps, leapfrog=5), chains=8, base=base)
    found = measure.each(Sandwich(forward=forward), params, data, KEY, N)
    lower, upper = (over_examples(found[name] - exact) for name in ('lower', 'upper'))
    assert abs(lower.mean) < 0.05 and abs(upper.mean) < 0.05
    assert lower.low is not None and upper.high is not None and lower.low < 0 < upper.high
    assert over_examples(found['upper'] - found['lower']).mean > -0.02
    assert (np.abs(found['accepted'] - 0.65) < 0.2).all() and (np.abs(found['accepted_back'] - 0.65) < 0.2).all()


def curved() -> tuple[Codes, dict[str, Any]]:
    """A 2-D latent, a decoder with a hidden layer, 12 bits, and an encoder that knows nothing of it."""
    vae = VAE(encoder=MLP(hidden=(4,)), decoder=MLP(hidden=(8,), activation='tanh'), likelihood=Bernoulli(), latent=2)
    x = jax.random.bernoulli(KEY, 0.5, (10, 12)).astype(jnp.float32)
    params = jax.jit(vae.init)(KEY, x)
    wider = jax.tree.map(lambda w: 3 * w, params['decoder'])
    return Codes(vae=vae), {**params, 'decoder': wider}


def test_a_curved_decoder_against_quadrature() -> None:
    model, params = curved()
    data = jax.jit(lambda params: simulate(model, params, KEY, 50, (12,)))(params)
    line = np.linspace(-7, 7, 281)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2).astype(np.float32)
    logits = np.asarray(jax.jit(lambda z: model.vae.decode(params, z, (12,)))(grid), np.float64)
    x = np.asarray(data['x'], np.float64)
    log_joint = x @ logits.T - np.logaddexp(0, logits).sum(axis=1) + stats.norm.logpdf(grid).sum(axis=1)
    exact = np.logaddexp.reduce(log_joint, axis=1) + 2 * np.log(line[1] - line[0])
    elbo = measure.each(Terms(model=model, draws=100), params, data['x'], KEY, 50)['elbo']
    assert over_examples(elbo - exact).mean < -0.3
    many = measure.each(Importance(model=model, samples=5000, chunk=500), params, data['x'], KEY, 50)['lower']
    assert abs(over_examples(many - exact).mean) < 0.03
    forward = Annealed(model=model, how=Annealing(temperatures=200, leapfrog=5), chains=8)
    found = measure.each(Sandwich(forward=forward), params, data, KEY, 50)
    for name in ('lower', 'upper'):
        assert abs(over_examples(found[name] - exact).mean) < 0.05


@dataclasses.dataclass(frozen=True)
class Clusters:
    """x of bits, z one of three clusters; q is uniform but for a lean to cluster 0 where the first bit is set."""

    everywhere = False

    def code(self, params: Any, x: Any) -> Any:
        return jax.nn.log_softmax(jnp.stack([0.8 * x[:, 0], 0 * x[:, 0], 0 * x[:, 0]], axis=1))

    def propose(self, params: Any, code: Any, key: Any, draws: int) -> Any:
        z = jax.random.categorical(key, code, shape=(draws, len(code)))
        return z, self.log_proposal(params, code, z)

    def log_proposal(self, params: Any, code: Any, z: Any) -> Any:
        return jnp.take_along_axis(code[None], z[..., None], axis=2)[..., 0]

    def log_prior(self, params: Any, z: Any) -> Any:
        return params['prior'][z]

    def log_likelihood(self, params: Any, x: Any, z: Any) -> Any:
        logits = params['logits'][z]  # [draws, batch, bits]
        return (x * logits - jax.nn.softplus(logits)).sum(axis=-1)

    def draw_prior(self, params: Any, key: Any, n: int) -> Any:
        return jax.random.categorical(key, params['prior'], shape=(n,))

    def draw_data(self, params: Any, z: Any, key: Any, event: Any) -> Any:
        return jax.random.bernoulli(key, jax.nn.sigmoid(params['logits'][z])).astype(jnp.float32)


def test_discrete_latents_against_enumeration() -> None:
    model = Clusters()
    params = {'prior': jnp.log(jnp.array([0.5, 0.3, 0.2])), 'logits': 1.5 * jax.random.normal(KEY, (3, 4))}
    assert latent(model) is model
    x = jnp.asarray(states(4))
    logits = np.asarray(params['logits'], np.float64)
    each = np.asarray(x) @ logits.T - np.logaddexp(0, logits).sum(axis=1) + np.log([0.5, 0.3, 0.2])
    exact = np.logaddexp.reduce(each, axis=1)
    q = np.exp(np.asarray(model.code(params, x), np.float64))
    closed = (q * (each - np.log(q))).sum(axis=1)
    found = measure.each(Terms(model=model, draws=5000), params, x, KEY, 16)
    np.testing.assert_allclose(found['elbo'], closed, atol=0.12)
    lower = [measure.each(Importance(model=model, samples=k, chunk=500), params, x, KEY, 16)['lower'] for k in (5, 5000)]  # fmt: skip
    np.testing.assert_allclose(lower[1], exact, atol=0.05)
    assert over_examples(found['elbo']).mean < over_examples(lower[0]).mean + 0.2 and (closed < exact).all()


def test_simulated_data_come_from_the_model() -> None:
    _, params, data, _ = known(n=20_000)
    _, _, mean, cov = linear_vae()
    x, z = np.asarray(data['x']), np.asarray(data['z'])
    np.testing.assert_allclose(x.mean(axis=0), mean, atol=0.08)
    np.testing.assert_allclose(np.cov(x.T), cov, atol=0.25)
    w = np.asarray(params['decoder']['params']['Dense_0']['kernel'])
    residual = x - mean - z @ w
    np.testing.assert_allclose(residual.std(axis=0), SCALE, rtol=0.03)


def test_other_posteriors_and_priors_are_taken_as_they_are() -> None:
    """Annealing, importance sampling and the model's own score agree, though each takes another way."""
    parts: dict[str, Any] = {'posterior': FullCovariance(), 'prior': VampPrior(inputs=3)}
    vae = VAE(
        encoder=MLP(hidden=(4,)), decoder=MLP(hidden=(8,)), latent=2, score_samples=5000, score_chunk=500, **parts
    )
    x = jax.random.bernoulli(KEY, 0.4, (10, 6)).astype(jnp.float32)
    params = jax.jit(vae.init)(KEY, x)
    model = latent(vae)
    assert isinstance(model, Codes)
    own = np.asarray(jax.jit(vae.log_prob)(params, x, KEY))
    sampled = measure.each(Importance(model=model, samples=5000, chunk=500), params, x, KEY, 10)['lower']
    assert abs(over_examples(sampled - own).mean) < 0.05
    forward = Annealed(model=model, how=Annealing(temperatures=60, leapfrog=4), chains=8)
    annealed = measure.each(forward, params, x, KEY, 10)['lower']
    assert abs(over_examples(annealed - own).mean) < 0.1


@pytest.mark.parametrize('structure', ['chain', 'skip'])
def test_two_levels_are_one_vector(structure: Any) -> None:
    """log q of a draw is that of the draw; the model's own bound and the estimator's agree; what is drawn is scored."""
    net = MLP(hidden=(6,))
    nets: dict[str, Any] = dict.fromkeys(('encoder', 'second_encoder', 'top_decoder', 'decoder'), net)
    vae = HierarchicalVAE(structure=structure, latent=2, lower_latent=3, score_samples=3000, score_chunk=300, **nets)
    x = jax.random.bernoulli(KEY, 0.4, (10, 6)).astype(jnp.float32)
    params = jax.jit(vae.init)(KEY, x)
    model = latent(vae)
    assert isinstance(model, Levels)

    @jax.jit
    def twice(params: Any) -> Any:
        code = model.code(params, x)
        z, log_q = model.propose(params, code, KEY, 4)
        return log_q, model.log_proposal(params, code, z)

    drawn, again = twice(params)
    np.testing.assert_allclose(drawn, again, rtol=1e-4, atol=1e-4)
    own = np.asarray(jax.jit(vae.log_prob)(params, x, KEY))
    sampled = measure.each(Importance(model=model, samples=3000, chunk=300), params, x, KEY, 10)['lower']
    assert abs(over_examples(sampled - own).mean) < 0.1
    made = jax.jit(lambda params: simulate(model, params, KEY, 7, (6,)))(params)
    assert made['z'].shape == (7, 5) and set(np.unique(made['x'])) <= {0.0, 1.0}


def test_a_vae_within_a_model_with_a_critic_is_looked_at_alone() -> None:
    whole = FactorVAE(vae=VAE(encoder=LINEAR, decoder=LINEAR, latent=2), critic=MLP(hidden=(4,)))
    x = jax.random.bernoulli(KEY, 0.4, (10, 6)).astype(jnp.float32)
    params = jax.jit(whole.init)(KEY, x)
    inner, outer = latent(whole.vae), latent(whole)
    assert inner is not None and outer is not None and outer.everywhere
    found = measure.each(Terms(model=outer), params, x, KEY, 10)
    alone = measure.each(Terms(model=inner), params['generator'], x, KEY, 10)
    np.testing.assert_allclose(found['elbo'], alone['elbo'], rtol=1e-5)


def test_a_sphere_is_not_annealed_and_a_mixture_has_no_codes() -> None:
    sphere = VAE(latent=3, posterior=VonMisesFisher(), prior=UniformSphere(), encoder=LINEAR, decoder=LINEAR)
    params, x = {}, jnp.zeros((2, 4))
    with pytest.raises(BadInput, match='no density everywhere'):
        Annealed(model=Codes(vae=sphere)).path(params, x)
    assert latent(GaussianMixture()) is None


def test_batches_are_filled_up_and_cut_again() -> None:
    model, params, data, _ = known(n=23)
    found = measure.each(Importance(model=model, samples=3000, chunk=300), params, data['x'], KEY, 10)['lower']
    whole = measure.each(Importance(model=model, samples=3000, chunk=300), params, data['x'], KEY, 23)['lower']
    assert found.shape == (23,)
    np.testing.assert_allclose(found, whole, atol=0.2)


def test_memory_does_not_grow_with_the_draws() -> None:
    model, params = curved()
    x = jnp.zeros((10, 12))

    def memory(samples: int) -> int:
        estimator = Importance(model=model, samples=samples)
        analysis = jax.jit(estimator.measure).lower(params, x, KEY).compile().memory_analysis()
        assert analysis is not None
        return int(analysis.temp_size_in_bytes)

    assert memory(5000) <= memory(100) + 1000


def test_no_key_is_used_twice() -> None:
    """The check is made while a program is traced."""
    model, params, data, _ = known(n=4)
    forward = Annealed(model=model, how=Annealing(temperatures=2, leapfrog=2), chains=2, base='proposal')
    with jax.debug_key_reuse(True):
        with pytest.raises(jax.errors.KeyReuseError):
            jax.jit(lambda key: jax.random.normal(key) + jax.random.uniform(key)).lower(KEY)
        jax.jit(Sandwich(forward=forward).measure).lower(params, data, KEY)
        jax.jit(forward.measure).lower(params, data['x'], KEY)
        jax.jit(Importance(model=model, samples=4, chunk=2).measure).lower(params, data['x'], KEY)
        jax.jit(Terms(model=model).measure).lower(params, data['x'], KEY)


def test_an_estimate_is_a_mean_with_its_error() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    found = over_examples(values)
    error = values.std(ddof=1) / 2
    assert found[:2] == pytest.approx((4.0, error))
    assert found.low == pytest.approx(4 - stats.t.ppf(0.975, 3) * error) and found.n == 4
    assert likelihood.over_examples(values[:1]) == (1.0, None, None, None, 1)
