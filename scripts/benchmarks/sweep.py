"""A sweep against its members one after the other, by calls of one solo program that is compiled already.

vae_digits over 4 beta x 2 learning rates x 4 seeds; the large MLP VAE of the benchmark on MNIST's shape, which fills two
cores alone; on an accelerator also 1, 8, 64 and 256 members.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from configs import vae_digits
from research.engine import feed, mesh
from research.engine import members as engine
from research.engine import plan as plans
from research.engine import program as programs
from research.engine.members import Group, Member
from research.engine.plan import Plan
from research.engine.program import Program
from research.run import prepare
from scripts.benchmarks import vae
from scripts.benchmarks.contest import Contest, Measure

EPOCHS, LARGE_EPOCHS, LARGE_ROWS = 10, 2, 2_000
BETAS, RATES, SEEDS = (0.5, 1.0, 2.0, 4.0), (1e-3, 3e-3), range(4)


def small() -> Plan:
    run = vae_digits.config()
    return prepare(dataclasses.replace(run, epochs=EPOCHS), run.data.load())[1]


def large() -> Plan:
    return Plan(vae.trainer(), lambda x, key: x, vae.data()[:LARGE_ROWS], LARGE_EPOCHS, vae.BATCH, 0)


def grid(plan: Plan, count: int) -> list[Member]:
    own = plans.numbers(plan)
    cells = [
        own | {'model.beta': np.float32(beta), 'learning_rate': np.float32(rate)}
        for beta, rate in itertools.product(BETAS, RATES)
    ]
    return [Member(cells[i // len(SEEDS) % len(cells)], i) for i in range(count)]


def epochs(plan: Plan, program: Program, setting: programs.Setting, x: Any, sample: Any) -> None:
    """All epochs of one call, with nothing read back and nothing written: of one run or of all members."""
    progress = program.init(setting, sample)
    for epoch in range(plan.epochs):
        course = program.course(setting, epoch, None, plan.examples)
        progress, _ = program.advance(setting, progress, x, course, 0, plan.steps)
        progress, _, _ = program.end_epoch(setting, progress)
    jax.block_until_ready(progress)


def solo(plan: Plan, members: list[Member]) -> Measure:
    """Seconds for all members, one run after the other."""
    program = Program(plan, mesh.build(mesh.ONE))
    x, sample = feed.place(plan.x, jax.device_put), plans.sample(plan)

    def measure() -> float:
        began = time.perf_counter()
        for member in members:
            epochs(plan, program, programs.Setting(member.numbers, np.uint32(member.seed)), x, sample)
        return time.perf_counter() - began

    return measure


def together(plan: Plan, members: list[Member], mode: str, shared: bool = False) -> Measure:
    group = Group(plan, members, mode, None, shared)

    def train(call: list[Member]) -> None:
        epochs(plan, group.program, group.setting(group.padded(call)), group.x, group.sample)

    def measure() -> float:
        began = time.perf_counter()
        with ThreadPoolExecutor(group.streams) as pool:
            list(pool.map(train, group.calls()))
        return time.perf_counter() - began

    return measure


def contests() -> list[Contest]:
    one = small()
    many = grid(one, 32)
    digits = {
        'vmap': together(one, many, 'vmap'),
        'map': together(one, many, 'map'),
        'solo runs': solo(one, many),
    }
    shared = {'vmap, shared batches': together(one, many, 'vmap', True), 'solo runs': digits['solo runs']}
    big, few = large(), grid(large(), 8)
    mnist = {'vmap': together(big, few, 'vmap'), 'map': together(big, few, 'map'), 'solo runs': solo(big, few)}
    name, side = 'vae_digits, 32 members, 10 epochs', engine.width(one, 32, 'vmap')
    return [
        Contest(name=f'{name}, {side} side by side', unit='sweep', contenders=digits, want={'solo runs': 1.4}),
        Contest(name=f'{name}, shared batches', unit='sweep', contenders=shared),
        Contest(
            name='VAE 784-512-16, 8 members, 2 epochs of 20 steps',
            unit='sweep',
            contenders=mnist,
            want={'solo runs': 0.95},
        ),
    ]


def scaling(counts: tuple[int, ...] = (1, 8, 64, 256)) -> str:
    """Member-steps per second, against one member."""
    plan, lines, first = small(), ['vae_digits, member-steps per second by members in one call'], 0.0
    for count in counts:
        measure = together(plan, grid(plan, count), 'vmap')
        measure()
        rate = count * plan.epochs * plan.steps / sorted(measure() for _ in range(3))[1]
        first = first or rate
        lines.append(f'  {count:>4} members  {rate:>12,.0f}  {rate / first:>7.1f} x one')
    return '\n'.join(lines)
