"""Small runs that every later version has to read: `python -m tests.golden.make tests/golden/format_N`, once for each format.

A folder is what scripts.train leaves, but for pictures and events, and expected.npz: what the fitted model says of fixed inputs, what
it draws, and what its next epoch comes to, computed by the version that trained it. format_1 was made by the version before the
mesh (its cards have `devices`); the number is the card's.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from research import run as runs
from research.engine import override
from scripts import configs

EPOCHS = 2
RUNS = {
    'vae': (
        'vae_digits',
        'model.encoder.hidden=8',
        'model.decoder.hidden=8',
        'model.latent=2',
        'model.score_samples=5',
    ),
    'gan': ('gan_digits', 'model.generator.hidden=8', 'model.critic.hidden=8', 'model.latent=2'),
    'em': ('mixture_digits', 'model.components=3'),
}
KEPT = ('card.json', 'metrics.jsonl', 'checkpoints')
EXAMPLES = 8


def inputs(shape: tuple[int, ...]) -> np.ndarray:
    """[8, ...] grey levels in [0, 1]."""
    size = EXAMPLES * int(np.prod(shape))
    return (np.arange(size) % 17 / 17).astype(np.float32).reshape(EXAMPLES, *shape)


def says(folder: Path) -> dict[str, np.ndarray]:
    """What the model in a run folder computes."""
    fitted = runs.load(folder)
    model, shape = fitted.run.trainer.model, fitted.domain.shape
    found = {'samples': np.asarray(model.sample(fitted.params, jax.random.key(1), EXAMPLES, shape))}
    if hasattr(model, 'log_prob'):
        found['log_prob'] = np.asarray(model.log_prob(fitted.params, inputs(shape), jax.random.key(2)))
    return found


def next_epoch(folder: Path) -> dict[str, float]:
    """The metrics of one more epoch of it."""
    run: Any = runs.load(folder).run
    longer = dataclasses.replace(run, epochs=EPOCHS + 1)
    runs.train(longer, folder, resume=True, quiet=True)
    *before, last = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    assert ([row['epoch'] for row in before], last['epoch']) == ([1, 2], 3)
    return {name: last[name] for name in last if name.endswith('loss')}


def make(name: str, folder: Path) -> None:
    config, *words = RUNS[name]
    assignments = [f'epochs={EPOCHS}', *(f'trainer.{word}' for word in words)]
    whole = Path(tempfile.mkdtemp()) / name
    runs.train(override.apply(configs.build(config), assignments), whole, config=config, quiet=True)
    folder.mkdir(parents=True)
    for kept in KEPT:
        (shutil.copytree if (whole / kept).is_dir() else shutil.copy)(whole / kept, folder / kept)
    np.savez_compressed(folder / 'expected.npz', **says(whole), **next_epoch(whole))
    shutil.rmtree(whole.parent)


if __name__ == '__main__':
    for each in sys.argv[2:] or RUNS:
        make(each, Path(sys.argv[1]) / each)
