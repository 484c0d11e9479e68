"""Recompute published tables: python -m scripts.reproduce [TABLE ...] [--fast] [--seeds S] [--only TEXT] [--out runs/reproduce].

A table is a data file in experiments/papers; --list shows them. Runs are kept in --out and used again, so a command that was
stopped goes on when it is given again. Each table is printed, and written into its own section of --results.

Exit status: 0 every judged row lies in its band; 1 one does not; 4 none lies outside, but data of a judged row are not
here; 2 something given cannot be used; as scripts.train where it was stopped. Rows whose published value nobody has seen ([U]) are never judged.
"""

from __future__ import annotations

import datetime
import shlex
import sys
from pathlib import Path

from absl import flags

from research.report import papers, verdicts
from research.report.papers import Table
from scripts import cli, configs

PAPERS = Path(__file__).resolve().parent.parent / 'experiments' / 'papers'


def define_flags() -> None:
    """Flags are defined when run, not when imported: another script may have one of the same name."""
    flags.DEFINE_bool('fast', False, 'Only rows and variants that are cheap: all tables in minutes on two cores.')
    flags.DEFINE_integer('seeds', None, 'So many seeds for every row that has any, in place of its own.', lower_bound=1)
    flags.DEFINE_multi_string('only', [], 'Train only rows whose name holds this text; others show what they have.')
    flags.DEFINE_string('out', 'runs/reproduce', 'Folder of the runs; what is finished there is used again.')
    flags.DEFINE_string('results', 'RESULTS.md', 'File whose sections of these tables are replaced; made if missing.')
    flags.DEFINE_string('papers', str(PAPERS), 'Folder of the table files.')
    flags.DEFINE_string('data_dir', None, 'Where data sets are looked for, before TFDS_DATA_DIR and LIKENESS_DATA_DIR.')
    flags.DEFINE_bool('list', False, 'Show the tables and their rows, and leave.')


def main(argv: list[str]) -> int:
    options = flags.FLAGS
    folder = Path(options.papers)
    tables = [papers.read(papers.find(folder, name)) for name in argv[1:] or papers.names(folder)]
    if options.list:
        print('\n\n'.join(map(listing, tables)))
        return 0
    for table in tables:
        verdicts.check_marks(verdicts.read_text(Path(options.results)), mark(table), Path(options.results))
        for row in table.rows:
            if row.config:
                configs.find(row.config)
    from research import reproduce  # JAX is imported here, and not for --help, --list or an unknown table
    from research.engine.fit import Interrupted

    work = []
    for table in tables:
        built = {row.config: configs.build(row.config) for row in table.rows if row.config}
        work.append(
            reproduce.plan(
                table, built, fast=options.fast, seeds=options.seeds, only=options.only, out=Path(options.out)
            )
        )
    every = []
    for table, jobs in zip(tables, work, strict=True):
        try:
            outcomes = list(reproduce.outcomes(jobs, options.data_dir, quiet=not sys.stderr.isatty()))
        except Interrupted as stop:
            print(f'{stop}. The same command goes on.', flush=True)
            return stop.code
        print(f'\n{verdicts.text_table(table, outcomes)}\n', flush=True)
        today = datetime.date.today().isoformat()
        content = verdicts.section(table, outcomes, command(table), today)
        verdicts.replace_section(Path(options.results), mark(table), content)
        every += outcomes
    print(f'written: {options.results}; the runs: {options.out}')
    return verdicts.status(every)


def mark(table: Table) -> str:
    """What names a table's section: fast variants have one of their own."""
    return f'{table.name} fast' if flags.FLAGS.fast else table.name


def command(table: Table) -> str:
    """What makes this table again."""
    options = flags.FLAGS
    words = ['python', '-m', 'scripts.reproduce', table.name, *(['--fast'] if options.fast else [])]
    words += [f'--seeds={options.seeds}'] if options.seeds else []
    return shlex.join(words + [f'--only={text}' for text in options.only])


def listing(table: Table) -> str:
    """A table and its rows: what is published, and what each costs."""
    width = max(len(row.name) for row in table.rows)
    lines = [f'{table.name}: {verdicts.headline(table)}']
    for row in table.rows:
        value = '' if row.published is None else f'{row.published:g}'
        quick = 'fast' if row.fast else ''
        cost = row.cost if row.config else 'nothing to train'
        lines.append(f'  {row.name:<{width}}  {value:>9}  {f"[{row.tag}]":<4}  {quick:<4}  {cost}'.rstrip())
    return '\n'.join(lines)


if __name__ == '__main__':
    define_flags()
    cli.run(main)
