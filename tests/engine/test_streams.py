"""Which members may train at a time in threads of one process, and that they come to an end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from research.engine import members
from research.engine.plan import Plan
from tests.models.zoo import CASES

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
from research import sweep
from research.engine import override
from scripts import configs

run = override.apply(configs.build('mixture_full_digits'), ['epochs=3'])
print(len(sweep.sweep(run, {}, 4, mode='map', quiet=True).rows))
"""


def plan(name: str) -> Plan:
    case = CASES[name]
    return Plan(case.trainer, lambda x, key: x, case.x, 1, case.batch_size, 0)


@pytest.mark.parametrize('name', ['recurrent_tanh', 'hmm', 'gaussian_mixture_full', 'hidden_chow_liu'])
def test_a_step_with_a_loop_in_it_is_seen(name: str) -> None:
    assert members.loops_inside(plan(name))
    assert members.streams(plan(name), 'vmap') == 1


@pytest.mark.parametrize('name', ['vae_bernoulli', 'gaussian_mixture', 'made'])
def test_a_step_without_one_too(name: str) -> None:
    assert not members.loops_inside(plan(name))


def test_members_with_loops_inside_come_to_an_end() -> None:
    """Two calls at a time, each a mixture with full covariances, once waited for each other for ever on two cores."""
    plain = {name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'}
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM], cwd=ROOT, env=plain, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == '4'
