"""What the rate costs: by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from research.maths.rates import Capacity, FreeBits, WholeRate

RATES = jnp.array([[[0.5, 0.1], [1.5, 0.0]]])  # [1 draw, 2 examples, 2 latents]
NOW = jnp.float32(50)


def test_the_whole_rate_is_the_sum_of_its_parts() -> None:
    np.testing.assert_allclose(WholeRate()(RATES, NOW), [[0.6, 1.5]])


def test_free_bits_let_each_latent_keep_its_first_nats() -> None:
    """Means over the batch are 1.0 and 0.05."""
    np.testing.assert_allclose(FreeBits(nats=0.2)(RATES, NOW), [[1.2, 1.2]], rtol=1e-6)
    np.testing.assert_allclose(FreeBits(nats=0.0)(RATES, NOW).mean(), RATES.sum(axis=2).mean(), rtol=1e-6)


def test_the_capacity_rises_in_a_line_and_stays() -> None:
    """The mean rate is 1.05."""
    cost = Capacity(nats=4.0, steps=100)
    for step, capacity in ((0, 0.0), (50, 2.0), (100, 4.0), (900, 4.0)):
        np.testing.assert_allclose(cost(RATES, jnp.float32(step)), np.full((1, 2), abs(1.05 - capacity)), rtol=1e-5)
