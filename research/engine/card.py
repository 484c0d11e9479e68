"""The run card: all that is needed to know what a run was, and to load it again. RUN/card.json."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

from research.engine import override
from research.types import BadInput, Domain

FORMAT = 2  # 1: `run.devices` and `values.devices` in place of the mesh
MUST_HAVE = {'format': int, 'run': dict, 'data': dict, 'domain': dict, 'train_shape': list, 'levels': int}
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy', 'orbax-checkpoint', 'tensorflow-datasets')


def versions() -> dict[str, str]:
    found = {'python': platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache  # git takes 15 ms, and a sweep has many members
def commit() -> str | None:
    """The project's git commit, with '+' where files differ from it; None outside a checkout."""
    place = Path(__file__).parent
    try:
        head = subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=place, capture_output=True, text=True, timeout=5)
        changed = subprocess.run(['git', 'diff', '--quiet', 'HEAD'], cwd=place, capture_output=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() + ('+' if changed.returncode else '') if head.returncode == 0 else None


def device() -> str:
    devices = jax.devices()
    return f'{devices[0].device_kind} x{len(devices)}, {os.cpu_count()} cores'


def write(folder: Path, card: dict[str, Any]) -> None:
    """Atomically, so that a run folder never holds half a card."""
    partial = folder / 'card.json.partial'
    partial.write_text(json.dumps(card, indent=1, default=str) + '\n')
    partial.replace(folder / 'card.json')


def read(folder: Path) -> dict[str, Any]:
    """Raises BadInput where `folder` is no run folder, its card is damaged, or a later version wrote it."""
    path = folder / 'card.json'
    if not path.is_file():
        raise BadInput(f'{folder}: not a run folder (it has no card.json); python -m scripts.train makes one')
    try:
        card = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f'{path}: not readable as JSON ({error})') from None
    if not isinstance(card, dict):
        raise BadInput(f'{path}: not a run card')
    for name, kind in MUST_HAVE.items():
        if not isinstance(card.get(name), kind):
            raise BadInput(f'{path}: not a run card, {name} is missing or of another type')
    if card['format'] > FORMAT:
        raise BadInput(f'{path}: format {card["format"]}, and this version reads up to {FORMAT}')
    return migrated(card)


def migrated(card: dict[str, Any]) -> dict[str, Any]:
    """The card in today's format; what an earlier one did not have takes its default when the run is built."""
    if card['format'] >= 2 or 'devices' not in card['run']:
        return card
    run, values = dict(card['run']), dict(card.get('values') or {})
    run['mesh'] = {'class': 'research.engine.mesh.Mesh', 'data': run.pop('devices')}
    if 'devices' in values:
        values |= {'mesh': 'Mesh', 'mesh.data': values.pop('devices')}
    return card | {'run': run, 'values': values}


def domain(card: dict[str, Any]) -> Domain:
    fields = dict(card['domain'])
    return Domain(**fields | {'shape': tuple(fields['shape'])})


def difference(card: dict[str, Any], run: Any, where: str) -> str | None:
    """The first dotted field in which a config differs from the card's, but for how long it trains and saves."""
    free = {'epochs', 'checkpoint_every', 'keep_last', 'keep_best'}
    ours, theirs = override.flatten(run), override.flatten(override.from_json(card['run'], where))
    for field in sorted((ours.keys() | theirs.keys()) - free):
        if ours.get(field) != theirs.get(field):
            return f'{field} was {theirs.get(field)} and is now {ours.get(field)}'
    return None
