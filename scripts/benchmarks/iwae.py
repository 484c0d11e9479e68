"""The training step of IWAE with k = 50 draws: 784-200-200-50, tanh, batch 20 (Burda et al. 2016). Ours is the engine's own epoch."""

from __future__ import annotations

import numpy as np

from research.maths.bounds import ImportanceWeighted
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Adam
from scripts.benchmarks import vae
from scripts.benchmarks.contest import Contest, Measure

BATCH, HIDDEN, LATENT, DRAWS, STEPS = 20, 200, 50, 50, 20


def trainer() -> GradientTrainer:
    net = MLP(hidden=(HIDDEN, HIDDEN), activation='tanh')
    model = VAE(
        encoder=net,
        decoder=net,
        latent=LATENT,
        objective=ImportanceWeighted(samples=DRAWS),
        start_at_mean=False,
    )
    return GradientTrainer(model=model, optimiser=Adam(eps=1e-4))


def torch_step(x: np.ndarray, device: str, fused: bool, compiled: bool) -> Measure:
    """The same step in PyTorch, all draws in one pass of the decoder."""
    import torch
    from torch import nn

    def net(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(inputs, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, outputs)
        ).to(device)

    encoder, decoder = net(784, 2 * LATENT), net(LATENT, 784)
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, eps=1e-4, fused=fused)
    rows = torch.from_numpy(x).to(device)

    def loss(batch: torch.Tensor) -> torch.Tensor:
        mean, log_var = encoder(batch).chunk(2, dim=1)
        noise = torch.randn(DRAWS, *mean.shape, device=device)
        z = mean + torch.exp(log_var / 2) * noise
        logits = decoder(z)
        log_p = (batch * logits - nn.functional.softplus(logits)).sum(dim=2)
        log_w = log_p - 0.5 * (z**2).sum(dim=2) + 0.5 * (noise**2 + log_var).sum(dim=2)
        return -(torch.logsumexp(log_w, dim=0) - np.log(DRAWS)).mean()

    return vae.torch_loop(loss, adam, rows, BATCH, STEPS, compiled)


def contest(device: str) -> Contest:
    x = vae.data()
    ours = vae.engine(trainer(), x, BATCH, STEPS)
    contenders, notes = vae.beside_torch(ours, lambda fused, compiled: torch_step(x, device, fused, compiled))
    want = {name: 1.2 for name in contenders if name.startswith('PyTorch')}
    name = f'IWAE 784-200-200-50, k = {DRAWS}, batch {BATCH}'
    return Contest(name=name, unit='training step', contenders=contenders, want=want, notes=notes)
