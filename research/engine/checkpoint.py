"""Checkpoints through Orbax: atomic, versioned, the last few kept. A damaged one is passed over for the one before it.

Orbax notices a truncated file (with a page of tracebacks from its threads), but a flipped bit in an array comes back as
another number: zarr's chunks carry no checksum. So each checkpoint is sealed with the sha256 of its files, which is
compared before anything of it is read.
"""

from __future__ import annotations

import hashlib
import json
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


class Checkpoints:
    """The checkpoints of one run folder. What is saved is one pytree and the place it was reached at."""

    def __init__(self, folder: Path):
        import orbax.checkpoint as ocp  # a second of import, and only here

        self._ocp = ocp
        self.folder = folder.resolve() / 'checkpoints'
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, create=True, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def save(self, total_step: int, tree: Any, place: Place) -> None:
        """Write `tree` under the number `total_step`, unless it is there already."""
        if total_step in self._manager.all_steps():
            return
        meta = {'format': FORMAT, 'epoch': place.epoch, 'step': place.step}
        args = self._ocp.args.Composite(state=self._ocp.args.StandardSave(tree), meta=self._ocp.args.JsonSave(meta))
        self._manager.save(total_step, args=args)
        self._manager.wait_until_finished()
        seal(self.folder / str(total_step))

    def latest(self) -> int | None:
        return self._manager.latest_step()

    def restore(self, template: Any) -> tuple[Any, Place, list[str]]:
        """The newest readable checkpoint, its place, and a sentence for each that could not be read.

        `template` has the shapes and types of what was saved. Raises BadInput where none can be read, or where a later
        version of this program wrote one: passing over what is whole would throw it away.
        """
        lost: list[str] = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                reason = damage(self.folder / str(step))
                if reason is None:
                    state, place = self._read(step, template)
                    return state, place, lost
            except BadInput:
                raise
            except Exception as error:  # Orbax and TensorStore raise many kinds for a damaged file
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            lost.append(f'checkpoint {step} cannot be read ({reason})')
        raise BadInput(f'{self.folder}: no checkpoint can be read; {"; ".join(lost) or "there is none"}')

    def _read(self, step: int, template: Any) -> tuple[Any, Place]:
        """What was saved under `step`; first of all its format, for by it the rest is read."""
        args = self._ocp.args
        meta = self._manager.restore(step, args=args.Composite(meta=args.JsonRestore())).meta
        if meta['format'] > FORMAT:
            raise BadInput(
                f'{self.folder / str(step)}: format {meta["format"]}, and this version reads up to {FORMAT}; '
                'use the version that wrote it, or delete it to go back to the one before'
            )
        found = self._manager.restore(step, args=args.Composite(state=args.StandardRestore(template)))
        return found.state, Place(meta['epoch'], meta['step'])

    def forget(self, after: int) -> None:
        """Delete the checkpoints numbered above `after`: damaged ones, or those of a run that is being redone."""
        for step in self._manager.all_steps():
            if step > after:
                self._manager.delete(step)

    def close(self) -> None:
        self._manager.close()


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
