"""Run folders for tests of the whole: what was trained, and how to look at it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from research import run as runs
from research.engine import override
from scripts import configs

SMALL = (
    '--set=epochs=2', '--set=trainer.model.encoder.hidden=8', '--set=trainer.model.decoder.hidden=8',
    '--set=trainer.model.latent=2', '--set=trainer.model.score_samples=20',
)  # fmt: skip


def digits(folder: Path, *more: str, config: str = 'vae_digits') -> Path:
    """A small run of `config` in `folder`, as `scripts.train` makes it."""
    assignments = [*(flag.removeprefix('--set=') for flag in SMALL), *more] if config == 'vae_digits' else [*more]
    run = override.apply(configs.build(config), assignments)
    summary = configs.summary(config)
    runs.train(run, folder, config=config, summary=summary, overrides=tuple(assignments), quiet=True)
    return folder


def card(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / 'card.json').read_text())
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def epochs(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, without how long the epochs took."""
    times = ('seconds', 'examples_per_second')
    return [{k: v for k, v in row.items() if k not in times} for row in lines(folder / 'metrics.jsonl')]


def snapshot(folder: Path) -> dict[str, str]:
    """{file: sha256} of all that is in a folder."""
    files = sorted(path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
