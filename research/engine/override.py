"""A config is a tree of frozen dataclasses; here it is read and changed by dotted path, checked, and written as JSON.

Nothing is registered: the fields' names, types and ranges are the ones that the classes declare.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

from research.types import BadInput, Domain

LARGEST = 3.4028234e38  # of float32
LIMITS = {
    'above': (lambda value, limit: value > limit, 'above {}'),
    'at_least': (lambda value, limit: value >= limit, 'at least {}'),
    'below': (lambda value, limit: value < limit, 'below {}'),
    'at_most': (lambda value, limit: value <= limit, 'at most {}'),
}


def fields(node: Any) -> list[dataclasses.Field[Any]]:
    """The settings of one dataclass. Linen modules (they have a scope) bring two fields of their own that are none."""
    hidden = ('parent', 'name') if hasattr(node, 'scope') else ()
    return [f for f in dataclasses.fields(node) if f.init and f.name not in hidden]


def flatten(node: Any, prefix: str = '') -> dict[str, Any]:
    """{'trainer.model.beta': 1.0, ...}; a dataclass shows as its class's name at its own path."""
    values: dict[str, Any] = {}
    for field in fields(node):
        value, path = getattr(node, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            values[path] = type(value).__name__
            values |= flatten(value, path + '.')
        else:
            values[path] = value
    return values


def apply(node: Any, assignments: list[str]) -> Any:
    """`node` with each 'a.b=c' set. Raises BadInput for an unknown field or a value of another type."""
    for assignment in assignments:
        path, equals, words = assignment.partition('=')
        if not equals:
            raise BadInput(f"--set {assignment}: expected field=value, such as 'epochs=5'")
        node = _set(node, path.strip().split('.'), words.strip(), path.strip(), node)
    return node


def put(node: Any, path: str, value: Any) -> Any:
    """`node` with the field at `path` set to `value`, which is read as the command line would read it."""
    return _set(node, path.split('.'), text(value), path, node)


def text(value: Any) -> str:
    """A value as the command line takes it."""
    return ','.join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _set(node: Any, names: list[str], words: str, path: str, root: Any) -> Any:
    known = [f.name for f in fields(node)] if dataclasses.is_dataclass(node) else []
    if names[0] not in known:
        raise BadInput(f'{path}: no such field; the nearest are {", ".join(nearest(path, list(flatten(root))))}')
    old = getattr(node, names[0])
    if len(names) > 1:
        return dataclasses.replace(node, **{names[0]: _set(old, names[1:], words, path, root)})
    hint = hints(node)[names[0]]
    if dataclasses.is_dataclass(old) or not _settable(hint):
        raise BadInput(f'{path}={words}: this field holds a part of the model; exchange it in the config file')
    return dataclasses.replace(node, **{names[0]: parse(words, hint, path)})


def nearest(path: str, known: list[str]) -> list[str]:
    """The fields most like `path`, first those whose last name is like its own: 'beta' is near 'trainer.model.beta'."""
    last = {field: field.rpartition('.')[2] for field in known}
    names = difflib.get_close_matches(path.rpartition('.')[2], set(last.values()), n=2, cutoff=0.7)
    same = [field for field in known if last[field] in names]
    same.sort(key=lambda field: -difflib.SequenceMatcher(None, path, field).ratio())
    whole = difflib.get_close_matches(path, known, n=3, cutoff=0.5)
    return list(dict.fromkeys(same[:3] + whole))[:4] or known[:8]


def hints(node: Any) -> dict[str, Any]:
    return typing.get_type_hints(type(node))


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint alone."""
    return (
        typing.get_args(hint)
        if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
        else (hint,)
    )


def is_number(value: Any) -> bool:
    """True is none here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _settable(hint: Any) -> bool:
    simple = (int, float, str, bool, type(None))
    return all(h in simple or typing.get_origin(h) in (tuple, Literal) for h in alternatives(hint))


def parse(text: str, hint: Any, path: str) -> Any:
    """`text` as a value of the declared type. Raises BadInput naming the type that is accepted."""
    for option in alternatives(hint):
        try:
            return _parse_one(text, option)
        except ValueError:
            continue
    raise BadInput(f'{path}={text}: expected {describe(hint)}')


def _parse_one(text: str, hint: Any) -> Any:
    if hint is type(None) and text.lower() in ('none', 'null'):
        return None
    if hint is bool and text.lower() in ('true', 'false'):
        return text.lower() == 'true'
    if hint in (int, float):
        return hint(text)
    if hint is str:
        return text
    if typing.get_origin(hint) is Literal and text in typing.get_args(hint):
        return text
    if typing.get_origin(hint) is tuple:
        inner = text.strip('()[] ').removesuffix(',')
        parts = inner.split(',') if inner else []
        return tuple(_parse_one(part.strip(), typing.get_args(hint)[0]) for part in parts)
    raise ValueError(text)


def describe(hint: Any) -> str:
    """A type in a user's words."""
    names = {int: 'a whole number', float: 'a finite number', str: 'a text', bool: 'true or false', type(None): 'none'}
    parts = []
    for option in alternatives(hint):
        if typing.get_origin(option) is Literal:
            parts.append('one of ' + ', '.join(map(str, typing.get_args(option))))
        elif typing.get_origin(option) is tuple:
            parts.append(f'{names.get(typing.get_args(option)[0], "value").removeprefix("a ")}s, separated by commas')
        else:
            parts.append(names.get(option, getattr(option, '__name__', str(option))))
    return ' or '.join(parts)


def walk(node: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Every dataclass of the tree with its path (the root's is empty)."""
    yield prefix, node
    for field in fields(node):
        value = getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            yield from walk(value, f'{prefix}.{field.name}' if prefix else field.name)


def check(root: Any) -> None:
    """Types and ranges of every field, on concrete values. Raises BadInput for the first that is out of range."""
    for prefix, node in walk(root):
        declared = hints(node)
        for field in fields(node):
            path, value = f'{prefix}.{field.name}' if prefix else field.name, getattr(node, field.name)
            if value is None and (field.metadata.get('optional') or field.metadata.get('from_domain')):
                continue
            _check_type(value, declared[field.name], path)
            _check_range(value, field.metadata, path)


def _check_type(value: Any, hint: Any, path: str) -> None:
    if not _settable(hint) and (dataclasses.is_dataclass(value) or callable(value)):
        return  # a part of the model; whether it has the methods its place needs shows when the run is prepared
    if not any(_is_a(value, option) for option in alternatives(hint)):
        raise BadInput(f'{path}={value!r}: expected {describe(hint)}')


def _is_a(value: Any, option: Any) -> bool:
    """Whether `value` is of one plain type. True is no number here; NaN, infinity and what float32 makes infinite neither."""
    if option is type(None):
        return value is None
    if typing.get_origin(option) is Literal:
        return value in typing.get_args(option)
    if typing.get_origin(option) is tuple:
        return isinstance(value, tuple) and all(_is_a(member, typing.get_args(option)[0]) for member in value)
    if option is float:
        return is_number(value) and abs(value) <= LARGEST
    return option in (int, str, bool) and type(value) is option


def _check_range(value: Any, metadata: Any, path: str) -> None:
    limits = [
        (holds, words.format(metadata[name]), metadata[name])
        for name, (holds, words) in LIMITS.items()
        if name in metadata
    ]
    for member in value if isinstance(value, tuple) else (value,):
        if not all(holds(member, limit) for holds, _, limit in limits):
            shown = ','.join(map(str, value)) if isinstance(value, tuple) else value
            raise BadInput(f'{path}={shown}: expected a value {" and ".join(words for _, words, _ in limits)}')


def bind(node: Any, domain: Domain, prefix: str = '') -> Any:
    """`node` with every field that waits for the data (`from_domain`) filled in.

    Raises BadInput where one was set to something else: a language model of 3 symbols would score a text of 65 without
    complaint, and wrongly.
    """
    changes = {}
    for field in fields(node):
        value, source, path = getattr(node, field.name), field.metadata.get('from_domain'), prefix + field.name
        if source:
            changes[field.name] = getattr(domain, source)
            if value not in (None, changes[field.name]):
                raise BadInput(f'{path}={value}: the data decide this, and say {changes[field.name]}; leave it out')
        elif dataclasses.is_dataclass(value):
            bound = bind(value, domain, path + '.')
            changes |= {field.name: bound} if bound is not value else {}
    return dataclasses.replace(node, **changes) if changes else node


def to_json(node: Any) -> Any:
    """The tree as plain JSON; each dataclass names its class."""
    if dataclasses.is_dataclass(node):
        kind = f'{type(node).__module__}.{type(node).__qualname__}'
        return {'class': kind} | {f.name: to_json(getattr(node, f.name)) for f in fields(node)}
    if isinstance(node, tuple):
        return [to_json(member) for member in node]
    return node


def from_json(value: Any, where: str) -> Any:
    """The tree again. Only dataclasses of `research` are built; anything else in `where` is refused with BadInput."""
    if isinstance(value, list):
        return tuple(from_json(member, where) for member in value)
    if not isinstance(value, dict):
        return value
    module, _, name = str(value.get('class', '')).rpartition('.')
    kind = None
    if module.split('.')[0] == 'research' and name.isidentifier():
        try:
            kind = vars(importlib.import_module(module)).get(name)
        except ImportError:
            kind = None
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == module):
        raise BadInput(f'{where}: {value.get("class")!r} is no class of this version of research')
    try:
        return kind(**{k: from_json(v, where) for k, v in value.items() if k != 'class'})
    except TypeError as error:
        raise BadInput(f'{where}: {error}') from None
