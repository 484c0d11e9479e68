"""The floors: who may import whom, who may compile, and what is imported only where it is used."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / 'research').rglob('*.py'))
ENGINE_ONLY = {'jax.jit', 'jax.pmap', 'jax.make_mesh', 'jax.sharding', 'jax.shard_map', 'jax.device_put', 'jax.devices'}
SLOW = {'tensorflow_datasets', 'tensorflow', 'sklearn', 'scipy', 'PIL', 'pooch', 'orbax', 'tensorboardX', 'matplotlib'}
LONGEST = 300

each = pytest.mark.parametrize('path', FILES, ids=[path.relative_to(ROOT).as_posix() for path in FILES])


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def dotted(node: ast.expr) -> str:
    """'jax.sharding.Mesh' of an attribute chain, '' where it does not start at a name."""
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f'{inner}.{node.attr}' if inner else ''
    return node.id if isinstance(node, ast.Name) else ''


def names(path: Path) -> Iterator[str]:
    """All dotted names that a file uses or imports, wherever in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute):
            yield dotted(node)
        elif isinstance(node, ast.ImportFrom):
            yield from (f'{node.module}.{alias.name}' for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def imported(body: list[ast.stmt]) -> Iterator[str]:
    """The packages that are imported when the file is: at its top, in an if or a try, but not in a function."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split('.')[0]
        elif isinstance(node, ast.If | ast.Try) and 'TYPE_CHECKING' not in ast.dump(node):
            yield from imported([*node.body, *node.orelse])


def test_the_contracts_hold() -> None:
    """The contracts are in pyproject.toml: floors, flax in nets alone, no JAX in data and report."""
    if importlib.util.find_spec('importlinter') is None:
        pytest.skip('import-linter is not installed')
    program = 'from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))'
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '0 broken' in done.stdout


@each
def test_only_the_engine_compiles_and_places(path: Path) -> None:
    """No model, trainer or net names jit, a mesh or a device: the engine decides for all of them."""
    if path.is_relative_to(ROOT / 'research' / 'engine'):
        return
    used = {name for name in names(path) for banned in ENGINE_ONLY if f'{name}.'.startswith(f'{banned}.')}
    assert not used


@each
def test_members_are_mapped_by_the_engine(path: Path) -> None:
    """Models may map over examples inside a formula, and EM over the starts of one fit; no trainer maps over members of a sweep."""
    if path.parent.name in ('trainers', 'data', 'report') and path.name != 'em.py':
        assert not {'jax.vmap', 'jax.lax.map'} & set(names(path))


@each
def test_what_is_slow_to_import_is_imported_where_it_is_used(path: Path) -> None:
    assert not SLOW & set(imported(tree(path).body))


@each
def test_nothing_is_looked_up_by_a_name_in_a_string(path: Path) -> None:
    """No eval, no exec, no pickle; import_module is for the card alone, which checks what it gets."""
    used = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name)} | set(names(path))
    assert not {'eval', 'exec', 'compile', 'pickle', 'pickle.load', 'pickle.loads', '__import__'} & used
    if path.name != 'override.py':
        assert 'importlib.import_module' not in used


@each
def test_a_file_opens_with_its_story_and_stays_short(path: Path) -> None:
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text))
    assert text.count('\n') <= LONGEST
