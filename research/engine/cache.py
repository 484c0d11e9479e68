"""The persistent compilation cache: the second start of a program skips its compilation."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import jax
import jaxlib


def folder() -> Path:
    """One folder per jaxlib version and host processor: mixing either in one cache has crashed for others."""
    home = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    try:
        processor = next(line for line in Path('/proc/cpuinfo').read_text().split('\n') if line.startswith('flags'))
    except (OSError, StopIteration):
        processor = platform.processor()
    host = hashlib.sha256(f'{platform.machine()} {processor}'.encode()).hexdigest()[:12]
    return home / 'likeness' / 'xla' / f'{jaxlib.__version__}-{host}'


def enable() -> None:
    """Use the cache, unless the user chose a folder (JAX_COMPILATION_CACHE_DIR) or none (LIKENESS_NO_COMPILATION_CACHE)."""
    if os.environ.get('LIKENESS_NO_COMPILATION_CACHE'):
        return
    if not os.environ.get('JAX_COMPILATION_CACHE_DIR'):
        jax.config.update('jax_compilation_cache_dir', str(folder()))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)
    jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
