"""Normalisation layers: flax's own, with the call every net here uses and the defaults of the papers.

Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167) takes its moments over all axes but the last, from the
batch while training (algorithm 1) and from running averages in the float32 collection 'batch_stats' otherwise
(algorithm 2).
Layer normalisation (Ba, Kiros & Hinton 2016, arXiv:1607.06450) takes them over the last axis of each example.
"""

from __future__ import annotations

import flax.linen as nn

from research.types import Array, ranged


class BatchNorm(nn.Module, kw_only=True):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, for each channel: [..., c] -> [..., c].

    running <- momentum * running + (1 - momentum) * batch, with the variance divided by n. With train=True the
    collection 'batch_stats' must be mutable.
    """

    momentum: float = ranged(0.9, at_least=0, below=1)  # of the running averages; PyTorch calls this 1 - 0.9
    epsilon: float = ranged(1e-5, above=0)
    scale_init: nn.initializers.Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        norm = nn.BatchNorm(momentum=self.momentum, epsilon=self.epsilon, scale_init=self.scale_init, name='norm')
        return norm(x, use_running_average=not train)


class LayerNorm(nn.Module, kw_only=True):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias within each example: [..., c] -> [..., c]."""

    epsilon: float = ranged(1e-5, above=0)

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return nn.LayerNorm(epsilon=self.epsilon, name='norm')(x)
