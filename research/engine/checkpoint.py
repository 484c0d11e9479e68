"""Checkpoints through Orbax: atomic, versioned, the last few kept. A damaged one is passed over for the one before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from research.types import BadInput

FORMAT = 1
KEPT = 3


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

    def latest(self) -> int | None:
        return self._manager.latest_step()

    def restore(self, template: Any) -> tuple[Any, Place, list[str]]:
        """The newest readable checkpoint, its place, and a sentence for each that could not be read.

        `template` has the shapes and types of what was saved. Raises BadInput where none can be read.
        """
        lost: list[str] = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            args = self._ocp.args.Composite(
                state=self._ocp.args.StandardRestore(template), meta=self._ocp.args.JsonRestore()
            )
            try:
                found = self._manager.restore(step, args=args)
                if found.meta['format'] > FORMAT:
                    raise ValueError(f'it has format {found.meta["format"]}, and this version reads up to {FORMAT}')
                return found.state, Place(found.meta['epoch'], found.meta['step']), lost
            except Exception as error:  # noqa: BLE001 - Orbax and TensorStore raise many kinds for a damaged file
                reason = str(error).strip().splitlines() or [type(error).__name__]
                lost.append(f'checkpoint {step} cannot be read ({reason[0][:160]})')
        raise BadInput(f'{self.folder}: no checkpoint can be read; {"; ".join(lost) or "there is none"}')

    def forget(self, after: int) -> None:
        """Delete the checkpoints numbered above `after`: damaged ones, or those of a run that is being redone."""
        for step in self._manager.all_steps():
            if step > after:
                self._manager.delete(step)

    def close(self) -> None:
        self._manager.close()
