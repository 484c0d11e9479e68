"""The MLP VAE's training step: 784-512-16, batch 100, Bernoulli, Adam. Ours is the engine's own epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from research.engine import mesh
from research.engine import plan as plans
from research.engine import program as programs
from research.engine.plan import Plan
from research.engine.program import Program
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.trainers.gradient import GradientTrainer
from scripts.benchmarks import pythae
from scripts.benchmarks.contest import Contest, Measure

ROWS, BATCH, HIDDEN, LATENT, STEPS = 20_000, 100, 512, 16, 100


def data() -> np.ndarray:
    return (np.random.default_rng(0).random((ROWS, 784)) < 0.2).astype(np.float32)


def engine(trainer: object, x: np.ndarray, batch: int, steps: int) -> Measure:
    """Seconds per step of `steps` steps of the engine's compiled loop."""
    plan = Plan(trainer, lambda x, key: x, x, 1, batch, 0)  # type: ignore[arg-type]
    program, setting = Program(plan, mesh.build(mesh.ONE)), programs.one(plan, plans.numbers(plan))
    progress, on_device = program.init(setting, plans.sample(plan)), jax.device_put(x)
    course = program.course(setting, 0, None, len(x))

    def measure() -> float:
        began = time.perf_counter()
        jax.block_until_ready(program.advance(setting, progress, on_device, course, 0, steps))
        return (time.perf_counter() - began) / steps

    return measure


def trainer() -> GradientTrainer:
    net = MLP(hidden=(HIDDEN,))
    return GradientTrainer(model=VAE(encoder=net, decoder=net, latent=LATENT, start_at_mean=False))


def torch_loop(loss: Any, adam: Any, rows: Any, batch: int, steps: int, compiled: bool) -> Measure:
    """Seconds per step of `steps` PyTorch steps on batches of `rows`, on the device they are on."""
    import torch

    compute = torch.compile(loss) if compiled else loss

    def measure() -> float:
        order = torch.randperm(len(rows), device=rows.device)[: steps * batch].reshape(steps, batch)
        began = time.perf_counter()
        for i in range(steps):
            adam.zero_grad(set_to_none=True)
            compute(rows[order[i]]).backward()
            adam.step()
        if rows.is_cuda:
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / steps

    return measure


def beside_torch(ours: Measure, step: Callable[[bool, bool], Measure]) -> tuple[dict[str, Measure], tuple[str, ...]]:
    """Contenders, ours first, and notes; `step(fused, compiled)` makes PyTorch's, and is left out where it is not installed."""
    contenders = {'ours, engine': ours}
    try:
        contenders['PyTorch eager'] = step(False, False)
        contenders['PyTorch fused Adam'] = step(True, False)
        contenders['PyTorch compiled'] = step(True, True)
    except ImportError:
        return contenders, ('PyTorch is not installed (requirements-benchmark.txt)',)
    return contenders, ()


def torch_step(x: np.ndarray, device: str, fused: bool, compiled: bool) -> Measure:
    """The same step in PyTorch: eager, with fused Adam, or compiled as a whole."""
    import torch
    from torch import nn

    encoder = nn.Sequential(nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT)).to(device)
    decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 784)).to(device)
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=fused)
    rows = torch.from_numpy(x).to(device)

    def loss(batch: torch.Tensor) -> torch.Tensor:
        mean, log_var = encoder(batch).chunk(2, dim=1)
        z = mean + torch.exp(log_var / 2) * torch.randn_like(mean)
        logits = decoder(z)
        distortion = (nn.functional.softplus(logits) - batch * logits).sum(dim=1)
        rate = 0.5 * (log_var.exp() + mean**2 - 1 - log_var).sum(dim=1)
        return (distortion + rate).mean()

    return torch_loop(loss, adam, rows, BATCH, STEPS, compiled)


def contest(device: str) -> Contest:
    x = data()
    ours = engine(trainer(), x, BATCH, STEPS)
    contenders, notes = beside_torch(ours, lambda fused, compiled: torch_step(x, device, fused, compiled))
    want = {name: 1.2 for name in contenders if name.startswith('PyTorch')}
    try:
        contenders['Pythae, its trainer'] = pythae.epoch(x, BATCH, HIDDEN, LATENT)
        want['Pythae, its trainer'] = 3.0
    except ImportError:
        notes = (*notes, 'Pythae is not installed (pip install --no-deps pythae, and what it names)')
    return Contest(
        name='VAE 784-512-16, batch 100', unit='training step', contenders=contenders, want=want, notes=notes
    )
