"""What the latents of a fitted model do, as arrays for the report: RUN/latents.npz, from the first examples of the test split.

    plane           the mean of q(z | x) of many examples: as it is where z is in the plane, else its first two principal components
    reconstruction  examples, and the mean of p(x | z) at the mean of their q(z | x)
    traversal       the mean of p(x | z) as one latent goes from -3 to 3 deviations of the prior and the others stay where they are:
                    at the prior's mean, and at those of an example
    interpolation   the mean of p(x | z) on the way from one example's z to another's

Where all draws of the prior have length 1 the latents live on a sphere, and so do these points: between two examples lies the
great circle, and a latent that is given a value leaves the others what is left of the length, by (1). That a sphere has no mean
leaves its traversals to examples.

    z_j = t,   z_i = sqrt(1 - t^2) b_i / sqrt(1 - b_j^2)  for i != j,   b the example's                                   (1)

Latents are in the order of how much they say: by the variance of the means over examples, whose threshold of 0.01 makes a latent
active (Burda et al. 2016, section 5.2). A model gets what its abilities give: to encode, to decode, to reconstruct; pictures are
made of images alone.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from research.data.source import Data
from research.engine import measure
from research.report.markup import write_atomically
from research.types import Array, Batch, Decoder, Domain, Encoder, Key, Params

FILE = 'latents.npz'
MEANS, DRAWS = 1000, 4000  # test examples that are encoded; draws that tell the prior's mean and deviations
EXAMPLES, ROWS, PAIRS = 10, 10, 5  # reconstructed; latents of a traversal; pairs of an interpolation
DEVIATIONS = np.arange(-3.0, 4.0)
WAY = np.linspace(0.0, 1.0, 8)  # places on the way between two examples
COLOURS = 12  # more classes than these cannot be told apart
VALUES = 1_500_000  # of all traversals, at most
BATCH = 100


@runtime_checkable
class Reconstructor(Protocol):
    """The ability to encode and decode again, by a model whose z is more than one vector."""

    def reconstruct(self, params: Params, x: Batch, /) -> Array: ...  # [batch, *shape]


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    model: Encoder

    def measure(self, params: Params, x: Batch, key: Key) -> Array:
        return self.model.encode(params, x)[0].reshape(len(x), -1)


@dataclass(frozen=True, kw_only=True)
class _Decoded:
    model: Decoder
    event: tuple[int, ...]

    def measure(self, params: Params, z: Array, key: Key) -> Array:
        return self.model.decode_mean(params, z, self.event)


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    model: Decoder

    def measure(self, params: Params, places: Array, key: Key) -> Array:
        return self.model.draw_prior(params, key, len(places))


@dataclass(frozen=True, kw_only=True)
class _Remade:
    model: Reconstructor

    def measure(self, params: Params, x: Batch, key: Key) -> Array:
        return self.model.reconstruct(params, x)


def save(model: Any, params: Params, domain: Domain, data: Data, folder: Path) -> None:
    """Write what there is to show, whole or not at all; where there is nothing no file is left."""
    found = portraits(model, params, domain, data)
    if not found:
        (folder / FILE).unlink(missing_ok=True)
    else:
        content = io.BytesIO()
        np.savez_compressed(content, **found)  # type: ignore[arg-type]
        write_atomically(folder / FILE, content.getvalue())


def portraits(model: Any, params: Params, domain: Domain, data: Data) -> dict[str, np.ndarray]:
    """All arrays by name; none that is not finite, so nothing of a model that has diverged."""
    key, x = jax.random.key(0), np.asarray(data.test.x[:MEANS])
    image, found = domain.modality == 'image', {}
    if isinstance(model, Encoder):
        means = np.asarray(measure.each(_Encoded(model=model), params, x, key, BATCH), np.float64)
        if not np.isfinite(means).all():
            return {}
        found = plane(means)
        found |= classes(data) if found else {}
        if isinstance(model, Decoder) and image and len(x) >= 2 * PAIRS:
            found |= pictures(model, params, x, means)
    if isinstance(model, Reconstructor) and image and 'examples' not in found:
        seen = x[:EXAMPLES]
        made = measure.each(_Remade(model=model), params, seen, key, BATCH)
        found |= {'examples': small(seen), 'reconstruction': small(made)}
    whole = all(np.isfinite(value).all() for value in found.values() if value.dtype.kind == 'f')
    return found if whole else {}


def plane(means: np.ndarray) -> dict[str, np.ndarray]:
    """'plane' [n, 2] of means [n, latent], and of principal components the 'shares' [2] of the variance; nothing of one latent or one example."""
    if min(means.shape) < 2:
        return {}
    if means.shape[1] == 2:
        return {'plane': means.astype(np.float32), 'latent': np.array(2)}
    points, shares = components(means)
    return {'plane': points.astype(np.float32), 'shares': shares, 'latent': np.array(means.shape[1])}


def components(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first two principal components [n, 2] of means [n, latent >= 2], and their shares of the variance [2].

    A direction is turned so that its largest entry is positive.
    """
    centred = means - means.mean(axis=0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    first = directions[:2]
    first = first * np.sign(first[np.arange(len(first)), np.abs(first).argmax(axis=1)])[:, None]
    return centred @ first.T, lengths[:2] ** 2 / max(float((lengths**2).sum()), 1e-30)


def classes(data: Data) -> dict[str, np.ndarray]:
    """What examples are coloured by: their labels, else the first factor of few values; 'classes' [n] and its 'class_name'."""
    label, factors = data.test.label, data.test.factors
    if label is not None and 1 < len(np.unique(label)) <= COLOURS:
        return {'classes': np.asarray(label[:MEANS], np.int16), 'class_name': np.array('label')}
    for i, (name, size) in enumerate((data.factors or {}).items()):
        if factors is not None and 1 < size <= COLOURS:
            return {'classes': np.asarray(factors[:MEANS, i], np.int16), 'class_name': np.array(name)}
    return {}


def pictures(model: Decoder, params: Params, x: np.ndarray, means: np.ndarray) -> dict[str, np.ndarray]:
    """Reconstructions, traversals and interpolations, decoded in one go. Shapes are those of `report.latents`."""
    drawn = np.asarray(measure.each(_Drawn(model=model), params, np.zeros(DRAWS), jax.random.key(1), DRAWS), np.float64)
    sphere = bool(np.allclose(np.linalg.norm(drawn, axis=1), 1, atol=1e-4))
    centre, deviation = drawn.mean(axis=0), drawn.std(axis=0)
    activity = means.var(axis=0)
    rows = max(1, min(ROWS, VALUES // (2 * DEVIATIONS.size * math.prod(x.shape[1:]))))
    order = np.argsort(-activity, kind='stable')[:rows]
    bases = means[:2] if sphere else np.stack([centre, means[0]])
    values = centre + DEVIATIONS[:, None] * deviation  # [steps, latent]
    walks = np.stack([[traversal(base, j, values[:, j], sphere) for j in order] for base in bases])
    ways = np.stack([way(means[i], means[i + 1], sphere) for i in range(0, 2 * PAIRS, 2)])
    parts = means[:EXAMPLES], walks, ways
    z = np.concatenate([part.reshape(-1, means.shape[1]) for part in parts]).astype(np.float32)
    decoded = measure.each(_Decoded(model=model, event=x.shape[1:]), params, z, jax.random.key(0), BATCH)
    cuts = np.cumsum([math.prod(part.shape[:-1]) for part in parts])[:-1]
    made = [a.reshape(*p.shape[:-1], *x.shape[1:]) for a, p in zip(np.split(decoded, cuts), parts, strict=True)]
    return {
        'examples': small(x[: 2 * PAIRS]),
        'reconstruction': small(made[0]),
        'traversal': small(made[1]),
        'bases': np.array([0, 1] if sphere else [-1, 0]),  # of which example; -1: the prior's mean
        'latents': order,
        'activity': activity[order],
        'deviations': DEVIATIONS,
        'interpolation': small(made[2]),
        'sphere': np.array(sphere),
    }


def traversal(base: np.ndarray, j: int, values: np.ndarray, sphere: bool) -> np.ndarray:
    """`base` [latent] with its latent j at each of `values` [steps]: [steps, latent]; on the sphere by (1)."""
    z = np.repeat(base[None], len(values), axis=0)
    if not sphere:
        z[:, j] = values
        return z
    inside = np.clip(values, -1, 1)
    z[:, j] = 0
    rest = np.linalg.norm(z, axis=1, keepdims=True)
    z = np.where(rest > 1e-6, z / np.maximum(rest, 1e-6), np.eye(len(base))[(j + 1) % len(base)])
    z *= np.sqrt(1 - inside[:, None] ** 2)
    z[:, j] = inside
    return z


def way(a: np.ndarray, b: np.ndarray, sphere: bool) -> np.ndarray:
    """[steps, latent] from a to b at even steps: on the line, or on the great circle of two points of length 1."""
    t = WAY[:, None]
    if not sphere:
        return (1 - t) * a + t * b
    across = b - (a @ b) * a
    length = np.linalg.norm(across)
    angle = math.atan2(float(length), float(a @ b))
    return np.cos(t * angle) * a + np.sin(t * angle) * across / max(float(length), 1e-12)


def small(images: Any) -> np.ndarray:
    """Images are for looking at: half precision has 11 bits, grey levels have 8."""
    return np.asarray(images).astype(np.float16)
