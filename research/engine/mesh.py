"""Where arrays live: a mesh of devices with three axes, in the config as `mesh=Mesh(data=4, model=2)`.

data     each batch is split over so many devices; gradients, EM statistics and batch-norm moments are summed across them
model    each large array of the state (parameters, moments, averages) is split over so many
member   the members of a sweep are split over so many

No model or trainer knows of it: XLA's partitioner (GSPMD, Xu et al. 2021, arXiv:2105.04663) inserts the communication. The
same mesh serves several hosts: `jax.devices()` then counts the devices of all of them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from research.types import BadInput, ranged


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mesh:
    """How many devices along each axis; their product is how many a run takes."""

    data: int = ranged(1, at_least=1)
    model: int = ranged(1, at_least=1)
    member: int = ranged(1, at_least=1)

    @property
    def size(self) -> int:
        return self.data * self.model * self.member


ONE = Mesh()


def build(shape: Mesh) -> jax.sharding.Mesh:
    """The devices in the asked shape. Raises BadInput where there are fewer."""
    found = len(jax.devices())
    if shape.size > found:
        asked = ', '.join(f'{axis}={n}' for axis, n in dataclasses.asdict(shape).items() if n > 1)
        raise BadInput(
            f'mesh: {asked} takes {shape.size} devices, and there are {found} ({jax.devices()[0].platform}); '
            f'expected a product of at most {found}'
        )
    processes = len({device.process_index for device in jax.devices()[: shape.size]})
    if processes < jax.process_count():
        raise BadInput(
            f'mesh: its product is {shape.size}, which leaves {jax.process_count() - processes} of {jax.process_count()} '
            f'processes without work; they have {found} devices together, expected a product of {found}'
        )
    # explicit axes, the default of make_mesh, would have every model speak of shardings
    axes = {'member': shape.member, 'data': shape.data, 'model': shape.model}
    return jax.make_mesh(
        tuple(axes.values()), tuple(axes), axis_types=(AxisType.Auto,) * 3, devices=jax.devices()[: shape.size]
    )


def whole(mesh: jax.sharding.Mesh) -> NamedSharding:
    """On all devices, whole."""
    return NamedSharding(mesh, PartitionSpec())


def replicate(tree: Any, mesh: jax.sharding.Mesh) -> Any:
    return jax.device_put(tree, whole(mesh))


def split_batch(batch: Any, mesh: jax.sharding.Mesh) -> Any:
    """Inside a compiled program: the leading axis of each array over the data axis."""
    if mesh.shape['data'] == 1:
        return batch
    return jax.lax.with_sharding_constraint(batch, NamedSharding(mesh, PartitionSpec('data')))


def spec(shape: tuple[int, ...], model: int) -> PartitionSpec:
    """How one array of the state is split: a matrix or more, along its last axis that `model` divides; else whole."""
    for axis in reversed(range(len(shape))):
        if model > 1 and len(shape) > 1 and shape[axis] % model == 0:
            return PartitionSpec(*(None,) * axis, 'model')
    return PartitionSpec()


def split_state(state: Any, mesh: jax.sharding.Mesh) -> Any:
    """Inside a compiled program: each large array over the model axis."""
    if mesh.shape['model'] == 1:
        return state
    return jax.tree.map(
        lambda a: jax.lax.with_sharding_constraint(a, NamedSharding(mesh, spec(a.shape, mesh.shape['model']))), state
    )


def place_state(state: Any, mesh: jax.sharding.Mesh, members: bool = False) -> Any:
    """Arrays, or their shapes, put where `split_state` keeps them; with `members`, the leading axis is theirs."""

    def sharding(shape: tuple[int, ...]) -> NamedSharding:
        inner = spec(shape[1:] if members else shape, mesh.shape['model'])
        return NamedSharding(mesh, PartitionSpec('member', *inner) if members else inner)

    def put(leaf: Any) -> Any:
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding(leaf.shape))
        return jax.device_put(leaf, sharding(leaf.shape))

    return jax.tree.map(put, state)


def local(array: Any) -> np.ndarray:
    """The whole of an array on this host, wherever its parts are."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable and not array.is_fully_replicated:
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.process_allgather(array, tiled=True))
    return np.asarray(array)
