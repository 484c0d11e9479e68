"""Checkpoints through Orbax: atomic, written in the background, versioned; the last few and the best are kept.

Orbax notices a truncated file (with a page of tracebacks from its threads), but a flipped bit in an array comes back as
another number: zarr's chunks carry no checksum. So each checkpoint is sealed with the sha256 of its files, which is
compared before anything of it is read. A damaged one is passed over for the one before it.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from research.types import BadInput

FORMAT = 1
KEPT = 3
SEAL = 'sha256.json'  # in the checkpoint's own folder: {file: sha256}


class Place(NamedTuple):
    """Where a run is: `epoch` whole epochs done, and `step` steps of the next."""

    epoch: int
    step: int


class Unreadable(BadInput):
    """No checkpoint can be read."""


class Checkpoints:
    """The checkpoints of one run folder. What is saved is one pytree and the place it was reached at.

    Kept are the newest, the `last` newest of those that were due, and the one whose metric was least (`save(..., value)`)
    where any had one. One that was not due (`passing`: the run was interrupted there) is not gone back to when training goes
    wrong, and takes no place from those: an interrupted run has the same ones as one that was not.
    """

    def __init__(self, folder: Path, last: int = KEPT):
        import orbax.checkpoint as ocp  # a second of import, and only here

        self._ocp = ocp
        self.folder = folder.resolve() / 'checkpoints'
        self._values = {
            step: value for step in numbered(self.folder) if (value := _value(self.folder / str(step))) is not None
        }
        self._passing = {step for step in numbered(self.folder) if _meta(self.folder / str(step)).get('passing')}
        # Orbax's own BestN reads every checkpoint's metric as it starts, and gives up where one is damaged
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_Kept(last, self._values, self._passing), create=True
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix='seal')
        self._sealed: Future[None] | None = None

    def save(
        self,
        total_step: int,
        tree: Any,
        place: Place,
        value: float | None = None,
        notes: dict[str, Any] | None = None,
        passing: bool = False,
    ) -> None:
        """Begin to write `tree` under the number `total_step`, unless it is there already; `finish` waits for it.

        `notes` come back with it: what else decides how the run goes on.
        """
        self.finish()
        if total_step in self._manager.all_steps():
            return
        meta = {'format': FORMAT, 'epoch': place.epoch, 'step': place.step, 'value': value, 'notes': notes or {}}
        if passing:
            meta['passing'] = True
            self._passing.add(total_step)
        if value is not None and math.isfinite(value):
            self._values[total_step] = value
        args = self._ocp.args.Composite(state=self._ocp.args.StandardSave(tree), meta=self._ocp.args.JsonSave(meta))
        self._manager.save(total_step, args=args)
        # in the background too, and as soon as it is written: whoever is killed next resumes from this one
        self._sealed = self._sealer.submit(self._seal, total_step)

    def _seal(self, step: int) -> None:
        self._manager.wait_until_finished()
        if first_process() and (self.folder / str(step)).is_dir():
            seal(self.folder / str(step))

    def finish(self) -> None:
        """Wait for what is being written, until it is sealed."""
        if self._sealed is not None:
            self._sealed.result()
            self._sealed = None

    def latest(self) -> int | None:
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        return sorted(self._manager.all_steps())

    def due(self) -> list[int]:
        """Those that were due, and not saved in passing."""
        return [step for step in self.steps() if step not in self._passing]

    def restore(
        self, template: Any, at_most: int | None = None, exactly: int | None = None
    ) -> tuple[Any, Place, list[str], dict[str, Any]]:
        """The newest readable checkpoint, its place, a sentence for each that could not be read, and its notes.

        `template` has the shapes and types of what was saved; with `at_most`, none of a later step is read; with `exactly`,
        none but that one. Raises Unreadable where none can be read, BadInput where a later version of this program wrote
        one: passing over what is whole would throw it away.
        """
        self.finish()
        lost: list[str] = []
        for step in reversed(self.steps()):
            if (at_most is not None and step > at_most) or exactly not in (None, step):
                continue
            try:
                reason = damage(self.folder / str(step))
                if reason is None:
                    state, place, notes = self._read(step, template)
                    return state, place, lost, notes
            except BadInput:
                raise
            except Exception as error:  # Orbax and TensorStore raise many kinds for a damaged file
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            lost.append(f'checkpoint {step} cannot be read ({reason})')
        raise Unreadable(f'{self.folder}: no checkpoint can be read; {"; ".join(lost) or "there is none"}')

    def _read(self, step: int, template: Any) -> tuple[Any, Place, dict[str, Any]]:
        """What was saved under `step`; first of all its format, for by it the rest is read."""
        args = self._ocp.args
        meta = self._manager.restore(step, args=args.Composite(meta=args.JsonRestore())).meta
        if meta['format'] > FORMAT:
            raise BadInput(
                f'{self.folder / str(step)}: format {meta["format"]}, and this version reads up to {FORMAT}; '
                'use the version that wrote it, or delete it to go back to the one before'
            )
        found = self._manager.restore(step, args=args.Composite(state=args.StandardRestore(template)))
        return found.state, Place(meta['epoch'], meta['step']), meta.get('notes', {})

    def delete(self, step: int) -> None:
        self._manager.delete(step)
        self._values.pop(step, None)
        self._passing.discard(step)

    def forget(self, after: int) -> None:
        """Delete the checkpoints numbered above `after`, damaged or of a course that is given up, and what killed saves left."""
        self.finish()
        for step in self.steps():
            if step > after:
                self.delete(step)
        if first_process():
            for left in self.folder.glob('*.orbax-checkpoint-tmp'):
                shutil.rmtree(left, ignore_errors=True)

    def close(self) -> None:
        try:
            self.finish()
        finally:
            self._sealer.shutdown()
            self._manager.close()


class _Kept:
    """Which checkpoints stay: the newest, the `last` newest that were due, and the one of the least value."""

    def __init__(self, last: int, values: dict[int, float], passing: set[int]):
        self.last, self.values, self.passing = last, values, passing

    def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
        steps = [info.step for info in checkpoints]
        kept = set(sorted(step for step in steps if step not in self.passing)[-self.last :]) | {max(steps, default=0)}
        valued = [step for step in steps if step in self.values]
        kept |= {min(valued, key=lambda step: (self.values[step], step))} if valued else set()
        return [step in kept for step in steps]


def numbered(folder: Path) -> list[int]:
    """The steps that have a folder."""
    return [int(path.name) for path in folder.glob('*') if path.name.isdigit()] if folder.is_dir() else []


def _meta(step: Path) -> dict[str, Any]:
    """What was written beside a checkpoint's arrays, as far as it can be read."""
    try:
        found = json.loads((step / 'meta' / 'metadata').read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _value(step: Path) -> float | None:
    """The metric that a checkpoint was saved with."""
    value = _meta(step).get('value')
    return value if isinstance(value, float) and math.isfinite(value) else None


def first_process() -> bool:
    """Whether this process writes what is written once."""
    import jax

    return jax.process_index() == 0


def hashes(folder: Path) -> dict[str, str]:
    """{path within `folder`: sha256} of every file there but the seal."""
    files = sorted(path for path in folder.rglob('*') if path.is_file() and path.name != SEAL)
    found = {}
    for path in files:
        with path.open('rb') as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, 'sha256').hexdigest()
    return found


def seal(folder: Path) -> None:
    """Write the hashes of a whole checkpoint beside its files."""
    partial = folder / f'{SEAL}.partial'
    partial.write_text(json.dumps(hashes(folder), indent=1))
    partial.replace(folder / SEAL)


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None; one that a crash left without a seal is not judged here."""
    if not (folder / SEAL).exists():
        return None
    sealed, there = json.loads((folder / SEAL).read_text()), hashes(folder)
    for name in sorted(sealed):
        if sealed[name] != there.get(name):
            return f'its file {name} is {"not the one that was written" if name in there else "missing"}'
    return None
