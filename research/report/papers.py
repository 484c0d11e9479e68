"""Published tables as data files: one TOML file per table, read and checked whole before anything is trained.

    title, paper, arxiv, note       of the table; arxiv and note may be missing
    [[rows]]
    name, metric, protocol          what it is; protocol in words, with every deviation that is known
    published, spread               the value, and its +- where the source gives one
    tag, source                     [S] seen in the source, [S2] in a secondary one, [M] measured by us as an oracle, [U] from memory
    config, set, samples            how it is trained (`set` as --set takes it) and with how many samples it is scored
    band, band_from                 [low, high] that the mean over seeds must lie in, and where that band comes from
    seeds, deterministic, cost      how many seeds; a model that uses none needs one; the cost in words
    incomparable                    why the row is not judged
    fast                            true: cheap enough for --fast as it is; or a table [rows.fast] with what is different:
                                    metric, protocol, set (after the row's own), samples, band, band_from, seeds, cost

Nothing is registered: a file in the folder is a table.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from research.types import BadInput

Tag = Literal['S', 'S2', 'M', 'U']
METRICS = (
    'test_nll',
    'bits_per_dim',
    'pixel_mmd',
    'pixel_frechet',
    'ndb',
    'ndb_js',
)  # what `research.evaluate` measures
VARIANT = ('metric', 'protocol', 'set', 'samples', 'band', 'band_from', 'seeds', 'cost')
LONGEST = 1_000_000  # bytes of a file


@dataclass(frozen=True, kw_only=True)
class Row:
    name: str
    metric: str
    protocol: str
    tag: Tag
    source: str
    published: float | None = None
    spread: float | None = None
    config: str = ''
    set: tuple[str, ...] = ()
    samples: int | None = None
    band: tuple[float, float] | None = None
    band_from: str = ''
    seeds: int = 1
    deterministic: bool = False
    cost: str = ''
    incomparable: str = ''
    fast: bool | Row = False  # another row: what --fast runs in its place

    @property
    def judged(self) -> bool:
        """Whether its value may lie outside: never for a published value that nobody has seen."""
        return bool(self.config and self.band) and self.tag != 'U' and not self.incomparable

    def variant(self, fast: bool) -> Row | None:
        """The row as it is run, None where it does not belong to --fast."""
        if not fast:
            return self
        return self.fast if isinstance(self.fast, Row) else self if self.fast else None


@dataclass(frozen=True, kw_only=True)
class Table:
    name: str
    title: str
    paper: str
    rows: tuple[Row, ...]
    arxiv: str = ''
    note: str = ''


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob('*.toml'))


def find(folder: Path, name: str) -> Path:
    """The file of a table. Raises BadInput with the nearest names where there is none."""
    known = names(folder)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        raise BadInput(f'table {name}: there is none of this name; the nearest are {", ".join(near or known)}')
    return folder / f'{name}.toml'


def read(path: Path) -> Table:
    """One table. Raises BadInput that names the file, the row and the field of the first thing that is wrong."""
    try:
        if path.stat().st_size > LONGEST:
            raise BadInput(f'{path}: larger than {LONGEST} bytes; expected a table')
        content = tomllib.loads(path.read_text('utf-8'))
    except (OSError, ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise BadInput(f'{path}: not readable as TOML ({error})') from None
    fields = dataclasses.fields(Table)
    check_names(f'{path}', content, [f.name for f in fields if f.name != 'name'], ('title', 'paper', 'rows'))
    for name in ('title', 'paper', 'arxiv', 'note'):
        checked(f'{path}', name, content.get(name, ''), str)
    entries = content['rows']
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise BadInput(f'{path}: field rows: expected at least one [[rows]]')
    rows = tuple(row(f'{path}, row {i}', entry) for i, entry in enumerate(entries, start=1))
    twice = {r.name for r in rows if [other.name for other in rows].count(r.name) > 1}
    if twice:
        raise BadInput(f'{path}: field name: {min(twice)!r} stands for more than one row; expected a name of its own')
    return Table(name=path.stem, **content | {'rows': rows})


def row(where: str, entry: dict[str, Any]) -> Row:
    """One row and its fast variant; `where` begins every sentence of complaint."""
    if isinstance(entry.get('name'), str):
        where = f'{where} {entry["name"]!r}'
    own = {name: value for name, value in entry.items() if name != 'fast'}
    whole = build(where, own)
    fast = entry.get('fast', False)
    if isinstance(fast, bool):
        return dataclasses.replace(whole, fast=fast)
    if not isinstance(fast, dict):
        raise BadInput(f'{where}: field fast is {fast!r}; expected true, false or a table [rows.fast]')
    check_names(f'{where}, fast', fast, VARIANT, ())
    added = fast.get('set', [])
    both = [*own.get('set', []), *added] if isinstance(added, list) else added
    return dataclasses.replace(whole, fast=build(f'{where}, fast', own | fast | {'set': both}))


def build(where: str, entry: dict[str, Any]) -> Row:
    """A row without its variant."""
    hints = {name: hint for name, hint in typing.get_type_hints(Row).items() if name != 'fast'}
    check_names(where, entry, list(hints), ('name', 'metric', 'protocol', 'tag', 'source'))
    made = Row(**{name: checked(where, name, value, hints[name]) for name, value in entry.items()})
    check_sense(where, made)
    return made


def check_names(where: str, entry: dict[str, Any], known: list[str] | tuple[str, ...], needed: tuple[str, ...]) -> None:
    for name in entry:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
            raise BadInput(f'{where}: field {name} is unknown; the nearest are {", ".join(near)}')
    for name in needed:
        if name not in entry:
            raise BadInput(f'{where}: field {name} is missing')


def checked(where: str, name: str, value: Any, hint: Any) -> Any:
    """A value of a TOML file as the field's type."""
    options = get_args(hint) if type(None) in get_args(hint) else (hint,)
    kind = options[0]
    if kind in (str, bool) and type(value) is kind:
        return value
    if kind is int and type(value) is int and value >= 1:
        return value
    if kind is float and number(value):
        return float(value)
    if kind is Tag and value in get_args(Tag):
        return value
    if kind == tuple[str, ...] and isinstance(value, list) and all(isinstance(member, str) for member in value):
        return tuple(value)
    if kind == tuple[float, float] and isinstance(value, list) and len(value) == 2 and all(map(number, value)):
        return tuple(map(float, value))
    words: dict[Any, str] = {
        str: 'a text',
        bool: 'true or false',
        int: 'a whole number, at least 1',
        float: 'a finite number',
    }
    words |= {Tag: 'one of S, S2, M, U', tuple[str, ...]: 'a list of texts', tuple[float, float]: '[low, high]'}
    raise BadInput(f'{where}: field {name} is {str(value)[:60]!r}; expected {words[kind]}')


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_sense(where: str, row: Row) -> None:
    """What the fields of one row say together."""
    if row.band and row.band[0] > row.band[1]:
        raise BadInput(f'{where}: field band is {list(row.band)}; expected the lower end first')
    if row.band and not row.band_from:
        raise BadInput(f'{where}: field band_from is missing; expected where the band comes from')
    if row.config and row.metric not in METRICS:
        raise BadInput(f'{where}: field metric is {row.metric!r}; expected one of {", ".join(METRICS)}')
    if row.deterministic and row.seeds != 1:
        raise BadInput(f'{where}: field seeds is {row.seeds}; a deterministic row needs 1')
    if row.tag != 'U' and not row.judged and not row.incomparable:
        raise BadInput(f'{where}: it has no config or no band; expected both, or field incomparable to say why not')
