"""Checkpoints that were cut short, garbled, deleted or written by somebody else's version."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.engine import checkpoint
from research.engine.checkpoint import Checkpoints, Place
from research.types import BadInput

Damage = Callable[[Path], None]


def tree(shift: float = 0.0) -> Any:
    return {'kernel': jax.random.normal(jax.random.key(1), (60, 40)) + shift, 'count': jnp.int32(7), 'none': None}


def template() -> Any:
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=device), tree())


def saved(folder: Path, steps: int = 3) -> Path:
    """A run folder with checkpoints 1 .. steps, the tree shifted by the number of each."""
    book = Checkpoints(folder)
    for step in range(1, steps + 1):
        book.save(step, tree(step), Place(step, 0))
    book.close()
    return folder


def restored(folder: Path) -> tuple[Any, Place, list[str], dict[str, Any]]:
    book = Checkpoints(folder)
    try:
        return book.restore(template())
    finally:
        book.close()


def largest(step: Path) -> Path:
    """The file that holds the array."""
    return max((path for path in step.rglob('*') if path.is_file()), key=lambda path: path.stat().st_size)


def truncate(step: Path) -> None:
    path = largest(step)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(step: Path) -> None:
    """One bit of an array: Orbax itself reads it without complaint, as another number."""
    path = largest(step)
    garbled = bytearray(path.read_bytes())
    garbled[len(garbled) // 2] ^= 16
    path.write_bytes(bytes(garbled))


def empty(step: Path) -> None:
    for path in step.rglob('*'):
        if path.is_file():
            path.write_bytes(b'')


def without_meta(step: Path) -> None:
    (step / 'meta' / 'metadata').unlink()


def broken_seal(step: Path) -> None:
    (step / checkpoint.SEAL).write_text('{"state')


@pytest.mark.parametrize('damage', [truncate, flip, empty, without_meta, broken_seal])
def test_the_one_before_a_damaged_checkpoint_is_used(tmp_path: Path, damage: Damage) -> None:
    folder = saved(tmp_path)
    damage(folder / 'checkpoints' / '3')
    state, place, (sentence,), _ = restored(folder)
    assert place == Place(2, 0)
    np.testing.assert_array_equal(state['kernel'], tree(2)['kernel'])
    assert sentence.startswith('checkpoint 3 cannot be read (')
    assert '\n' not in sentence


def test_every_file_of_a_checkpoint_is_under_the_seal(tmp_path: Path) -> None:
    step = saved(tmp_path, 1) / 'checkpoints' / '1'
    assert checkpoint.damage(step) is None
    for path in sorted(path for path in step.rglob('*') if path.is_file() and path.name != checkpoint.SEAL):
        good = path.read_bytes()
        path.write_bytes(good + b'x')
        assert path.name in str(checkpoint.damage(step))
        path.write_bytes(good)
    assert checkpoint.damage(step) is None


def test_two_damaged_are_passed_over_and_forgotten(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    for number in ('2', '3'):
        truncate(folder / 'checkpoints' / number)
    book = Checkpoints(folder)
    _, place, lost, _ = book.restore(template())
    assert (place, len(lost)) == (Place(1, 0), 2)
    book.forget(1)
    assert book.latest() == 1
    book.save(2, tree(9), Place(2, 0))
    book.close()
    np.testing.assert_array_equal(restored(folder)[0]['kernel'], tree(9)['kernel'])


def test_where_none_can_be_read_the_user_is_told(tmp_path: Path) -> None:
    folder = saved(tmp_path, 2)
    for number in ('1', '2'):
        truncate(folder / 'checkpoints' / number)
    with pytest.raises(BadInput, match=r'no checkpoint can be read; checkpoint 2 cannot .*; checkpoint 1 cannot'):
        restored(folder)
    with pytest.raises(BadInput, match='there is none'):
        restored(tmp_path / 'new')


def test_a_later_format_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    """Going back to the one before would delete what a later version can still read."""
    step = saved(tmp_path, 2) / 'checkpoints' / '2'
    meta = json.loads((step / 'meta' / 'metadata').read_text())
    (step / 'meta' / 'metadata').write_text(json.dumps(meta | {'format': checkpoint.FORMAT + 1}))
    checkpoint.seal(step)
    with pytest.raises(BadInput, match=f'format {checkpoint.FORMAT + 1}, and this version reads up to'):
        restored(tmp_path)
    assert step.is_dir()


def test_what_a_killed_save_leaves_is_no_checkpoint(tmp_path: Path) -> None:
    folder = saved(tmp_path, 1)
    (folder / 'checkpoints' / '2.orbax-checkpoint-tmp').mkdir()
    (folder / 'checkpoints' / '1' / checkpoint.SEAL).unlink()  # killed after the save and before the seal
    assert restored(folder)[1:3] == (Place(1, 0), [])


def test_a_place_is_saved_once_and_only_the_last_are_kept(tmp_path: Path) -> None:
    book = Checkpoints(tmp_path)
    for step in range(1, 6):
        book.save(step, tree(step), Place(0, step))
    book.save(5, tree(50), Place(0, 5))
    state, place, lost, _ = book.restore(template())
    book.close()
    np.testing.assert_array_equal(state['kernel'], tree(5)['kernel'])
    assert (place, lost) == (Place(0, 5), [])
    kept = sorted(path.name for path in (tmp_path / 'checkpoints').iterdir() if path.is_dir())
    assert kept == ['3', '4', '5']


def test_the_best_is_kept_beside_the_last_and_known_again(tmp_path: Path) -> None:
    values = [5.0, 1.0, 4.0, 3.0, float('nan'), 6.0]
    book = Checkpoints(tmp_path, last=2)
    for step, value in enumerate(values):
        book.save(step, tree(step), Place(0, step), value)
    assert (book.close(), book.steps()) == (None, [1, 4, 5])
    book = Checkpoints(tmp_path, last=2)
    book.save(6, tree(6), Place(0, 6))
    book.save(7, tree(7), Place(0, 7), 0.5)
    book.close()
    assert book.steps() == [6, 7]  # the newer best takes the place of the older


def test_a_checkpoint_is_found_up_to_a_step(tmp_path: Path) -> None:
    book = Checkpoints(saved(tmp_path))
    assert book.restore(template(), at_most=2)[1] == Place(2, 0)
    book.close()


def test_notes_come_back_with_the_state(tmp_path: Path) -> None:
    book = Checkpoints(tmp_path)
    book.save(1, tree(), Place(1, 0), notes={'rollbacks': 2})
    assert book.restore(template())[3] == {'rollbacks': 2}
    book.close()
