"""What share of an accelerator's peak a DCGAN step reaches: 64x64 images, width 128, batch 256, bfloat16.

Operations are XLA's own count for the compiled step; peaks are the makers' dense bfloat16 figures.
"""

from __future__ import annotations

import jax
import numpy as np

from research.engine import precision
from research.models.gan import GAN
from research.nets import dcgan
from research.trainers.adversarial import AdversarialTrainer
from scripts.benchmarks import vae

SIDE, WIDTH, BATCH, LATENT, STEPS = 64, 128, 256, 128, 8
PEAKS = {'H200': 989e12, 'H100': 989e12, 'A100': 312e12, 'L4': 121e12, 'TPU v5e': 197e12, 'TPU v4': 275e12}  # FLOP/s


def trainer(width: int = WIDTH) -> AdversarialTrainer:
    gan = GAN(generator=dcgan.Generator(width=width), critic=dcgan.Critic(width=width), latent=LATENT)
    half: AdversarialTrainer = precision.apply(AdversarialTrainer(model=gan), 'bfloat16')
    return half


def operations(one: AdversarialTrainer, x: np.ndarray) -> float:
    """Floating-point operations of one step, by XLA's cost analysis."""
    state = jax.eval_shape(one.init, jax.random.key(0), x)
    compiled = jax.jit(one.step).lower(state, x, jax.random.key(0)).compile()
    cost = compiled.cost_analysis() or {}
    return float(cost.get('flops', float('nan')))


def report(width: int = WIDTH, batch: int = BATCH, side: int = SIDE) -> str:
    x = np.random.default_rng(0).random((batch * STEPS, side, side, 1), dtype=np.float32)
    one = trainer(width)
    count = operations(one, x[:batch])
    measure = vae.engine(one, x, batch, STEPS)
    measure()
    seconds = sorted(measure() for _ in range(5))[2]
    kind = jax.devices()[0].device_kind
    peak = next((rate for name, rate in PEAKS.items() if name in kind), None)
    share = '' if peak is None else f', {count / seconds / peak:.1%} of {peak / 1e12:.0f} TFLOP/s'
    head = f'DCGAN {side}x{side}, width {width}, batch {batch}, bfloat16, {kind}'
    return (
        f'{head}\n  {seconds * 1e3:.2f} ms a step, {count / 1e9:.1f} GFLOP, {count / seconds / 1e12:.2f} TFLOP/s{share}'
    )
