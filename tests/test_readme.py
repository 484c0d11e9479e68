"""The README tells the truth: its commands run, in their order, and its worked example trains."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import configs
import research.models
from research import run as runs
from research.maths import bounds
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.types import BadInput

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / 'README.md').read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf'```{language}\n(.*?)```', TEXT, re.DOTALL)


def commands() -> list[str]:
    lines = [line.split('  #')[0].strip() for block in blocks('bash') for line in block.splitlines()]
    return [line for line in lines if line]


def test_python_commands_run_in_their_order(tmp_path: Path) -> None:
    """Each `python ...` line of the README, as it stands, in one empty folder."""
    python = [line for line in commands() if line.startswith('python ')]
    assert len(python) >= 10
    for line in python:
        words = [sys.executable, *shlex.split(line)[1:]]
        done = subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment(), check=False
        )
        assert done.returncode == 0, f'{line}\n{done.stdout}\n{done.stderr}'
    assert (tmp_path / 'samples.png').stat().st_size > 1000
    assert '<html' in (tmp_path / 'page.html').read_text()[:200]


def environment() -> dict[str, str]:
    import os

    return {**os.environ, 'PYTHONPATH': str(ROOT)}


def test_the_other_commands_are_scripts_and_installations_that_exist() -> None:
    """Set-up scripts would call this test again, and installing needs a network: both are checked by their parts."""
    lock = (ROOT / 'requirements.lock').read_text()
    for line in (line for line in commands() if not line.startswith('python ')):
        words = shlex.split(line)
        if words[0].startswith('scripts/'):
            assert subprocess.run(['bash', '-n', str(ROOT / words[0])], check=False).returncode == 0
            assert (ROOT / words[0]).stat().st_mode & 0o100
            continue
        assert words[:2] == ['pip', 'install'], line
        files = [word for flag, word in itertools.pairwise(words) if flag in ('-r', '-c')]
        assert files and all((ROOT / name).is_file() for name in files)
        assert {'jax[cuda13]': 'jax-cuda13-plugin==', 'jax[tpu]': 'libtpu=='}[words[-1]] in lock


def test_every_file_it_names_exists() -> None:
    named = re.findall(r'`((?:research|configs|experiments|scripts|tests)/[\w/.]*)`', TEXT)
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing
    assert all((ROOT / name).exists() for name in re.findall(r'\]\(([\w/.]+)\)', TEXT))


def test_the_new_objective_is_one_short_diff_and_trains() -> None:
    """The patch of the README, applied to the text of its file: at most 15 lines, and the VAE takes it."""
    (patch,) = blocks('diff')
    lines = [line for line in patch.splitlines() if not line.startswith(('---', '+++'))]
    added, removed = ([line[1:] for line in lines if line[0] == sign] for sign in '+-')
    assert len(added) <= 15 and len(removed) == 1
    text = (ROOT / 'research/maths/bounds.py').read_text()
    assert f'{removed[0]}\n' in text
    patched = types.ModuleType('patched_bounds')
    sys.modules['patched_bounds'] = patched  # where dataclasses look names up
    exec(text.replace(removed[0], '\n'.join(added)), patched.__dict__)
    log_w = jax.random.normal(jax.random.key(0), (4, 3))
    near_one, zero = (patched.Renyi(draws=4, alpha=a).bound(log_w) for a in (0.999, 0.0))
    np.testing.assert_allclose(near_one, log_w.mean(axis=0), atol=1e-2)  # the ELBO
    np.testing.assert_allclose(zero, bounds.log_mean_exp(log_w), rtol=1e-5)  # IWAE
    model = VAE(encoder=MLP(hidden=(4,)), decoder=MLP(hidden=(4,)), latent=2, objective=patched.Renyi(draws=3))
    x = jnp.ones((5, 6))
    assert np.isfinite(model.loss(model.init(jax.random.key(0), x), x, jax.random.key(1)).loss)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The files of the worked example, laid where a user would lay them, without touching the checkout."""
    sources = [block for block in blocks('python') if block.startswith('# ')]
    for source in sources:
        path = tmp_path / source.split('\n')[0][2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    monkeypatch.setattr(research.models, '__path__', [*research.models.__path__, str(tmp_path / 'research/models')])
    monkeypatch.setattr(configs, '__path__', [*configs.__path__, str(tmp_path / 'configs')])
    yield sources
    for name in ('research.models.normal', 'configs.normal_digits'):
        sys.modules.pop(name, None)


def test_the_worked_example_trains_scores_and_samples(example: list[str], tmp_path: Path) -> None:
    assert sum(len(source.splitlines()) for source in example) < 60 + 14  # the model and its config
    assert len(example[0].splitlines()) < 60
    from configs import normal_digits  # type: ignore[attr-defined]

    folder = tmp_path / 'run'
    runs.train(normal_digits.config(), folder, quiet=True)
    results = {r.metric: r for r in runs.evaluate_folder(folder, None, 'test', None)}
    assert results['test_nll'].kind == 'exact'
    assert results['test_nll'].value < 150  # the independent baseline has 150.99
    runs.sample_folder(folder, tmp_path / 'x.npz', 5, 0, None)


def test_the_example_refuses_what_it_cannot_score(example: list[str], tmp_path: Path) -> None:
    import dataclasses

    from configs import normal_digits  # type: ignore[attr-defined]
    from research.data import Images

    run = dataclasses.replace(normal_digits.config(), data=Images(name='digits', values='binarise'))
    with pytest.raises(BadInput, match='Normal is a density'):
        runs.train(run, tmp_path / 'run', quiet=True)
    assert not (tmp_path / 'run').exists()
