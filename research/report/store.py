"""All numbers of all runs, as one table to ask questions of in SQL. DuckDB reads, filters, sorts, prints and exports.

Every line of every results.jsonl is a row of the table `results`. `values` and `settings` are structs of what the lines
have: `values['trainer.model.beta'] > 1` compares numbers, not texts. A line that a crash cut short is not a row.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from research.report.markup import plain, shorten
from research.types import BadInput

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
else:
    DuckDBPyConnection = Any

FILE = 'results.jsonl'
SHOWN = 'run, metric, round(value, 5) AS value, unit, kind, split, n, samples, seed'  # fits 120 columns
LINE = {
    'metric': 'VARCHAR', 'value': 'DOUBLE', 'unit': 'VARCHAR', 'kind': 'VARCHAR', 'split': 'VARCHAR', 'n': 'BIGINT',
    'config': 'VARCHAR', 'model': 'VARCHAR', 'trainer': 'VARCHAR', 'seed': 'BIGINT', 'overrides': 'VARCHAR[]',
    'measure': 'VARCHAR', 'nats': 'VARCHAR', 'time': 'TIMESTAMPTZ', 'data': 'JSON', 'settings': 'JSON', 'values': 'JSON',
    'trained': 'JSON', 'evaluated': 'JSON',
}  # fmt: skip
# Within a run the last line of a metric, split and number of samples is the one that counts: `latest`.
TABLE = """
CREATE TABLE results AS SELECT
    regexp_replace(filename, '/[^/]*$', '') AS run, config, model, trainer, seed, metric, value, unit, kind, split, n,
    (settings->>'samples')::BIGINT AS samples, (settings->>'standard_error')::DOUBLE AS error,
    data->>'name' AS data, data->>'values' AS preprocessing, measure, data->>'sha256' AS data_sha256,
    trained->>'commit' AS "commit", trained->>'device' AS device, trained->>'$.versions.jax' AS jax,
    evaluated->>'commit' AS evaluated_commit, evaluated->>'device' AS evaluated_device, time::TIMESTAMP AS time,
    place = max(place) OVER (PARTITION BY filename, metric, split, settings->>'samples') AS latest, nats, overrides,
    data->'protocol' AS protocol, trained->'versions' AS versions, evaluated->'versions' AS evaluated_versions,
    {settings} AS settings, {values} AS "values"
FROM lines WHERE metric IS NOT NULL AND value IS NOT NULL ORDER BY run, place
"""


def table(folders: Sequence[str | Path]) -> DuckDBPyConnection:
    """A connection whose table `results` has all results below `folders`. BadInput where there are none."""
    try:
        import duckdb
    except ImportError:
        raise BadInput('results are queried through DuckDB, which is not here: pip install duckdb') from None
    paths = files(folders)
    connection = duckdb.connect()
    connection.execute("SET threads = 1; SET TimeZone = 'UTC'")  # one thread keeps the lines in their order
    read = (
        'CREATE TABLE lines AS SELECT *, row_number() OVER () AS place FROM read_json(?, columns = '
        f"{LINE!r}, format = 'newline_delimited', ignore_errors = true, filename = true)"
    )
    connection.execute(read, [[glob.escape(str(path)) for path in paths]])
    structs = {name: _struct(connection, name) for name in ('settings', 'values')}
    connection.execute(TABLE.format(settings=structs['settings'], values=structs['values']))
    if not connection.execute('SELECT 1 FROM results LIMIT 1').fetchall():
        raise BadInput(f'{_listed(folders)}: there are {len(paths)} {FILE}, and not one result in them')
    return connection


def files(folders: Sequence[str | Path]) -> list[Path]:
    """All results.jsonl at or below `folders`, each once."""
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise BadInput(f'{plain(folder)} is not a folder; give folders with runs in them, or nothing for runs')
    found = sorted({path for folder in folders for path in Path(folder).rglob(FILE) if path.is_file()})
    unique = list({path.resolve(): path for path in found}.values())
    if not unique:
        raise BadInput(f'{_listed(folders)}: no results there; python -m scripts.evaluate RUN makes some')
    return unique


def query(
    connection: DuckDBPyConnection,
    select: str | None = None,
    where: str | None = None,
    group: str | None = None,
    order: str | None = None,
) -> int:
    """Make the table `answer` of SELECT select FROM results WHERE where GROUP BY group ORDER BY order; how many rows.

    BadInput says in one sentence what SQL did not accept, or that nothing matches.
    """
    import duckdb

    asked = {'--select': select, '--where': where, '--group': group, '--order': order}
    told = ' '.join(f'{flag} {shorten(plain(text), 120)}' for flag, text in asked.items() if text)
    statement = f'CREATE OR REPLACE TABLE answer AS SELECT {select or SHOWN} FROM results'
    statement += f' WHERE ({where}\n)' if where else ''
    statement += f' GROUP BY {group}' if group else ''
    statement += f' ORDER BY {order}' if order else ''
    try:
        connection.execute(statement)
        ((count,),) = connection.execute('SELECT count(*) FROM answer').fetchall()
    except duckdb.Error as error:
        raise BadInput(f'{told}: {_reason(connection, error)}') from None
    if not count:
        raise BadInput(f'no result matches {told}')
    return int(count)


def show(connection: DuckDBPyConnection, width: int) -> None:
    """Print the answer."""
    connection.sql('FROM answer').show(max_width=width, max_rows=10_000)


def export(connection: DuckDBPyConnection, path: str, form: Literal['csv', 'parquet']) -> None:
    """Write the answer to a file."""
    import duckdb

    quoted = path.replace("'", "''")
    try:
        connection.execute(f"COPY answer TO '{quoted}' (FORMAT {form})")
    except duckdb.Error as error:
        raise BadInput(f'--{form} {plain(path)} cannot be written: {_first(error)}') from None


def _struct(connection: DuckDBPyConnection, name: str) -> str:
    """SQL that reads a JSON column as a struct of all fields that any line has, of the types they have."""
    ((shape,),) = connection.execute(f'SELECT json_group_structure("{name}") FROM lines').fetchall()
    if not shape or not shape.startswith('{') or shape == '{}':
        return f'"{name}"'
    quoted = shape.replace("'", "''")
    return f'json_transform("{name}", \'{quoted}\')'


def _reason(connection: DuckDBPyConnection, error: Exception) -> str:
    """DuckDB's reason; for a column that does not exist with those that do."""
    if 'Referenced column' in str(error):
        columns = [row[0] for row in connection.execute('DESCRIBE results').fetchall()]
        return f'{_first(error).split("!")[0]}; the columns are {", ".join(columns)}'
    if 'key' in str(error) and 'struct' in str(error):
        return f'{_first(error)}; --select "values" shows all there are'
    return _first(error)


def _first(error: Exception) -> str:
    """The first line of DuckDB's message, without the name of the error."""
    line = plain(str(error).strip().split('\n')[0])
    return line.partition(' Error: ')[2] or line


def _listed(folders: Sequence[str | Path]) -> str:
    return ', '.join(plain(folder) for folder in folders)
