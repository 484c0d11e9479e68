"""What the codes of a fitted model are worth: the two terms of its bound, and how many of its latent variables say anything.

Of a model with latent variables every run records, over the examples that are scored,

    distortion     E_q[-log p(x | z)], nats per example
    rate           E_q[log q(z | x) - log p(z)], nats per example: distortion + rate is minus the ELBO
    active_units   latent variables whose posterior mean varies with x by more than 0.01 (Burda et al. 2016, section 5.2)

Of dequantised data the distortion is a density's, not per grey level: it moves with the unit that x is measured in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from research.metrics import aggregate
from research.metrics.latents import Latent
from research.metrics.likelihood import Terms, over_examples
from research.types import Array, Encoder, Key, Params


class Figure(NamedTuple):
    """One number: its name, what it is in, and its settings."""

    metric: str
    value: float
    unit: str
    settings: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Both terms of each example, and where the model encodes, the mean of its q(z | x) as 'mean' [batch, latent]."""

    terms: Terms
    encoder: Any = None

    def measure(self, params: Params, x: Array, key: Key) -> dict[str, Array]:
        found = self.terms.measure(params, x, key)
        if self.encoder is None:
            return found
        return found | {'mean': jnp.reshape(self.encoder.encode(params, x)[0], (len(x), -1))}


def reading(model: Any, latent: Latent) -> Reading:
    """Of a model and itself as a `Latent`."""
    return Reading(terms=Terms(model=latent), encoder=model if isinstance(model, Encoder) else None)


def figures(found: dict[str, np.ndarray], draws: int) -> list[Figure]:
    """The figures of what a `Reading` found over a set; none that is not finite."""
    told = []
    for name in ('distortion', 'rate'):
        estimate = over_examples(found[name])
        told.append(Figure(name, estimate.mean, 'nats', {'draws': draws, 'standard_error': estimate.error}))
    if 'mean' in found:
        units = aggregate.active_units(jnp.asarray(found['mean']))
        settings = {'of': found['mean'].shape[1], 'threshold': aggregate.ACTIVE}
        told.append(Figure('active_units', float(units), 'latent variables', settings))
    return [figure for figure in told if np.isfinite(figure.value)]
