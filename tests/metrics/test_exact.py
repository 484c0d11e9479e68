"""What is called exact is: against scipy's normal, and against the sum over all images."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.maths.likelihoods import Bernoulli, Gaussian
from research.metrics import exact
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.types import BadInput
from tests.models.completion import states

KEY = jax.random.key(0)


def test_a_linear_decoder_gives_a_normal() -> None:
    vae = VAE(encoder=MLP(hidden=()), decoder=MLP(hidden=()), likelihood=Gaussian(scale=0.3), latent=3)
    x = jax.random.uniform(KEY, (20, 2, 3))
    params: Any = jax.jit(vae.init)(KEY, x)
    dense = params['decoder']['params']['Dense_0']
    w, b = (
        np.asarray(dense['kernel'], np.float64),
        np.asarray(dense['bias'] + params['constants']['offset'].reshape(-1)),
    )
    closed = stats.multivariate_normal.logpdf(x.reshape(20, 6), b, w.T @ w + 0.09 * np.eye(6))
    found = jax.jit(lambda params: exact.linear(vae, params, x))(params)
    np.testing.assert_allclose(found, closed, rtol=1e-4, atol=1e-4)


def test_the_plane_sums_to_one_and_does_not_depend_on_the_cells() -> None:
    vae = VAE(encoder=MLP(hidden=()), decoder=MLP(hidden=(8,), activation='tanh'), likelihood=Bernoulli(), latent=2)
    x = jnp.asarray(states(6))
    params: Any = jax.jit(vae.init)(KEY, x)
    params = {**params, 'decoder': jax.tree.map(lambda w: 3 * w, params['decoder'])}
    fine, coarse = (jax.jit(lambda params, n=n: exact.plane(vae, params, x, n))(params) for n in (240, 120))
    assert float(jax.nn.logsumexp(fine)) == pytest.approx(0, abs=1e-4)
    assert float(fine.std()) > 0.5
    np.testing.assert_allclose(fine, coarse, atol=1e-4)


def test_what_has_no_closed_form_is_refused() -> None:
    with pytest.raises(BadInput, match=r'likelihood=Gaussian\(scale='):
        exact.linear(VAE(), {}, jnp.zeros((2, 3)))
    with pytest.raises(BadInput, match='latent=20: the integral is over the plane; expected 2'):
        exact.plane(VAE(), {}, jnp.zeros((2, 3)))
