"""RUN/events.jsonl: what happened to a run besides training; a line for each rollback, alarm and stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from research.engine.checkpoint import Place

EVENTS = 'events.jsonl'


def read(folder: Path) -> list[dict[str, Any]]:
    """All events; a line that a crash cut short is passed over."""
    found = []
    path = folder / EVENTS
    for line in path.read_text(errors='replace').splitlines() if path.is_file() else ():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and {'event', 'epoch', 'step', 'rollbacks'} <= event.keys():
            found.append(event)
    return found


def note(folder: Path, event: str, place: Place, rollbacks: int, **more: Any) -> None:
    """Append one that happened at `place`, after so many rollbacks."""
    line = {'event': event, 'epoch': place.epoch, 'step': place.step, 'rollbacks': rollbacks} | more
    with (folder / EVENTS).open('a') as file:
        file.write(json.dumps(line) + '\n')


def forget(folder: Path, place: Place, rollbacks: int) -> None:
    """Drop the events that come again when a run goes on from `place` after so many rollbacks, so that none stands twice."""
    found = read(folder)
    here = (rollbacks, place.epoch, place.step)
    kept = [e for e in found if e['event'] == 'stopped' or (e['rollbacks'], e['epoch'], e['step']) <= here]
    if kept != found:
        partial = (folder / EVENTS).with_suffix('.partial')
        partial.write_text(''.join(json.dumps(event) + '\n' for event in kept))
        partial.replace(folder / EVENTS)
