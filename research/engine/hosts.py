"""Several processes that train one run together: on several hosts, or with an accelerator each on one.

    python -m scripts.train CONFIG --distributed --out SHARED_FOLDER --set mesh.data=N        (the same in every process)

JAX finds out who belongs together from Slurm, Open MPI, Kubernetes or a TPU pod; elsewhere --coordinator, --processes and
--process say it. The mesh then counts the devices of all. Each process reads all the data and computes its part of each
batch; the first one writes logs, card, results and samples; all of them write checkpoints (Orbax), so the folder is shared.

Processes have to take the same steps in the same order, so what depends on a clock or a signal is agreed on before each
piece: how many steps it has, and whether somebody was told to stop. Then all save at the same step and end with status 75.

When one is lost, the others cannot go on. On CPU they notice at once, for the connection breaks; else after `SILENCE` seconds
without a heartbeat, when JAX aborts the process. Either way it ends with one sentence and status 76, and all are started again
with --resume. JAX's own defaults, an abort after 106 s, would leave an allocation idle that long, and SIGTERM without effect.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from research.engine import mesh as meshes
from research.types import BadInput

LOST = 76  # exit status; 75 is for who was told to stop
SILENCE = 10  # seconds without a heartbeat, which a thread of JAX's sends, after which a process is lost
COMING = 300  # seconds that processes wait for each other at the start
SIGNS = ('Gloo', 'NCCL', 'RCCL', 'coordination service', 'Barrier')  # in the error of a collective that lost a process
SENTENCE = (
    'error: another process of this run is lost; start all of them again with --resume, '
    'and they go on from the last checkpoint\n'
)
ABSENT = 'error: --distributed: the other processes did not come; start all of them, with the same --coordinator\n'

_ending: list[tuple[int, str]] = []  # the status and the words that an abort now would come with
_handlers: list[Any] = []  # of C, which holds on to no object of Python


def join(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Find the other processes, and wait for them; before anything asks for a device.

    Raises BadInput where there is no cluster that JAX knows and not all three are given.
    """
    jax.config.update('jax_enable_preemption_service', False)  # it keeps SIGTERM to itself
    _answer_aborts()
    _ending.append((LOST, ABSENT))
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            initialization_timeout=COMING,
            heartbeat_timeout_seconds=SILENCE,
            shutdown_timeout_seconds=SILENCE,
        )
    except (ValueError, TypeError) as error:
        raise BadInput(
            f'--distributed: {error} JAX found no Slurm, Open MPI, Kubernetes or TPU pod to ask; expected --coordinator '
            'HOST:PORT (of the first process), --processes N and --process I (from 0)'
        ) from None
    _ending.append((LOST, SENTENCE))


def several() -> bool:
    return jax.distributed.is_initialized() and jax.process_count() > 1


def agree(told: int, piece: int) -> tuple[int, int]:
    """The highest number of a signal that any process was sent, and the first one's length of the next piece."""
    if not several():
        return told, piece
    from jax.experimental import multihost_utils

    everyone = np.asarray(multihost_utils.process_allgather(np.array([told, piece])))
    return int(everyone[:, 0].max()), int(everyone[0, 1])


def local(tree: Any) -> Any:
    """Arrays of all processes as arrays of this one; what is here already stays as it is."""
    return jax.tree.map(meshes.local, tree) if several() else tree


def meet(where: str) -> None:
    """Wait until all processes are here."""
    if several():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(where)


@contextmanager
def together(statuses: Mapping[type[BaseException], int]) -> Iterator[None]:
    """Within, the loss of another process ends this one with `LOST` and one sentence.

    `statuses`: of what the caller answers; as a rule all processes meet it. A fault that is none of these ends this process at
    once, so that the others notice; an orderly exit would wait for them, in vain, and be aborted for it.
    """
    try:
        yield
    except tuple(statuses) as error:
        _ending.append((next(status for kind, status in statuses.items() if isinstance(error, kind)), ''))
        raise
    except Exception as error:
        if not several():
            raise
        lost = any(sign in str(error) for sign in SIGNS)
        sys.stdout.flush()
        _end(LOST if lost else 1, SENTENCE if lost else traceback.format_exc())


def _end(status: int, words: str) -> None:
    os.write(2, words.encode(errors='replace'))
    os._exit(status)


def _answer_aborts() -> None:
    """JAX aborts a process that has lost another. Its hook for Python dies of a bad cast (0.10 and 0.12), so ask C for SIGABRT."""

    def aborted(number: int) -> None:
        _end(*_ending[-1])

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(aborted)
    _handlers.append(handler)
    ctypes.CDLL(None).signal(int(signal.SIGABRT), handler)
