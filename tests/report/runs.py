"""Run folders for the tests, written as the engine writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DIGITS = {'kind': 'unit', 'shape': [8, 8, 1], 'modality': 'image', 'unit': 'example'}
TEXT = {'kind': 'tokens', 'shape': [64], 'modality': 'text', 'unit': 'character'}


def nll(value: float, kind: str = 'exact', unit: str = 'example', n: int = 397) -> dict[str, Any]:
    return {'metric': 'test_nll', 'value': value, 'unit': f'nats per {unit}', 'kind': kind, 'n': n, 'split': 'test'}


def bits(value: float, per: str = 'dimension') -> dict[str, Any]:
    unit = f'bits per {per}'
    return {'metric': 'bits_per_dim', 'value': value, 'unit': unit, 'kind': 'exact', 'n': 397, 'split': 'test'}


def figure(name: str, value: float) -> dict[str, Any]:
    return {'metric': name, 'value': value, 'unit': '', 'kind': 'estimate', 'n': 397, 'split': 'test'}


def make(
    folder: Path,
    config: str,
    results: Sequence[Mapping[str, Any]] = (),
    *,
    data: str = 'digits',
    domain: Mapping[str, Any] = DIGITS,
    protocol: Mapping[str, Any] | None = None,
    sha256: str = 'f' * 64,
    losses: Sequence[float] = (3.0, 2.0),
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """A run folder at `folder`; where `results` or `losses` are empty, their file is missing."""
    folder.mkdir(parents=True)
    card = {
        'format': 1,
        'config': config,
        'summary': 'a run for a test',
        'values': {'trainer.model.beta': 4.0, 'batch_size': 100},
        'overrides': ['trainer.model.beta=4'],
        'commit': 'abc123',
        'data': {'name': data, 'sha256': sha256, 'protocol': dict(protocol or {'binarise': 'dynamic'})},
        'domain': dict(domain),
        'versions': {'python': '3.11.7', 'jax': '0.10.2'},
        'device': 'cpu x2',
        'seed': 7,
        'parameters': 12345,
        'model': 'VAE',
        'trainer': 'GradientTrainer',
    }
    (folder / 'card.json').write_text(json.dumps(card | dict(extra or {})))
    epochs = [{'epoch': i + 1, 'step': 10 * (i + 1), 'seconds': 1.5, 'loss': loss} for i, loss in enumerate(losses)]
    for name, lines in (('metrics.jsonl', epochs), ('results.jsonl', list(results))):
        if lines:
            (folder / name).write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return folder
