"""One device against eight simulated ones: the same training to rounding, and parameters that really are split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from research.engine import fit
from research.engine.mesh import Mesh
from research.engine.plan import Plan
from research.maths.adversarial import NonSaturating
from research.maths.likelihoods import Gaussian
from research.models.gan import GAN
from research.models.mixture import GaussianMixture
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.trainers.adversarial import AdversarialTrainer
from research.trainers.em import EMTrainer
from research.trainers.gradient import GradientTrainer

ROWS, DIMS, BATCH, EPOCHS = 160, 16, 16, 5  # 50 steps
WIDE = MLP(hidden=(32, 32))
NORMED = MLP(hidden=(32, 32), batch_norm=True)  # its moments are of the whole batch, over all devices
TRAINERS: dict[str, Any] = {
    'vae': GradientTrainer(model=VAE(encoder=WIDE, decoder=WIDE, likelihood=Gaussian(), latent=4), learning_rate=1e-3),
    'gan': AdversarialTrainer(
        model=GAN(generator=NORMED, critic=WIDE, adversary=NonSaturating(), latent=4, output='identity'),
        learning_rate=1e-3,
        critic_learning_rate=1e-3,
        ema=0.9,
    ),
    'em': EMTrainer(model=GaussianMixture(components=4, variance_floor=1e-2)),
}
MESHES = {'data=8': Mesh(data=8), 'data=4,model=2': Mesh(data=4, model=2)}


def data() -> np.ndarray:
    """Points around four centres."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, DIMS))
    return (centres[rng.integers(0, 4, ROWS)] + 0.3 * rng.normal(size=(ROWS, DIMS))).astype(np.float32)


def trained(name: str, mesh: Mesh, folder: Path) -> tuple[Any, list[dict[str, float]]]:
    plan = Plan(TRAINERS[name], lambda x, key: x, data(), EPOCHS, BATCH, 0, mesh)
    state = fit.fit(plan, folder, quiet=True)
    return state, [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


@pytest.fixture(scope='module', params=TRAINERS)
def alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, list[Any]]:
    return request.param, *trained(request.param, Mesh(), tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize('mesh', MESHES.values(), ids=MESHES)
def test_eight_devices_train_as_one(alone: tuple[str, Any, list[Any]], mesh: Mesh, tmp_path: Path) -> None:
    """Measured: losses within 2e-7 (VAE, GAN) and 2e-6 (EM) of one device's after 50 steps; the bound is the promise."""
    if len(jax.devices()) < 8:
        pytest.skip('needs eight devices, simulated or real')
    name, state, rows = alone
    split, found = trained(name, mesh, tmp_path)
    for ours, theirs in zip(found, rows, strict=True):
        losses = [key for key in theirs if key.endswith('loss')]
        assert losses
        for key in losses:
            np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-5, err_msg=key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), state, split)
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(split)} == {8}
    for leaf in jax.tree.leaves(split):
        whole = mesh.model == 1 or leaf.ndim < 2 or all(side % mesh.model for side in leaf.shape)
        assert leaf.sharding.is_fully_replicated == whole
        assert leaf.addressable_shards[0].data.size == (leaf.size if whole else leaf.size // mesh.model)
