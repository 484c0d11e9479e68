"""Find a config by name, without importing what it imports until it is asked for."""

from __future__ import annotations

import ast
import difflib
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from research.types import BadInput

if TYPE_CHECKING:
    from research.run import Run

FOLDER = Path(__file__).resolve().parent.parent / 'configs'


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob('*.py') if path.stem != '__init__')


def summary(name: str) -> str:
    """The first line of a config's docstring, read without running it."""
    return (ast.get_docstring(ast.parse((FOLDER / f'{name}.py').read_text())) or '').split('\n')[0]


def listing() -> str:
    width = max(map(len, names()))
    return '\n'.join(f'{name:<{width}}  {summary(name)}' for name in names())


def find(name: str) -> None:
    """Raises BadInput with the nearest names where there is no such config."""
    if not re.fullmatch(r'\w+', name) or name not in names():
        near = difflib.get_close_matches(name, names(), n=3, cutoff=0.4)
        hint = f'the nearest are {", ".join(near)}' if near else '--list shows them'
        raise BadInput(f'config {name}: there is none of this name; {hint}')


def build(name: str) -> Run:
    find(name)
    run: Run = importlib.import_module(f'configs.{name}').config()
    return run
