"""The DCGAN's training step on 28x28, batch 64, width 64: ours in the engine's loop, XLA's convolution, PyTorch.

'XLA convolution' are flax's own layers (nn.Conv, nn.ConvTranspose), a jitted step called in a Python loop: what a textbook
JAX program does. Its time goes into the derivatives that XLA takes of a transposed convolution.
"""

from __future__ import annotations

import time
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from research.engine import plan as plans
from research.engine.plan import Plan
from research.models.gan import GAN
from research.nets import dcgan
from research.trainers.adversarial import AdversarialTrainer
from scripts.benchmarks.contest import Contest, Measure
from scripts.benchmarks.vae import engine

BATCH, WIDTH, LATENT = 64, 64, 128
STEPS = {'cpu': 5, 'cuda': 200}  # in one measure: an accelerator's step is a millisecond


def data(steps: int) -> np.ndarray:
    return np.random.default_rng(0).random((steps * BATCH, 28, 28, 1), dtype=np.float32)


def trainer(width: int = WIDTH) -> AdversarialTrainer:
    return AdversarialTrainer(
        model=GAN(generator=dcgan.Generator(width=width), critic=dcgan.Critic(width=width), latent=LATENT)
    )


def flax_layers(x: np.ndarray) -> Measure:
    """The same trainer with flax's layers in place of ours, one compiled step at a time."""
    layers: Any = dcgan  # the module, whose two layers are exchanged while the step is traced
    ours = layers.Conv, layers.ConvTranspose
    plan = Plan(trainer(), lambda x, key: x, x, 1, BATCH, 0)
    layers.Conv, layers.ConvTranspose = _positional(nn.Conv), _positional(nn.ConvTranspose)
    try:
        state = jax.jit(lambda x: plans.init(plan, plans.numbers(plan), 0, x))(x).state
        step = jax.jit(plan.trainer.step).lower(state, x[:BATCH], jax.random.key(0)).compile()
    finally:
        layers.Conv, layers.ConvTranspose = ours
    steps = len(x) // BATCH
    batches = [jax.device_put(x[i * BATCH : (i + 1) * BATCH]) for i in range(steps)]

    def measure() -> float:
        began, now = time.perf_counter(), state
        for batch in batches:
            now, _ = step(now, batch, jax.random.key(0))
        jax.block_until_ready(now)
        return (time.perf_counter() - began) / steps

    return measure


def _positional(layer: Any) -> Any:
    def build(*, features: int, kernel: Any, strides: Any, use_bias: bool, kernel_init: Any, **named: Any) -> Any:
        return layer(features, kernel, strides, padding='SAME', use_bias=use_bias, kernel_init=kernel_init, **named)

    return build


def torch_nets() -> tuple[Any, Any]:
    from torch import nn

    generator = nn.Sequential(
        nn.Linear(LATENT, 7 * 7 * 2 * WIDTH, bias=False),
        nn.Unflatten(1, (2 * WIDTH, 7, 7)),
        nn.BatchNorm2d(2 * WIDTH),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * WIDTH, WIDTH, 4, 2, 1, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(),
        nn.ConvTranspose2d(WIDTH, 1, 4, 2, 1),
        nn.Sigmoid(),
    )
    critic = nn.Sequential(
        nn.Conv2d(1, WIDTH, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(WIDTH, 2 * WIDTH, 4, 2, 1, bias=False),
        nn.BatchNorm2d(2 * WIDTH),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(7 * 7 * 2 * WIDTH, 1),
    )
    return generator, critic


def torch_step(x: np.ndarray, device: str) -> Measure:
    """The same game in PyTorch, eager."""
    import torch
    from torch.nn.functional import softplus

    generator, critic = (net.to(device) for net in torch_nets())
    adams = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (generator, critic)]
    steps = len(x) // BATCH
    rows = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous().to(device)

    def step(real: torch.Tensor) -> None:
        fake = generator(torch.randn(BATCH, LATENT, device=device)).detach()
        adams[1].zero_grad(set_to_none=True)
        (softplus(-critic(real)).mean() + softplus(critic(fake)).mean()).backward()
        adams[1].step()
        adams[0].zero_grad(set_to_none=True)
        softplus(-critic(generator(torch.randn(BATCH, LATENT, device=device)))).mean().backward()
        adams[0].step()

    def measure() -> float:
        began = time.perf_counter()
        for i in range(steps):
            step(rows[i * BATCH : (i + 1) * BATCH])
        if device == 'cuda':
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / steps

    return measure


def contest(device: str) -> Contest:
    steps = STEPS[device]
    x = data(steps)
    contenders = {'ours, engine': engine(trainer(), x, BATCH, steps), 'XLA convolution, loop': flax_layers(x)}
    want = {'XLA convolution, loop': 2.5} if device == 'cpu' else {}
    notes: tuple[str, ...] = ()
    try:
        contenders['PyTorch eager'] = torch_step(x, device)
        want['PyTorch eager'] = 1.0
    except ImportError:
        notes = ('PyTorch is not installed (requirements-benchmark.txt)',)
    return Contest(
        name='DCGAN 28x28, batch 64, width 64', unit='training step', contenders=contenders, want=want, notes=notes
    )
