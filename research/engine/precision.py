"""Mixed precision: nets compute in bfloat16, everything else stays float32. Micikevicius et al. 2018, arXiv:1710.03740.

Parameters, optimiser moments, averages and running statistics are float32, and so are likelihoods, KL terms and losses: a
sum of 784 terms in bfloat16 would keep two digits. Only what happens inside a net runs on bfloat16 copies of its
parameters. bfloat16 has float32's range, so the loss needs no scaling.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from research.engine import override
from research.types import MUTABLE, Array, Key, Net, Params


@dataclass(frozen=True)
class Bfloat16:
    """A net that computes in bfloat16 on float32 parameters, and answers in float32."""

    net: Net

    def init(self, key: Key, x: Array, shape: tuple[int, ...]) -> Params:
        return self.net.init(key, x, shape)

    def apply(
        self,
        params: Params,
        x: Array,
        shape: tuple[int, ...],
        train: bool = False,
        mutable: Any = False,
        rngs: Any = None,
    ) -> Any:
        """The net's answer in float32; collections that are carried, such as batch statistics, stay as they are."""
        carried = {name: value for name, value in params.items() if name in MUTABLE}
        trained = {name: to(value, jnp.bfloat16) for name, value in params.items() if name not in MUTABLE}
        net: Any = self.net  # linen's own apply takes more than the protocol says
        answer = net.apply(trained | carried, to(x, jnp.bfloat16), shape, train=train, mutable=mutable, rngs=rngs)
        return to(answer, jnp.float32)


def to(tree: Any, dtype: Any) -> Any:
    """Every floating array as `dtype`."""
    return jax.tree.map(lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)


def apply(node: Any, precision: str) -> Any:
    """`node` with every net in it wrapped, where `precision` is 'bfloat16'."""
    if precision == 'float32':
        return node
    changes = {}
    for field in override.fields(node):
        value = getattr(node, field.name)
        if hasattr(value, 'scope'):
            changes[field.name] = Bfloat16(value)
        elif dataclasses.is_dataclass(value):
            changes[field.name] = apply(value, precision)
    return dataclasses.replace(node, **changes)
