"""Where arrays live: each batch is split over the devices of a mesh, the state is on all of them."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from research.types import BadInput


def data_mesh(devices: int) -> Mesh:
    """A mesh of `devices` along one axis, 'data'. Raises BadInput where there are fewer."""
    found = len(jax.devices())
    if devices > found:
        raise BadInput(f'devices={devices}: this machine has {found} ({jax.devices()[0].platform})')
    return jax.make_mesh((devices,), ('data',), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])


def replicate(tree: Any, mesh: Mesh) -> Any:
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def split_batch(batch: Any, mesh: Mesh) -> Any:
    """Inside a compiled program: the leading axis of each array over the devices."""
    if mesh.size == 1:
        return batch
    return jax.lax.with_sharding_constraint(batch, NamedSharding(mesh, PartitionSpec('data')))
