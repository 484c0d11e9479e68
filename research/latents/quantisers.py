"""From what an encoder says to one of a finite number of codes, and how a gradient gets past the choice.

A quantiser takes z [batch, positions, channels] to the point of a finite set nearest to it, at every position alone. The set's
points are numbered: `indices` [batch, positions], below `size`. The choice has no derivative, so the decoder's is handed to
the encoder as it is (Bengio, Leonard & Courville 2013, arXiv:1308.3432, the straight-through estimator): the value is the
point's, the derivative that of z.

    Codebook  (van den Oord, Vinyals & Kavukcuoglu 2017, arXiv:1711.00937)   learned points, the nearest is taken
    FSQ       (Mentzer et al. 2023, arXiv:2309.15505)                        a fixed grid, each channel rounded: no parameters
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from research.types import Array, Key, Params, ranged

EDGE = 1e-3  # share by which FSQ's tanh stops short of its outermost level


class Quantised(NamedTuple):
    """`z` with the derivative of what was quantised; `loss` [batch] is what the choice costs the encoder beside."""

    z: Array  # [batch, positions, channels]
    indices: Array  # [batch, positions] int32
    loss: Array  # [batch]
    advanced: Params  # the carried collections after this batch, {} where there are none or this is no training


class Quantiser(Protocol):
    @property
    def size(self) -> int: ...  # number of codes

    def misfit(self, channels: int, /) -> str | None: ...
    def init(self, key: Key, z: Array, /) -> Params: ...  # from encoder outputs [batch, positions, channels]
    def quantise(self, params: Params, z: Array, key: Key, train: bool, /) -> Quantised: ...
    def lookup(self, params: Params, indices: Array, /) -> Array: ...  # [...] -> [..., channels]


def straight_through(z: Array, point: Array) -> Array:
    """The value of `point`, the derivative of z."""
    return z + jax.lax.stop_gradient(point - z)


@dataclass(frozen=True, kw_only=True)
class Codebook:
    """K points e_i; z becomes the nearest (eq. 1 and 2), and is drawn to it by commitment |z - e|^2 (eq. 3, third term), summed
    over channels and averaged over positions.

    The points are no parameters but moving averages of what was assigned to them (appendix A.1): a k-means that follows the
    encoder. With n_i the share of the batch's positions that took code i, in units of an even share 1/K,

        N_i <- decay N_i + (1 - decay) n_i                                                                             (6)
        m_i <- decay m_i + (1 - decay) n_i mean(z that took i)                                                         (7)
        e_i  = m_i / N_i                                                                                               (8)

    where N_i is smoothed towards an even share (Laplace), (N_i + smoothing) K' / (K' + K smoothing) with K' = sum N. A code with
    N_i below `revive` is dead: it starts again at an encoder output of the batch, no two dead codes at the same one while
    there are enough of them, with N_i = 1, which gives it time to be used (Dhariwal et al. 2020, arXiv:2005.00341, section 3.1).
    """

    codes: int = ranged(512, at_least=1)  # K
    decay: float = ranged(0.99, at_least=0, below=1)
    commitment: float = ranged(0.25, at_least=0)
    smoothing: float = ranged(1e-3, at_least=0)  # in even shares
    revive: float = ranged(0.1, at_least=0, below=1)  # in even shares; 0: dead codes stay dead

    @property
    def size(self) -> int:
        return self.codes

    def misfit(self, channels: int) -> str | None:
        return None

    def init(self, key: Key, z: Array) -> Params:
        """Every code at an encoder output, drawn at random."""
        return {'batch_stats': {'counts': jnp.ones(self.codes), 'sums': self.drawn(key, z.reshape(-1, z.shape[-1]))}}

    def drawn(self, key: Key, rows: Array) -> Array:
        """[codes, channels] of the rows, all different where there are enough."""
        n = rows.shape[0]
        return rows[jax.random.choice(key, n, (self.codes,), replace=n < self.codes)]

    def points(self, params: Params) -> Array:
        """[codes, channels]."""
        counts, sums = params['batch_stats']['counts'], params['batch_stats']['sums']
        total = counts.sum()
        smoothed = (counts + self.smoothing) * total / (total + self.codes * self.smoothing)
        return sums / jnp.maximum(smoothed, 1e-12)[:, None]  # eq. 8

    def nearest(self, params: Params, z: Array) -> Array:
        """[...] int32 from z [..., channels]; of equally near codes the first."""
        points = self.points(params)
        products = jnp.einsum('...c,kc->...k', z, points, precision=jax.lax.Precision.HIGHEST)
        return jnp.argmin((points**2).sum(axis=-1) - 2 * products, axis=-1).astype(jnp.int32)  # |z|^2 is common to all

    def lookup(self, params: Params, indices: Array) -> Array:
        return self.points(params)[indices]

    def quantise(self, params: Params, z: Array, key: Key, train: bool) -> Quantised:
        held = jax.lax.stop_gradient(z)
        indices = self.nearest(params, held)  # eq. 1
        point = self.lookup(params, indices)
        loss = self.commitment * ((z - point) ** 2).sum(axis=-1).mean(axis=-1)
        advanced = self.follow(params, held, indices, key) if train else {}
        return Quantised(straight_through(z, point), indices, loss, advanced)

    def follow(self, params: Params, z: Array, indices: Array, key: Key) -> Params:
        """The averages after a batch."""
        rows = z.reshape(-1, z.shape[-1])
        took = jax.nn.one_hot(indices.reshape(-1), self.codes) * (self.codes / rows.shape[0])  # [rows, codes]
        sums = jnp.einsum('rk,rc->kc', took, rows, precision=jax.lax.Precision.HIGHEST)
        new = {'counts': took.sum(axis=0), 'sums': sums}
        old = params['batch_stats']
        averages = {name: self.decay * old[name] + (1 - self.decay) * new[name] for name in new}  # eq. 6 and 7
        dead = averages['counts'] < self.revive
        return {
            'batch_stats': {
                'counts': jnp.where(dead, 1.0, averages['counts']),
                'sums': jnp.where(dead[:, None], self.drawn(key, rows), averages['sums']),
            }
        }


@dataclass(frozen=True, kw_only=True)
class FSQ:
    """Channel c takes one of levels[c] values: tanh bounds it to an interval as wide as there are levels, and it is rounded.
    All products of levels are codes, prod(levels) of them; nothing is learned, nothing can die, and there is no commitment.

    With L levels the integers are -floor(L / 2) .. ceil(L / 2) - 1; an even L has no middle, so tanh is moved by a half, and
    its argument such that z = 0 stays near 0 (appendix A.1). Values are divided by floor(L / 2), to lie within -1 .. 1.
    Codes are numbered with the first channel as the lowest digit. The paper advises at least 5 levels a channel.
    """

    levels: tuple[int, ...] = ranged((8, 5, 5, 5), at_least=2)

    @property
    def size(self) -> int:
        return math.prod(self.levels)

    def misfit(self, channels: int) -> str | None:
        if channels == len(self.levels):
            return None
        return f'quantiser.levels={",".join(map(str, self.levels))} are of {len(self.levels)} channels: set channels to that, not {channels}'

    def init(self, key: Key, z: Array) -> Params:
        return {}

    def bounded(self, z: Array) -> Array:
        """Each channel within half a level of its integers."""
        levels = np.array(self.levels)
        half = (levels - 1) * (1 - EDGE) / 2
        offset = np.where(levels % 2 == 0, 0.5, 0.0)
        return jnp.tanh(z + np.tan(offset / half)) * half - offset

    @property
    def half(self) -> np.ndarray:
        """What is the integer of value 1, [channels]."""
        return np.array(self.levels) // 2

    @property
    def digits(self) -> np.ndarray:
        """What a level of each channel counts in a code's number, [channels]."""
        return np.cumprod([1, *self.levels[:-1]])

    def lookup(self, params: Params, indices: Array) -> Array:
        integers = indices[..., None] // self.digits % np.array(self.levels) - self.half
        return integers / self.half

    def quantise(self, params: Params, z: Array, key: Key, train: bool) -> Quantised:
        bounded = self.bounded(z)
        integers = jnp.round(bounded)
        indices = ((integers.astype(jnp.int32) + self.half) * self.digits).sum(axis=-1).astype(jnp.int32)
        return Quantised(straight_through(bounded, integers) / self.half, indices, jnp.zeros(z.shape[0]), {})
