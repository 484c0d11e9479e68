"""Floor 7: a whole ablation as one program. Every cell of a grid from every seed, trained together, scored and compared.

    swept = sweep(run, {'trainer.model.beta': (0.5, 1, 2)}, seeds=4)
    print(swept.text())

Members that differ in numbers alone share one compilation (`research.grid`); they train side by side in one call, in several
where the memory asks for it, or spread over devices (`mesh.member`). With a folder each member is an ordinary run folder,
OUT/members/NNNN, so that it can be sampled, scored and explained like any other; a sweep that was killed goes on where its
checkpoints are, and members that are done are not done again. `research.executors` sends the tasks to other processes.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from research import executors, tasks
from research import grid as grids
from research.engine.logbook import Bar
from research.executors import Executor
from research.report import ablation, comparison, records
from research.report.comparison import Cell, Table
from research.report.markup import write_atomically
from research.report.study import Study
from research.run import Run
from research.tasks import OUTCOME, SPEC, Mode, Row, Sweep, Task, folder_of, lay_out, read, read_row, to_json
from research.types import BadInput

TABLE, PAGE = 'table.csv', 'index.html'


@dataclasses.dataclass(frozen=True)
class Swept:
    """A finished sweep: `rows` by member, how many compilation groups there were and compilations it took."""

    rows: list[Row]
    groups: int
    compilations: int
    seconds: float

    def tidy(self) -> list[dict[str, Any]]:
        """One plain dict per member: settings, seed, status, last metrics, scores."""
        table = []
        for row in self.rows:
            line = {'member': row.member, 'cell': row.cell, **row.settings, 'seed': row.seed, 'status': row.status}
            line |= {'failed_at': row.failed_at} | {f'train_{k}': v for k, v in row.metrics.items()}
            line |= {r.metric: r.value for r in row.scored.results} if row.scored else {}
            table.append(line)
        return table

    @functools.cached_property
    def by_number(self) -> dict[int, Cell]:
        """The grid's cells for `research.report.comparison`; failed members are left out and told of in the label."""
        found = {number: _cell(self.rows, number) for number in sorted({row.cell for row in self.rows})}
        return {number: cell for number, cell in found.items() if cell is not None}

    def cells(self) -> list[Cell]:
        return list(self.by_number.values())

    @functools.cached_property
    def table(self) -> Table | None:
        """Their comparison, made once: with one seed each it takes a bootstrap for every pair."""
        return comparison.compare(self.cells()) if self.by_number else None

    @property
    def measure(self) -> str:
        """What the cells are compared by, and its unit."""
        scored = next((row.scored for row in self.rows if row.scored and row.scored.results), None)
        return f'{scored.results[0].metric}, {scored.results[0].unit}' if scored else 'training loss'

    def text(self) -> str:
        """Cells with intervals over seeds, every pair with its test, and who failed."""
        lines = [f'{self.measure}', comparison.text(self.table)] if self.table else []
        for row in self.rows:
            if row.status == 'failed':
                lines.append(f'failed: {grids.describe(row.settings)} seed={row.seed}, NaN at {row.failed_at}')
        return '\n'.join(lines)


def sweep(
    run: Run,
    grid: Mapping[str, Sequence[Any]],
    seeds: int | Sequence[int] = 1,
    *,
    mode: Mode = 'vmap',
    members: int | None = None,
    shared_batches: bool = False,
    samples: int | None = None,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    executor: Executor | None = None,
    config: str = '',
    summary: str = '',
    data_dir: str | None = None,
    quiet: bool = False,
) -> Swept:
    """Train and score every combination of the grid's values from every seed (a number: from `run.seed` on).

    Raises BadInput, before anything is compiled, for a field, value or combination that does not fit.
    """
    if isinstance(seeds, int | np.integer):
        seeds = range(run.seed, run.seed + int(seeds))
    if not isinstance(seeds, Sequence | np.ndarray):
        raise BadInput(f'seeds={seeds}: expected a whole number, or a sequence of them')
    for name, count in (('members', members), ('samples', samples)):
        if count is not None and count < 1:
            raise BadInput(f'{name}={count}: expected at least 1')
    spec = Sweep(
        run=run,
        grid={path: values_of(path, values) for path, values in grid.items()},
        seeds=tuple(plain(seed) for seed in seeds),
        mode=mode,
        members=members,
        shared_batches=shared_batches,
        samples=samples,
        config=config,
        summary=summary,
        data_dir=data_dir,
    )
    parts = lay_out(spec)
    if executor is not None and out is None:
        raise BadInput('executor: its processes meet in a folder; give out')
    if resume and overwrite:
        raise BadInput('resume and overwrite: one continues the folder, the other deletes it; expected one of them')
    if executor is not None:
        executors.check(executor)
    if out is not None:
        claim(spec, out, resume, overwrite)
    began = time.perf_counter()
    if executor is not None and out is not None:
        compilations = executors.run(executor, out, unfinished(parts, out), quiet)
        return gather(out, compilations, time.perf_counter() - began)
    done = here(spec, parts, out, quiet)
    rows = sorted((row for found, _ in done for row in found), key=lambda row: row.member)
    swept = Swept(rows, groups(parts), sum(n for _, n in done), time.perf_counter() - began)
    if out is not None:
        save(spec, swept, out)
    return swept


def values_of(path: str, values: Any) -> tuple[Any, ...]:
    """A field's values. Raises BadInput for what is not a sequence of them."""
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
        raise BadInput(f'grid: {path}={values!r}; expected a sequence of values, such as ({values!r},)')
    return tuple(plain(value) for value in values)


def plain(value: Any) -> Any:
    """A NumPy scalar as Python's own number."""
    return value.item() if isinstance(value, np.generic) else value


def here(spec: Sweep, parts: list[Task], out: Path | None, quiet: bool) -> list[tuple[list[Row], int]]:
    """All tasks in this process, under one bar."""
    bar = Bar('sweep', sum(tasks.steps(spec, task) for task in parts), quiet)
    with nullcontext() if out is None else tasks.held(out, [task.number for task in parts]):
        bar.start(0)
        try:
            joined = [own[0]._replace(members=[m for task in own for m in task.members]) for own in tasks.whole(parts)]
            return [tasks.run_task(spec, task, out, bar) for task in joined]
        finally:
            bar.close()


def groups(parts: list[Task]) -> int:
    return len({task.group for task in parts})


def unfinished(parts: list[Task], out: Path) -> list[int]:
    """The tasks of which some member is not done."""
    return [t.number for t in parts if not all((folder_of(out, m) / OUTCOME).exists() for m in t.members)]


def claim(spec: Sweep, out: Path, resume: bool, overwrite: bool) -> None:
    """Make OUT this sweep's. Raises BadInput where it is something else's, or another sweep's."""
    path = out / SPEC
    text = json.dumps(to_json(spec), indent=1) + '\n'
    there = any(out.iterdir()) if out.is_dir() else out.exists()
    if there and not (resume or overwrite):
        raise BadInput(f'{out} exists; continue it with --resume, replace it with --overwrite, or choose another --out')
    if there and not path.is_file():
        raise BadInput(f'{out}: not a sweep folder (it has no {SPEC}); choose another --out')
    if there and resume:
        for name, old in json.loads(path.read_text()).items():
            if name not in ('members', 'data_dir') and old != json.loads(text).get(name):
                raise BadInput(f'{out}: cannot resume, its {name} is another; choose another --out')
    if there and overwrite:
        clear(out)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())


def clear(out: Path) -> None:
    """Empty a sweep's folder, its SPEC last: killed in between, it still is one, and may be overwritten again."""
    for path in sorted(out.iterdir(), key=lambda path: path.name == SPEC):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def gather(out: Path, compilations: int = 0, seconds: float = 0.0) -> Swept:
    """A sweep from its members' folders, whoever trained them. Raises BadInput naming members that are missing."""
    spec = read(out)
    parts = lay_out(spec)
    every = [member for task in parts for member in task.members]
    missing = [member.number for member in every if not (folder_of(out, member) / OUTCOME).exists()]
    if missing:
        shown = ', '.join(map(str, missing[:8])) + (', ...' if len(missing) > 8 else '')
        raise BadInput(f'{out}: {len(missing)} of {len(every)} members are not done ({shown}); continue with --resume')
    rows = sorted((read_row(out, member) for member in every), key=lambda row: row.member)
    swept = Swept(rows, groups(parts), compilations, seconds)
    save(spec, swept, out)
    return swept


def save(spec: Sweep, swept: Swept, out: Path) -> None:
    """OUT/table.csv and OUT/index.html, the page."""
    save_table(swept, out)
    scored = next((row.scored for row in swept.rows if row.scored and row.scored.results), None)
    study = Study(
        fields=list(spec.grid),
        seeds=spec.seeds,
        mode=spec.mode,
        groups=swept.groups,
        compilations=swept.compilations,
        seconds=swept.seconds,
        labels={row.cell: grids.describe(row.settings) for row in swept.rows},
        cells=swept.by_number,
        table=swept.table,
        metric=scored.results[0].metric if scored else 'training loss',
        rows=swept.tidy(),
        records=[records.read(folder, scores=False) for row in swept.rows if (folder := row.folder)],
    )
    ablation.write(study, out / PAGE)


def save_table(swept: Swept, out: Path) -> None:
    """OUT/table.csv: a line for each member."""
    lines = swept.tidy()
    columns = list(dict.fromkeys(name for line in lines for name in line))
    partial = out / f'{TABLE}.partial'
    with partial.open('w', newline='') as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(lines)
    partial.replace(out / TABLE)


def _cell(rows: Sequence[Row], number: int) -> Cell | None:
    """One cell from its members: test_nll where the model scores, else its first sample metric, else the training loss."""
    own = [row for row in rows if row.cell == number]
    fine = [row for row in own if row.scored is not None]
    if not fine:
        return None
    label = grids.describe(own[0].settings)
    if len(fine) < len(own):
        label += f' ({len(own) - len(fine)} failed)'
    seeds = [row.seed for row in fine]
    firsts = [row.scored.results[0] for row in fine if row.scored and row.scored.results]
    if not firsts:
        losses = [row.metrics.get('loss', float('nan')) for row in fine]
        return Cell(label=label, values=losses, unit='training loss', kind='estimate', seeds=seeds)
    nats = [row.scored.nats for row in fine if row.scored and row.scored.nats is not None]
    units = fine[0].scored.units if fine[0].scored else None
    return Cell(
        label=label,
        values=[result.value for result in firsts],
        nats=np.stack(nats) if len(nats) == len(fine) else None,
        units=units,
        unit=firsts[0].unit,
        kind=firsts[0].kind,
        seeds=seeds,
    )
