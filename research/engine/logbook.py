"""What a run says while it trains: one JSON line per epoch, a bar or plain lines, and TensorBoard events where it can."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

METRICS = 'metrics.jsonl'


def rows(folder: Path) -> list[dict[str, Any]]:
    """The epochs that RUN/metrics.jsonl tells of; a line that a crash cut short is passed over."""
    if not (folder / METRICS).is_file():
        return []
    found = []
    for line in (folder / METRICS).read_text(errors='replace').splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get('epoch'), int):
            found.append(row)
    return found


def seconds(folder: Path) -> float:
    """What all epochs took together, in whichever call they were trained."""
    return float(sum(row.get('seconds', 0.0) for row in rows(folder)))


class Logbook:
    """Writes RUN/metrics.jsonl line by line. On resume, lines of epochs after `epoch` are dropped, so none stands twice."""

    def __init__(self, folder: Path, epoch: int, tensorboard: bool = True):
        self.path = folder / METRICS
        kept = [json.dumps(row) for row in rows(folder) if row['epoch'] <= epoch]
        partial = self.path.with_suffix('.partial')
        partial.write_text(''.join(line + '\n' for line in kept))
        partial.replace(self.path)
        self._file = self.path.open('a', buffering=1)
        self._events = None
        if tensorboard and importlib.util.find_spec('tensorboardX'):
            from tensorboardX import SummaryWriter  # half a second of import

            self._events = SummaryWriter(str(folder / 'tensorboard'), purge_step=epoch + 1)

    def write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row) + '\n')
        if self._events:
            for name, value in row.items():
                if name != 'epoch':
                    self._events.add_scalar(name, value, row['epoch'])

    def close(self) -> None:
        self._file.close()
        if self._events:
            self._events.close()


class Bar:
    """Progress over all steps: a bar with loss and examples/s on a terminal, one plain line per epoch elsewhere."""

    def __init__(self, name: str, steps: int, quiet: bool = False):
        self.terminal, self.quiet = sys.stderr.isatty() and not quiet, quiet
        self._name, self._steps, self._bar = name, steps, None

    def start(self, done: int) -> None:
        """Show the bar with `done` steps behind it."""
        self.close()
        if self.terminal:
            from tqdm import tqdm

            self._bar = tqdm(total=self._steps, initial=done, desc=self._name, unit='step', dynamic_ncols=True)

    def move(self, steps: int, epoch: str, loss: float | None, rate: float) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(f'epoch {epoch}' + _loss(loss) + f', {rate:,.0f} examples/s', refresh=False)
            self._bar.update(steps)

    def epoch(self, epoch: str, loss: float | None, rate: float) -> None:
        if not self.quiet and not (self.terminal and sys.stdout.isatty()):
            print(f'epoch {epoch}{_loss(loss)}  {rate:,.0f} examples/s', flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _loss(loss: float | None) -> str:
    return '' if loss is None else f'  loss {loss:.4f}'
