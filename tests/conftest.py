"""What every test runs under: eight simulated devices, the quick compiler and the compilation cache.

Warnings are errors (pyproject.toml); that no key is used twice is a test of the conformance suite.
"""

from __future__ import annotations

import os

# eight devices and the quick compiler, before JAX starts
FLAGS = '--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=1'
os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {FLAGS}'.strip()

import jax  # noqa: E402
import pytest  # noqa: E402

from research.engine import cache  # noqa: E402

cache.enable()
jax.config.update('jax_default_matmul_precision', 'highest')  # a GPU's or TPU's default is less than float32
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


@pytest.fixture(scope='session')
def tfds_dir() -> str:
    return _folder('TFDS_DATA_DIR')


@pytest.fixture(scope='session')
def likeness_dir() -> str:
    return _folder('LIKENESS_DATA_DIR')


def _folder(variable: str) -> str:
    folder = os.environ.get(variable)
    if not folder or not os.path.isdir(folder):
        pytest.skip(f'{variable} names no folder of data sets')
    return folder
