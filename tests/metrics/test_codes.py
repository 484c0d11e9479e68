"""What a run records of its codes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.engine import measure
from research.maths.bounds import gaussian_kl
from research.metrics import codes
from research.metrics.latents import latent
from research.models.vae import VAE
from research.nets.mlp import MLP

KEY = jax.random.key(0)


def test_a_vae_tells_its_terms_and_how_many_units_are_active() -> None:
    """The encoder's third and fourth mean do not depend on x."""
    vae = VAE(encoder=MLP(hidden=()), decoder=MLP(hidden=(8,)), latent=4)
    x = jax.random.bernoulli(KEY, 0.4, (300, 6)).astype(jnp.float32)
    params: Any = jax.jit(vae.init)(KEY, x)
    dense = params['encoder']['params']['Dense_0']
    kernel = dense['kernel'].at[:, 2:4].set(0.001)
    params['encoder'] = {'params': {'Dense_0': {**dense, 'kernel': kernel}}}
    model = latent(vae)
    assert model is not None
    reading = codes.reading(vae, model)
    found = measure.each(reading, params, x, KEY, 100)
    told = {figure.metric: figure for figure in codes.figures(found, reading.terms.draws)}
    assert list(told) == ['distortion', 'rate', 'active_units']
    assert told['active_units'].value == 2 and told['active_units'].settings == {'of': 4, 'threshold': 0.01}
    rate = told['rate']
    closed = float(gaussian_kl(*jax.jit(vae.encode)(params, x)).mean())
    assert abs(rate.value - closed) < 4 * rate.settings['standard_error']
    elbo = -told['distortion'].value - rate.value
    assert elbo == pytest.approx(found['elbo'].mean(), abs=1e-3)


def test_what_has_diverged_is_left_out() -> None:
    found = {'distortion': np.array([np.nan, 1.0]), 'rate': np.array([2.0, 3.0])}
    assert [figure.metric for figure in codes.figures(found, 10)] == ['rate']
