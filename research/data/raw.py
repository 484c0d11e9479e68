"""From what a loader read to what a trainer is given: held out, transformed once where it must be, and described."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, overload

import numpy as np

from research.data.source import Data, Split, Streamed, Values, digest, prepare
from research.types import BadInput, Domain

Modality = Literal['image', 'points']
TEST_SEED = 777
VALID_STREAM = 1  # validation draws from the stream [seed, 1], so that its size never moves the test's bits


@dataclass(frozen=True, kw_only=True, eq=False)
class Raw:
    """A set as it was read, before anything is held out or transformed. `notes` go into the protocol; `factors` as in Data."""

    train: Split | Streamed
    test: Split
    valid: Split | None = None
    levels: int = 256
    sha256: str
    notes: dict[str, Any]
    factors: dict[str, int] | None = None


def digest_splits(train: Split, valid: Split | None, test: Split | None) -> str:
    """sha256 of the raw content of a set."""
    named = {'train': train, 'valid': valid, 'test': test}
    present = {name: split for name, split in named.items() if split is not None}
    labels = {f'{name}_label': split.label for name, split in present.items()}
    factors = {f'{name}_factors': split.factors for name, split in present.items()}
    return digest({name: split.x for name, split in present.items()} | labels | factors)


def domain_of(raw: Raw, name: str, values: Values, modality: Modality) -> Domain:
    """What the model sees of `raw` under `values`. Raises BadInput where the two do not go together."""
    if values not in get_args(Values):
        raise BadInput(f'values={values!r} is unknown: it may be {", ".join(get_args(Values))}.')
    shape, reals = raw.test.x.shape[1:], raw.train.x.dtype.kind == 'f'
    if reals and values in ('dequantise', 'integer'):
        raise BadInput(
            f"{name}, array 'train': it is {raw.train.x.dtype}, and values={values!r} needs integer grey levels."
        )
    if reals and values != 'as_is':
        check_range(raw, name, values)
    if values in ('binarise', 'threshold') or (values == 'as_is' and raw.levels == 2 and not reals):
        return Domain(kind='binary', shape=shape, modality=modality)
    quantised = 0 if reals else raw.levels
    if values == 'integer':
        return Domain(kind='integer', shape=shape, values=quantised, modality=modality)
    if values == 'dequantise':
        return Domain(kind='unit', shape=shape, values=quantised, cell=1 / raw.levels, modality=modality)
    if values == 'scale' or (reals and raw.levels == 2):
        return Domain(kind='unit', shape=shape, values=quantised, modality=modality)
    return Domain(kind='real', shape=shape, modality=modality)


def check_range(raw: Raw, name: str, values: Values) -> None:
    """Raises BadInput for reals outside [0, 1], which are no grey levels. A streamed set says so itself: levels = 2."""
    if isinstance(raw.train, Streamed) and raw.levels != 2:
        raise BadInput(
            f"{name}: values={values!r} needs numbers in [0, 1], and the set has others: use values='as_is'."
        )
    for split, x in (('train', raw.train), ('valid', raw.valid), ('test', raw.test)):
        if x and not isinstance(x, Streamed) and not (x.x.min() >= 0 and x.x.max() <= 1):
            raise BadInput(
                f'{name}, array {split!r}: it runs from {x.x.min():g} to {x.x.max():g}, and values={values!r} needs '
                f"numbers in [0, 1]: scale the array, or use values='as_is'."
            )


@overload
def hold_out(split: Split, count: int) -> tuple[Split, Split]: ...
@overload
def hold_out(split: Streamed, count: int) -> tuple[Streamed, Split]: ...
def hold_out(split: Split | Streamed, count: int) -> tuple[Split | Streamed, Split]:
    """All but the last `count` examples, and those (in memory)."""
    cut = len(split) - count
    if isinstance(split, Streamed):
        return Streamed(x=split.x.first(cut)), Split(x=split.x.rows.read(range(cut, cut + count)))
    return part(split, slice(None, cut)), part(split, slice(cut, None))


def part(split: Split, rows: slice) -> Split:
    """Some of the examples, with their labels and factors."""
    label, factors = (None if array is None else array[rows] for array in (split.label, split.factors))
    return Split(x=split.x[rows], label=label, factors=factors)


def transformed(split: Split, values: Values, levels: int, seed: list[int] | int) -> Split:
    """A split that is drawn once: `prepare` with the stream of `seed`."""
    return replace(split, x=prepare(split.x, values, levels, np.random.default_rng(seed)))


def assemble(
    raw: Raw, *, name: str, values: Values, modality: Modality, valid: int = 0, test_seed: int = TEST_SEED
) -> Data:
    """Data from a raw set: the last `valid` training examples held out, validation and test transformed once.

    Raises BadInput where `valid` leaves nothing to train on, or the set has a validation split of its own.
    """
    domain = domain_of(raw, name, values, modality)
    train, held = raw.train, raw.valid
    if valid and held:
        raise BadInput(f'valid={valid} is not accepted for {name!r}, which has a validation split: leave it at 0.')
    if not 0 <= valid < len(train):
        raise BadInput(
            f'valid={valid} is out of range: {name!r} has {len(train)} training examples, so 0 to {len(train) - 1}.'
        )
    if valid:
        train, held = hold_out(train, valid)
    sizes = {'train': len(train), 'valid': len(held) if held else 0, 'test': len(raw.test)}
    drawn = test_seed if values in ('binarise', 'dequantise') else None
    protocol = {'sizes': sizes, 'values': values, 'levels': raw.levels, 'test_seed': drawn, **raw.notes}
    if valid:
        protocol['valid'] = f'the last {valid} training examples'
    return Data(
        name=name,
        train=train,
        domain=domain,
        sha256=raw.sha256,
        values=values,
        levels=raw.levels,
        protocol=protocol,
        valid=transformed(held, values, raw.levels, [test_seed, VALID_STREAM]) if held else None,
        test=transformed(raw.test, values, raw.levels, test_seed),
        factors=raw.factors,
    )
