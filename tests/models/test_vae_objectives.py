"""Estimators of a VAE's gradient: the same mean, less noise, and each bound to the net it is for."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.maths.bounds import CIWAE, ELBO, PIWAE, ImportanceWeighted
from tests.models.test_vae import KEY, X, factor_analysis


def gradients(objective: Any, repeats: int, beta: float = 1.0) -> tuple[Any, Any]:
    """Gradients of the loss in the encoder's and the decoder's bias, [repeats, 2] and [repeats]."""
    model, params = factor_analysis(wrong=0.3)
    model = dataclasses.replace(model, objective=objective, beta=beta)

    def loss(biases: tuple[jax.Array, jax.Array], key: jax.Array) -> jax.Array:
        both = {
            name: {'params': {'Dense_0': params[name]['params']['Dense_0'] | {'bias': bias}}}
            for name, bias in zip(('encoder', 'decoder'), biases, strict=True)
        }
        return model.loss({**params, **both}, X, key).loss

    biases = tuple(params[name]['params']['Dense_0']['bias'] for name in ('encoder', 'decoder'))
    found = jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0)))(biases, jax.random.split(KEY, repeats))
    return np.asarray(found[0], np.float64), np.asarray(found[1], np.float64)[:, 0]


@pytest.mark.parametrize(
    ('plain', 'other'),
    [
        (ELBO(), ELBO(gradient='stl')),
        (ImportanceWeighted(samples=8), ImportanceWeighted(samples=8, gradient='dreg')),
        (ImportanceWeighted(samples=4, groups=2), ImportanceWeighted(samples=4, groups=2, gradient='dreg')),
    ],
    ids=['stl', 'dreg', 'dreg_in_groups'],
)
def test_other_estimators_have_the_same_mean_gradient_and_less_variance(plain: Any, other: Any) -> None:
    """Near the posterior the score of q is all noise (Roeder et al. 2017; Tucker et al. 2019)."""
    n = 20_000
    (encoder, decoder), (encoder_too, decoder_too) = gradients(plain, n), gradients(other, n)
    for a, b in ((encoder, encoder_too), (decoder[:, None], decoder_too[:, None])):
        error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / n)
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 4 * error).all()
    if isinstance(plain, ImportanceWeighted):
        assert (encoder_too.var(axis=0) < 0.5 * encoder.var(axis=0)).all()
        np.testing.assert_allclose(
            decoder, decoder_too, rtol=1e-3, atol=1e-5
        )  # the decoder's is the same, draw by draw


def test_piwae_gives_the_decoder_one_bound_and_the_encoder_another() -> None:
    encoder, decoder = gradients(PIWAE(samples=4, groups=2), 50)
    np.testing.assert_allclose(encoder, gradients(ImportanceWeighted(samples=4, groups=2), 50)[0], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(decoder, gradients(ImportanceWeighted(samples=8), 50)[1], rtol=1e-3, atol=1e-5)


def test_ciwae_mixes_two_bounds() -> None:
    encoder, decoder = gradients(CIWAE(samples=6, mix=0.3), 50)
    parts = [gradients(o, 50) for o in (ImportanceWeighted(samples=1, groups=6), ImportanceWeighted(samples=6))]
    for found, one, many in zip((encoder, decoder), *parts, strict=True):
        np.testing.assert_allclose(found, 0.3 * one + 0.7 * many, rtol=1e-3, atol=1e-5)


def test_at_the_exact_posterior_the_path_derivative_is_zero() -> None:
    """Roeder et al. 2017, section 3: no variance where there is nothing left to learn."""
    model, params = factor_analysis()
    model = dataclasses.replace(model, objective=ELBO(gradient='stl'))
    net = {'encoder': params['encoder']}
    found = jax.jit(jax.grad(lambda net: model.loss({**params, **net}, X, KEY).loss))(net)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(found)) < 1e-5


@pytest.mark.parametrize('beta', [0.3, 3.0])
def test_dreg_has_the_mean_gradient_whatever_the_rate_weighs(beta: float) -> None:
    n = 20_000
    plain = gradients(ImportanceWeighted(samples=8), n, beta)[0]
    dreg = gradients(ImportanceWeighted(samples=8, gradient='dreg'), n, beta)[0]
    error = np.sqrt((plain.var(axis=0) + dreg.var(axis=0)) / n)
    assert (np.abs(plain.mean(axis=0) - dreg.mean(axis=0)) < 4 * error).all()
