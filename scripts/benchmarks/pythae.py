"""Pythae's own trainer on the VAE of scripts/benchmarks/vae.py: one epoch as `BaseTrainer.train` runs it."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import time
from typing import Any

import numpy as np

from scripts.benchmarks.contest import Measure

ROWS = 5000  # of the data: its trainer takes long


def epoch(x: np.ndarray, batch: int, hidden: int, latent: int) -> Measure:
    """Seconds per step of one epoch. Raises ImportError where Pythae is not installed."""
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from torch import nn

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(784, hidden), nn.ReLU())
            self.mean, self.log_var = nn.Linear(hidden, latent), nn.Linear(hidden, latent)

        def forward(self, x: Any) -> Any:
            h = self.body(x.reshape(len(x), -1))
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, 784), nn.Sigmoid())

        def forward(self, z: Any) -> Any:
            return ModelOutput(reconstruction=self.body(z).reshape(-1, 1, 28, 28))

    images = torch.from_numpy(x[:ROWS].reshape(-1, 1, 28, 28))
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=latent, reconstruction_loss='bce')
    model, data = VAE(config, Encoder(), Decoder()), BaseDataset(images, torch.zeros(len(images)))

    def measure() -> float:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            logging.disable(logging.INFO)
            settings = BaseTrainerConfig(
                output_dir=folder, num_epochs=1, per_device_train_batch_size=batch, learning_rate=1e-3, no_cuda=True
            )
            trainer = BaseTrainer(model, data, training_config=settings)
            began = time.perf_counter()
            trainer.train()
            seconds = time.perf_counter() - began
            logging.disable(logging.NOTSET)
        return seconds / (len(images) // batch)

    return measure
