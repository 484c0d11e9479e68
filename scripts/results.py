"""Ask for numbers of any runs, in SQL: python -m scripts.results [FOLDER ...] [--where ...] [--select ...] [--order ...].

    python -m scripts.results runs --where "metric = 'test_nll' and seed < 3" --order value
    python -m scripts.results runs --select "values['trainer.model.beta'] as beta, avg(value), count(*)" \\
        --where "metric = 'test_nll' and latest and values['trainer.model.beta'] > 1" --group all
    python -m scripts.results runs sweeps --csv all.csv --parquet all.parquet

Every line of every results.jsonl below the folders (runs where none is given) is a row. Columns: run, config, model,
trainer, seed, metric, value, unit, kind, split, n, samples, error, data, preprocessing, measure, data_sha256, commit,
device, jax, evaluated_commit, evaluated_device, time, latest (the last of its kind in its run), nats, overrides,
protocol, versions, evaluated_versions, and two structs: settings['samples'], values['trainer.learning_rate'].
"""

from __future__ import annotations

import shutil

from absl import flags

from research.report import store
from scripts import cli

WIDTH = 120  # where the output is no terminal


def define_flags() -> None:
    """Flags are defined when run, not when imported: another script may have one of the same name."""
    flags.DEFINE_string('where', None, "SQL: which rows, such as \"metric = 'test_nll' and kind = 'exact'\".")
    flags.DEFINE_string('select', None, 'SQL: which columns; "*" for all of them.')
    flags.DEFINE_string('group', None, 'SQL: over what to group, "all" for all that --select does not sum up.')
    flags.DEFINE_string('order', None, 'SQL: by what to sort, such as "value desc".')
    flags.DEFINE_string('csv', None, 'Write the rows to this .csv, with all columns unless --select says which.')
    flags.DEFINE_string('parquet', None, 'Write the rows to this .parquet, likewise.')


def main(argv: list[str]) -> int:
    options = flags.FLAGS
    connection = store.table(argv[1:] or ['runs'])
    select = options.select or ('*' if options.csv or options.parquet else None)
    count = store.query(connection, select, options.where, options.group, options.order)
    if options.csv:
        store.export(connection, options.csv, 'csv')
    if options.parquet:
        store.export(connection, options.parquet, 'parquet')
    if options.csv or options.parquet:
        print(f'{count} rows in {" and ".join(filter(None, (options.csv, options.parquet)))}')
    else:
        store.show(connection, shutil.get_terminal_size((WIDTH, 24)).columns)
    return 0


if __name__ == '__main__':
    define_flags()
    cli.run(main)
