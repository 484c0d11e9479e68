"""Floor 6: the parts of a sweep. A task is members of one compilation group that one process trains, scores and writes down.

Any process can take any task of a sweep's folder: OUT/sweep.json tells all, and the tasks are laid out the same everywhere.
A member is done when OUT/members/NNNN/outcome.json stands there, which is written last of all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from research import grid as grids
from research import run as runs
from research.data.chunks import Chunks
from research.data.source import Data
from research.engine import cache, card, override
from research.engine import members as engine
from research.engine import numbers as settings
from research.engine import plan as plans
from research.engine.logbook import Bar
from research.engine.members import Group, Outcome
from research.engine.plan import Plan
from research.evaluate import Fitted, Scored, evaluate, recall, record, score_results
from research.grid import Member
from research.report.markup import write_atomically
from research.run import Run
from research.types import BadInput, Scorer

Mode = Literal['vmap', 'map', 'loop']
SPEC, OUTCOME = 'sweep.json', 'outcome.json'


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All that decides a sweep. OUT/sweep.json is this, so that any process can take a part of it."""

    run: Run
    grid: dict[str, tuple[Any, ...]]
    seeds: tuple[int, ...]
    mode: Mode = 'vmap'
    members: int | None = None  # in one call; None: what the memory holds
    shared_batches: bool = False
    samples: int | None = None  # k of importance-weighted bounds
    config: str = ''
    summary: str = ''
    data_dir: str | None = None


class Task(NamedTuple):
    """Members of one compilation group that one process trains."""

    number: int
    group: int
    members: list[Member]


class Row(NamedTuple):
    """What became of one member."""

    member: int
    cell: int
    seed: int
    settings: dict[str, Any]
    status: Literal['done', 'failed']
    failed_at: str | None  # 'epoch 3, step 7' of its first NaN
    metrics: dict[str, float]  # means over the last epoch
    scored: Scored | None  # None where it failed
    folder: Path | None


def to_json(spec: Sweep) -> dict[str, Any]:
    fields = {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec)}
    return fields | {'run': override.to_json(spec.run)}


def read(out: Path) -> Sweep:
    """The sweep that a folder holds. Raises BadInput where it holds none."""
    path = out / SPEC
    if not path.is_file():
        raise BadInput(f'{out}: not a sweep folder (it has no {SPEC}); python -m scripts.sweep makes one')
    found = json.loads(path.read_text())
    found['run'] = override.from_json(found['run'], str(path))
    found['grid'] = {field: tuple(_tuples(v) for v in values) for field, values in found['grid'].items()}
    return Sweep(**found | {'seeds': tuple(found['seeds'])})


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def lay_out(spec: Sweep) -> list[Task]:
    """The tasks of a sweep, the same in every process: a compilation group, cut by `members` where that is given.

    One process that does them all joins those of a group again (`whole`), and has one compilation for them.
    """
    if spec.mode not in ('vmap', 'map', 'loop'):
        raise BadInput(f'mode={spec.mode}: expected vmap, map or loop')
    if spec.shared_batches and spec.mode == 'loop':
        raise BadInput('shared_batches: members share them within one program; expected mode vmap or map')
    found = grids.members(spec.run, spec.grid, spec.seeds)
    tasks: list[Task] = []
    for number, group in enumerate(grids.groups(found, lambda run: plans.numbers(planned(spec, run)[1]))):
        check(spec, group)
        size = spec.members or len(group)
        tasks += [
            Task(len(tasks) + i, number, group[at : at + size]) for i, at in enumerate(range(0, len(group), size))
        ]
    return tasks


def whole(tasks: list[Task]) -> list[list[Task]]:
    """The tasks by compilation group."""
    return [list(own) for _, own in itertools.groupby(tasks, key=lambda task: task.group)]


def check(spec: Sweep, group: list[Member]) -> None:
    """What members of one program cannot do. Raises BadInput."""
    plan = planned(spec, group[0].run)[1]
    if isinstance(plan.x, Chunks) and spec.mode != 'loop':
        raise BadInput(f'mode={spec.mode}: data that come in chunks are trained one run at a time; expected mode loop')
    devices = plan.mesh.member
    if spec.mode == 'loop' and devices > 1:
        raise BadInput(f'mesh.member={devices}: mode loop trains one member at a time; expected 1')


@functools.lru_cache(maxsize=4)
def _data(source: Any, data_dir: str | None) -> Data:
    loaded: Data = source.load(data_dir)
    return loaded


def planned(spec: Sweep, run: Run) -> tuple[Run, Plan, Data]:
    """A member's run as its data complete it, and its plan."""
    data = _data(run.data, spec.data_dir)
    return *runs.prepare(run, data), data


def steps(spec: Sweep, task: Task) -> int:
    plan = planned(spec, task.members[0].run)[1]
    return plan.epochs * plan.steps * len(task.members)


def run_task(spec: Sweep, task: Task, out: Path | None, bar: Bar) -> tuple[list[Row], int]:
    """Train and score a task's members, but for those that are done; how many compilations it took."""
    cache.enable()
    left = [member for member in task.members if out is None or not (folder_of(out, member) / OUTCOME).exists()]
    rows = [read_row(out, member) for member in task.members if member not in left] if out is not None else []
    if not left:
        return rows, 0
    plan = planned(spec, left[0].run)[1]._replace(seed=spec.seeds[0])  # whose batches are shared, whoever is left
    own = [_member(spec, member, plan, out) for member in left]
    group = Group(plan, own, spec.mode, spec.members, spec.shared_batches)
    at = 0
    for outcomes in group.outcomes(bar, resume=out is not None):
        rows += [finish(spec, m, o, plan, out) for m, o in zip(left[at : at + len(outcomes)], outcomes, strict=True)]
        at += len(outcomes)
    return rows, group.compilations


def _member(spec: Sweep, member: Member, plan: Plan, out: Path | None) -> engine.Member:
    """A member for the engine; with a folder, its card stands there before it trains."""
    data = _data(member.run.data, spec.data_dir)
    bound, folder = override.bind(member.run, data.domain), None
    if out is not None:
        folder = folder_of(out, member)
        folder.mkdir(parents=True, exist_ok=True)
        card.write(folder, described(spec, member, bound, plan, data))
    return engine.Member(settings.numbers(bound.trainer), member.seed, folder)


def overrides(member: Member) -> tuple[str, ...]:
    return tuple(f'{path}={override.text(value)}' for path, value in member.settings.items())


def described(spec: Sweep, member: Member, bound: Run, plan: Plan, data: Data) -> dict[str, Any]:
    """A member's card. Batches that are not its own seed's are one of its settings: no single run has them."""
    found = runs.describe(bound, plan._replace(seed=member.seed), data, spec.config, spec.summary, overrides(member))
    if spec.shared_batches:
        found['values'] |= {'shared_batches': spec.seeds[0]}
    return found


def folder_of(out: Path, member: Member) -> Path:
    return out / 'members' / f'{member.number:04d}'


def finish(spec: Sweep, member: Member, outcome: Outcome, plan: Plan, out: Path | None) -> Row:
    """Score a trained member and, last of all, write down that it is done."""
    data = _data(member.run.data, spec.data_dir)
    bound = override.bind(member.run, data.domain)
    folder, scored = None if out is None else folder_of(out, member), None
    at = None if outcome.failed is None else f'epoch {outcome.failed[0] + 1}, step {outcome.failed[1]}'
    if outcome.failed is None:
        params = bound.trainer.params(outcome.state)
        scored = score(Fitted(bound, params, data.domain), data, spec.samples)
        if any(not math.isfinite(result.value) for result in scored.results):
            scored, at = None, 'its score, which is not finite'
        if folder is not None and scored is not None:
            count = {'parameters': runs.parameters(bound.trainer.model, params)}
            card.write(folder, described(spec, member, bound, plan, data) | count)
            (folder / 'results.jsonl').unlink(missing_ok=True)  # of a process that was killed right here
            record(folder, scored)
    if folder is not None:
        note: dict[str, Any] = {'status': 'failed' if at else 'done', 'failed_at': at, 'metrics': outcome.metrics}
        note |= {'results': len(scored.results)} if scored is not None else {}
        write_atomically(folder / OUTCOME, json.dumps(note).encode())
    return _row(member, at, dict(outcome.metrics), scored, folder)


def _row(member: Member, at: str | None, metrics: Any, scored: Scored | None, folder: Path | None) -> Row:
    status: Literal['done', 'failed'] = 'failed' if at else 'done'
    return Row(member.number, member.cell, member.seed, member.settings, status, at, metrics, scored, folder)


def score(fitted: Fitted, data: Data, samples: int | None) -> Scored:
    """A likelihood where the model has one; distances of its samples where it has none."""
    if isinstance(fitted.model, Scorer):
        return score_results(fitted, data, samples)
    return evaluate(fitted, data, samples)


def read_row(out: Path, member: Member) -> Row:
    """A member that is done, from its folder; what was scored there since plays no part."""
    folder = folder_of(out, member)
    note = json.loads((folder / OUTCOME).read_text())
    scored = None if note['failed_at'] else recall(folder, note.get('results'))
    return _row(member, note['failed_at'], note['metrics'], scored, folder)


def work(out: Path, index: int, quiet: bool = True) -> int:
    """Do one task of a sweep's folder, as a process of its own does; how many compilations it took.

    Raises BadInput where another process has it in hand: a task that two have started is done by one.
    """
    spec = read(out)
    tasks = lay_out(spec)
    if not 0 <= index < len(tasks):
        raise BadInput(f'--task {index}: {out} has tasks 0 to {len(tasks) - 1}')
    with held(out, [index]):
        bar = Bar(f'task {index}', steps(spec, tasks[index]), quiet)
        bar.start(0)
        try:
            return run_task(spec, tasks[index], out, bar)[1]
        finally:
            bar.close()


class Held(BadInput):
    """Another process has a task in hand."""


@contextlib.contextmanager
def held(out: Path, indices: Iterable[int]) -> Iterator[None]:
    """The locks of tasks; the system lets go of them when their process dies, however that happens. Raises Held."""
    (out / 'tasks').mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        for index in indices:
            file = stack.enter_context((out / 'tasks' / f'{index}.lock').open('w'))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Held(f'{out}: task {index} is in the hands of another process; wait for it, or end it') from None
        yield
