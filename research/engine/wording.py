"""How an operation of a compiled step is named to whoever wrote the step.

By its layer (nets and their modules are scopes of the jaxpr: 'decoder/MLP/Dense_1'), by the line of this project that asked
for it, by the pass of the gradient, and by the range of the numbers that it took.
"""

from __future__ import annotations

import dataclasses
import re
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import JaxprEqn

from research.engine import override
from research.types import Array, Key, Net, Params

ENGINE = Path(__file__).resolve().parent
ROOT = ENGINE.parents[1]
BETWEEN = (ROOT / 'research' / 'nets', ROOT / 'research' / 'trainers')  # what calls from there tells nothing
NOT_LAYERS = re.compile(r'rematted_computation|checkpoint|remat|while|body|cond|scan|branch_\d+_fun|')


def sentence(chain: Sequence[JaxprEqn], what: str, taken: list[np.ndarray], then: Sequence[JaxprEqn]) -> str:
    """`chain` is the operation and what it is within, outermost first; `then` made a NaN of its infinity."""
    spans = ' and '.join(span(array) for array in taken)
    told = f'{operation(chain)}{spans and f" of {spans}"} gave {what}{where(chain)}'
    if then:
        told += f', and {operation(then)} made a NaN of it{where(then) if where(then) != where(chain) else " there"}'
    return f'it began {part(then or chain)}: {told}'


def operation(chain: Sequence[JaxprEqn]) -> str:
    return chain[-1].primitive.name


def span(array: np.ndarray) -> str:
    """The range of an array's numbers."""
    if not array.size:
        return 'nothing'
    if np.isnan(array).any():
        return 'numbers and NaN'
    low, high = array.min(), array.max()
    return f'{low:.4g}' if low == high else f'numbers from {low:.4g} to {high:.4g}'


def part(chain: Sequence[JaxprEqn]) -> str:
    """Where in a step an operation belongs: what a gradient transposed is the backward pass."""
    found = re.search(r'transpose\(|jvp\(', scopes(chain))
    if found is None:
        return 'outside of the gradient'
    return 'in the backward pass' if found[0] == 'transpose(' else 'in the forward pass'


def where(chain: Sequence[JaxprEqn]) -> str:
    """' in LAYER (FILE:LINE), called in FUNCTION (FILE:LINE)', as far as they are known."""
    frames = site(chain)
    name = layer(chain) or (frames[0].function if frames else '')
    told = (f' in {name}' if name else '') + (f' ({frames[0].place})' if frames else '')
    callers = [f for f in frames if f.path != frames[0].path and f.path.parent not in BETWEEN]
    return told + (f', called in {callers[0].function} ({callers[0].place})' if callers else '')


def scopes(chain: Sequence[JaxprEqn]) -> str:
    return '/'.join(str(equation.source_info.name_stack) for equation in chain)


def layer(chain: Sequence[JaxprEqn]) -> str:
    """'decoder/MLP/Dense_1' of 'transpose(jvp(decoder))/MLP/Dense_1'."""
    parts = re.sub(r'\w+\(|\)', '', scopes(chain)).split('/')
    return '/'.join(part for part in parts if not NOT_LAYERS.fullmatch(part))


class Frame(NamedTuple):
    """A line of a file that is neither a library's nor the engine's."""

    path: Path
    function: str
    line: int

    @property
    def place(self) -> str:
        path = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
        return f'{path}:{self.line}'


def site(chain: Sequence[JaxprEqn]) -> list[Frame]:
    """The lines that asked for an operation, innermost first; what an equation tells begins at the call around it."""
    found: list[Frame] = []
    for equation in chain:
        own = frames(equation)
        found = own if found and found[0] in own else own + found
    return found


def frames(equation: JaxprEqn) -> list[Frame]:
    """The lines of one equation's traceback, up to the function that `origin` traces."""
    traceback = equation.source_info.traceback
    found: list[Frame] = []
    every: list[Any] = traceback.frames if traceback is not None else []
    for frame in every:
        path, function = Path(frame.file_name).resolve(), frame.function_name.replace('.<locals>', '')
        if path.parent == ENGINE and function.endswith('origin_of'):
            break
        if path.parent != ENGINE and not library(path):
            found.append(Frame(path, function, frame.line_num))
    return found


def library(path: Path) -> bool:
    return 'site-packages' in path.parts or path.is_relative_to(sysconfig.get_paths()['stdlib']) or not path.is_file()


@dataclass(frozen=True)
class Named:
    """A net whose operations lie in a scope of the name it has in its model: `decoder`, where linen would only say `MLP`."""

    net: Net
    name: str

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
        net: Any = self.net  # linen's own apply takes more than the protocol says
        with jax.named_scope(self.name):
            return net.apply(params, x, shape, train=train, mutable=mutable, rngs=rngs)


def named(node: Any) -> Any:
    """`node` with a name around every net in it."""
    changes = {}
    for field in override.fields(node):
        value = getattr(node, field.name)
        if isinstance(value, Net):
            changes[field.name] = Named(value, field.name)
        elif dataclasses.is_dataclass(value):
            changes[field.name] = named(value)
    return dataclasses.replace(node, **changes)
