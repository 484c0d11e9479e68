"""Train the members of a sweep in one program: like `fit`, with a leading axis of members over everything that changes.

Each member has an ordinary run folder. A member that becomes NaN is marked failed with its step and does not stop the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from research.data.chunks import Chunks
from research.engine import feed, fit
from research.engine import loop as loops
from research.engine import mesh as meshes
from research.engine import numbers as settings
from research.engine import plan as plans
from research.engine.logbook import Bar, rows
from research.engine.loop import Loop
from research.engine.many import Ask, Desk, Many, Member, Outcome, at_once, logged
from research.engine.plan import Plan
from research.engine.program import Members, Program, Setting

CACHE_BYTES = 10 * 2**20  # what members trained side by side may hold of a processor's cache
STREAMS = 8  # calls at a time on a CPU, at most; as many as it has cores where those are fewer


def state_bytes(plan: Plan) -> int:
    """Bytes of one member's state."""
    return sum(
        leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(plans.template(plan._replace(mesh=meshes.ONE)))
    )


def width(plan: Plan, count: int, mode: str) -> int:
    """How many members are trained side by side.

    On an accelerator all of them. On a CPU as many as its cache holds; that matters less than how many calls run at a
    time (`streams`).
    """
    if mode == 'map':
        return 1
    if jax.default_backend() != 'cpu':
        return count
    fits = max(1, CACHE_BYTES // state_bytes(plan))
    return max(d for d in range(1, count + 1) if count % d == 0 and d <= fits)


def streams(plan: Plan, mode: str) -> int:
    """How many calls of the program run at a time, each in a thread.

    On a CPU as many as there are cores: the products of a small net are too small for two cores to share, so each core
    takes other members. 32 VAEs on two cores: 1.78 times the speed of solo runs, and the same bits; side by side in one
    call only 1.1 to 1.3 times. On an accelerator, or over several devices, one; and one where a step holds a loop of its own.
    """
    if mode == 'loop' or jax.default_backend() != 'cpu' or plan.mesh.size > 1 or loops_inside(plan):
        return 1
    return min(STREAMS, len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1)


def loops_inside(plan: Plan) -> bool:
    """Whether a step holds a loop: over time, components, parts of a batch.

    Within the loop over steps, XLA's threads on a CPU wait for such a loop's operations, which wait for a thread: two calls at
    a time then hold all threads of two cores and wait for ever (mixtures with full covariances, recurrent nets).
    """
    state, x = plans.template(plan).state, feed.sample_shapes(plan.x, plan.batch_size)
    x = jax.tree.map(lambda a: jax.ShapeDtypeStruct((plan.batch_size, *a.shape[1:]), a.dtype), x)

    def step(state: Any, x: Any, key: Any) -> Any:
        return plan.trainer.step(state, plan.transform(x, key), key)

    told = str(jax.make_jaxpr(step)(state, x, jax.random.key(0)))
    return any(f' {name}[' in told for name in ('scan', 'while'))


class Group:
    """Members of one structure: one compilation, and as many calls of it as the memory asks for.

    Modes: 'vmap' trains members side by side, 'map' one after the other within one program, 'loop' one after the other by
    calls of one solo program.
    """

    def __init__(
        self,
        plan: Plan,
        members: list[Member],
        mode: str = 'vmap',
        per_call: int | None = None,
        shared_batches: bool = False,
    ):
        self.plan, self.members, self.mode, self.shared = plan, members, mode, shared_batches
        self.mesh = meshes.build(plan.mesh)
        self.arguments = list(plans.numbers(plan))
        self.x = feed.place(plan.x, lambda x: meshes.replicate(x, self.mesh))
        self.sample = plans.sample(plan)
        self.compilations = 1
        if mode == 'loop':
            self.size, self.streams, self.program = 1, 1, Program(plan, self.mesh)
            return
        self.streams, free = streams(plan, mode), free_bytes()
        free = free if free is None else free // self.streams
        most = len(members) if free is None else max(1, free // (3 * state_bytes(plan)))  # two states and the work
        self.size = self.round(min(per_call or min(most, -(-len(members) // self.streams)), len(members)))
        self.program = self.compile(self.size)
        if per_call is None and free is not None and (need := self.need()) > free:
            self.size, self.compilations = self.round(max(1, int(self.size * free / need)) - 1), 2
            self.program = self.compile(self.size)

    def round(self, count: int) -> int:
        """A multiple of the devices that members are spread over."""
        devices = self.plan.mesh.member
        return max(1, -(-count // devices)) * devices

    def compile(self, count: int) -> Program:
        wide = width(self.plan, count // self.plan.mesh.member, self.mode)
        return Program(self.plan, self.mesh, Members(count, wide, self.shared))

    def need(self) -> float:
        """Bytes on one device that a call takes, by what the compiled program says of itself.

        On one device that compilation is the one that then trains; over several, arrays have places that are known only
        once there are any, and the compilation cache answers the second time.
        """
        setting = self.setting(self.padded(self.members[: self.size]))
        begun = jax.eval_shape(self.program.init, setting, self.sample)
        begun = meshes.place_state(begun, self.mesh, members=True)
        segment = next(feed.segments(self.plan.x, self.plan.batch_size, 0, 0, 0, True, abstract))
        course = jax.eval_shape(lambda s: self.program.course(s, 0, None, feed.examples(segment.x)), setting)
        x = abstract(segment.x)
        compiled = self.program.advance.lower(setting, begun, x, course, 0, 1).compile()
        if self.mesh.size == 1 and not isinstance(self.plan.x, Chunks):
            self.program.advance = compiled
        memory = compiled.memory_analysis()
        if memory is None:
            return 0.0
        need = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        return float(need)

    def padded(self, members: list[Member]) -> list[Member]:
        """A last call that is not full is filled up with its first member, whose result is dropped."""
        return members + [members[0]] * (self.size - len(members))

    def setting(self, members: list[Member]) -> Setting:
        numbers = settings.stack([{path: m.numbers[path] for path in self.arguments} for m in members])
        return Setting(numbers, np.array([m.seed for m in members], np.uint32))

    def calls(self) -> list[list[Member]]:
        return [self.members[i : i + self.size] for i in range(0, len(self.members), self.size)]

    def outcomes(self, bar: Bar, resume: bool) -> Iterator[list[Outcome]]:
        """What became of the members, in their order, call by call; several calls at a time on a CPU."""
        calls = self.calls()
        for first in range(0, len(calls), self.streams):
            wave = calls[first : first + self.streams]
            if len(wave) == 1:
                yield self.train(wave[0], bar, resume)
                continue
            desk = Desk()
            with loops.signals() as received, ThreadPoolExecutor(len(wave)) as pool:  # a thread hears no signals
                done = [pool.submit(self.train, call, bar, resume, received, desk.ask) for call in wave]
                try:
                    desk.serve(done)
                except BaseException:
                    desk.close()
                    raise
            yield from (future.result() for future in done)

    def train(
        self,
        members: list[Member],
        bar: Bar,
        resume: bool,
        received: Callable[[], int] | None = None,
        ask: Ask | None = None,
    ) -> list[Outcome]:
        """The members of one call, from their last common checkpoint on."""
        if self.mode == 'loop':
            return [self.solo(member, bar, resume) for member in members]
        setting = self.setting(self.padded(members))
        many = Many(self.plan, members, bar, ask or at_once)
        try:
            progress, place = many.begin(self, setting, resume)
            done = Loop(self.plan, self.program, setting, self.x, many).run(progress, place, received)
            return many.outcomes(done)
        finally:
            many.close()

    def solo(self, member: Member, bar: Bar, resume: bool) -> Outcome:
        """One member by itself; a failed one has no state."""
        trainer = settings.insert(self.plan.trainer, {path: float(v) for path, v in member.numbers.items()})
        plan, failed, state = self.plan._replace(trainer=trainer, seed=member.seed), None, None
        try:
            state = fit.fit(plan, member.folder, resume=resume, program=self.program, quiet=True)
        except fit.Diverged as error:
            failed = (error.place.epoch, error.place.step + 1)
        bar.move(plan.epochs * plan.steps, '', None, 0.0)
        lines = rows(member.folder) if member.folder else []
        return Outcome(state, logged(member.folder, lines[-1]['epoch']) if lines else {}, failed)


def abstract(tree: Any) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), tree)


def free_bytes() -> int | None:
    """Memory of one device that is free, or of the host where the device is a CPU; None where nobody says."""
    stats = jax.devices()[0].memory_stats()
    if stats and 'bytes_limit' in stats:
        return int(0.9 * (stats['bytes_limit'] - stats['bytes_in_use']))
    try:
        lines = Path('/proc/meminfo').read_text().splitlines()
    except OSError:
        return None
    return int(0.8 * 1024 * int(next(line for line in lines if line.startswith('MemAvailable')).split()[1]))
