"""What a user waits for: from process start to the first training step, and a data set's first and second load."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from research.data import Images
from research.types import BadInput

ROOT = Path(__file__).resolve().parents[2]


def first_step(config: str, cache: str, out: Path) -> float:
    """Seconds from the start of `scripts.train` to the line it prints after its first step."""
    command = [sys.executable, '-m', 'scripts.train', config, '--set', 'epochs=1', '--out', str(out), '--overwrite']
    environment = {**os.environ, 'XDG_CACHE_HOME': cache, 'PYTHONUNBUFFERED': '1'}
    environment.pop('JAX_COMPILATION_CACHE_DIR', None)
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith('first step done'):
                seconds = time.perf_counter() - began
                process.stdout.read()
                return seconds
    raise RuntimeError(f'{config}: no first step')


def report(repeats: int) -> str:
    """Cold: an empty compilation cache. Warm: the same command again. The least of the repeats, and all of them."""
    cold, warm = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / 'run'
            cold.append(first_step('vae_digits', folder, out))
            warm.append(first_step('vae_digits', folder, out))
    lines = ['vae_digits, process start to first training step']
    for name, seconds, wanted in (('cold', cold, 8.0), ('warm', warm, 5.0)):
        median = sorted(seconds)[len(seconds) // 2]
        shown = ', '.join(f'{s:.1f}' for s in seconds)
        lines.append(
            f'  {name}  {median:5.1f} s  ({shown})  wanted at most {wanted:.0f}: {"yes" if median <= wanted else "NO"}'
        )
    return '\n'.join([*lines, *mnist()])


def mnist() -> list[str]:
    """MNIST through TFDS into an empty cache, and once more from the cache."""
    old = os.environ.get('XDG_CACHE_HOME')
    with tempfile.TemporaryDirectory() as folder:
        os.environ['XDG_CACHE_HOME'] = folder
        try:
            seconds = []
            for _ in range(2):
                began = time.perf_counter()
                Images(name='mnist').load()
                seconds.append(time.perf_counter() - began)
        except BadInput as error:
            return [f'MNIST load: left out ({error})']
        finally:
            os.environ.pop('XDG_CACHE_HOME') if old is None else os.environ.update(XDG_CACHE_HOME=old)
    verdict = 'yes' if seconds[1] <= 0.5 else 'NO'
    return [
        'MNIST through TFDS, load with validation and test drawn',
        f'  first   {seconds[0]:5.1f} s',
        f'  second  {seconds[1]:5.2f} s  wanted at most 0.5: {verdict}',
    ]
