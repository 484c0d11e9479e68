"""Floor 7: train the rows of a published table over seeds, and say which lie in their band.

The seeds of a row are one sweep in OUT/<config>-<digest of all its settings, seeds and samples>: a row finds its own runs
again, finished ones are used as they are, what was stopped goes on, and a row whose settings were edited trains anew beside
them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from research import run as runs
from research import sweep as sweeps
from research.data.source import Data
from research.engine import override
from research.maths.statistics import t_interval
from research.report import records
from research.report.papers import Row, Table
from research.report.records import Result, RunRecord
from research.report.verdicts import Outcome
from research.run import Run
from research.tasks import Row as Member
from research.types import BadInput, Scorer


class Work(NamedTuple):
    """A row of a table with what it takes to run it; `run` is None where there is nothing to run."""

    row: Row
    fast: bool
    run: Run | None
    seeds: int
    folder: Path
    why: str = ''  # it is not run


def plan(
    table: Table, built: dict[str, Run], *, fast: bool, seeds: int | None, only: Sequence[str], out: Path
) -> list[Work]:
    """Every row, checked. Raises BadInput that names table and row for settings that its config does not take.

    `built` holds each config by name; `only` are texts, of which a row's name must hold one (none: all rows).
    """
    found = []
    for row in table.rows:
        chosen = row.variant(fast)
        if chosen is None or not chosen.config:
            why = '' if not row.config else f'full protocol only ({row.cost or "no fast variant"})'
            found.append(Work(row, False, None, 0, out, why))
            continue
        try:
            run = settle(chosen, built[chosen.config])
        except BadInput as error:
            raise BadInput(f'table {table.name}, row {chosen.name!r}: {error}') from None
        count = 1 if chosen.deterministic else seeds or chosen.seeds
        why = '' if not only or any(text in chosen.name for text in only) else 'not asked for'
        found.append(
            Work(
                chosen,
                chosen is not row,
                run,
                count,
                out / f'{chosen.config}-{digest(run, count, chosen.samples)}',
                why,
            )
        )
    return found


def settle(row: Row, run: Run) -> Run:
    """A row's run, at seed 0."""
    run = dataclasses.replace(override.apply(run, list(row.set)), seed=0)
    override.check(run)
    model = run.trainer.model
    bound = isinstance(model, Scorer) and model.log_prob_kind == 'bound'
    if row.metric in ('test_nll', 'bits_per_dim') and not isinstance(model, Scorer):
        raise BadInput(f'field metric is {row.metric!r}, and {type(model).__name__} has no log_prob')
    if bound and row.samples is None:
        raise BadInput(f'field samples is missing; {type(model).__name__} is scored by a bound, which needs it')
    if not bound and row.samples is not None:
        raise BadInput(f'field samples is {row.samples}; {type(model).__name__} is scored without any')
    return run


def digest(run: Run, seeds: int, samples: int | None) -> str:
    whole = json.dumps([override.to_json(run), seeds, samples], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:10]


def outcomes(work: Sequence[Work], data_dir: str | None, quiet: bool) -> Iterator[Outcome]:
    """Row by row: train what is not there yet, score it, and compare. With `quiet`, no bar of each run."""
    for job in work:
        began = time.perf_counter()
        outcome = run_row(job, data_dir, quiet)
        if outcome.values:
            print(f'{outcome.row.name}: {outcome.mean:.4f}, {time.perf_counter() - began:.1f} s', flush=True)
        yield outcome


def run_row(job: Work, data_dir: str | None, quiet: bool) -> Outcome:
    """One row. What stops it from having a value (no data, NaN) is its outcome, not an exception."""
    blank = Outcome(row=job.row, fast=job.fast, why=job.why)
    if job.run is None or (job.why and not (job.folder / sweeps.TABLE).is_file()):
        return blank  # a row that was not asked for is shown where it was run before
    try:
        data = job.run.data.load(data_dir)
    except BadInput as error:
        return dataclasses.replace(blank, why=str(error), missing=True)
    members = train(job, job.run, data_dir, quiet)
    failed = [f'seed {member.seed} at {member.failed_at}' for member in members if member.failed_at]
    if failed:
        return dataclasses.replace(blank, why=f'diverged, {", ".join(failed)}', diverged=True)
    found = [measured(member.folder, job.row, data, data_dir) for member in members if member.folder]
    values = tuple(result.value for result, _ in found)
    cards = tuple(whole for _, whole in found)
    return Outcome(
        row=job.row, fast=job.fast, values=values, interval=interval(values), result=found[0][0], cards=cards
    )


def train(job: Work, run: Run, data_dir: str | None, quiet: bool) -> list[Member]:
    """All seeds of a row as one sweep, trained and scored; what is done in its folder is not done again."""
    swept = sweeps.sweep(
        run, {}, job.seeds, mode='vmap' if job.seeds > 1 else 'loop', samples=job.row.samples, out=job.folder, resume=True,
        config=job.row.config, data_dir=data_dir, quiet=quiet,
    )  # fmt: skip
    return swept.rows


def measured(folder: Path, row: Row, data: Data, data_dir: str | None) -> tuple[Result, Mapping[str, Any]]:
    """The figure that a row compares, and the card of its run; what the sweep did not measure is measured now."""
    record = records.read(folder)
    if record.card['data'].get('sha256') != data.sha256:
        raise BadInput(f'{folder}: trained on other data than those here (their sha256 differs); choose another --out')
    figure = newest(record, row)
    if figure is None:
        runs.evaluate_folder(folder, row.samples, 'test', data_dir)
        figure = newest(records.read(folder), row)
    if figure is None:
        raise BadInput(f'{folder}: it gives no {row.metric}; expected a metric that this model and data have')
    return figure, record.card


def newest(record: RunRecord, row: Row) -> Result | None:
    """The last figure of the row's metric, a likelihood at as many samples; those of another measure are its own."""
    same = [line for line in record.lines if (line.metric, line.split) == (row.metric, 'test')]
    drawn = [line.settings.get('samples') if line.is_likelihood else row.samples for line in same]
    same = [line for line, samples in zip(same, drawn, strict=True) if row.samples in (None, samples)]
    return same[-1] if same else None


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % t-interval of the mean over seeds; one seed has none."""
    _, low, high, _ = t_interval(values)
    return None if low is None or high is None else (low, high)
