"""Processes of scripts.train for tests: one process imports everything, and forks whenever it is asked for another.

A JAX process takes 4 s to start, most of them imports, and a fork none. The backend is started in the fork, as it has to be; pytest's own
process cannot fork, for its backend runs. A child is a process like any other: it is killed, and has an exit status.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
PLAIN = {name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'}  # one device


class Child:
    """One process; what it prints goes to `log`."""

    def __init__(self, nursery: Nursery, arguments: list[str], log: Path):
        self.nursery, self.log = nursery, log
        self.begun, self.code = time.perf_counter(), None  # type: float, int | None
        self.pid = int(nursery.ask(start=['scripts.train', *arguments], log=str(log)))

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        if self.code is None:
            self.code = self.nursery.ask(poll=self.pid)
        return self.code

    def wait(self, seconds: float = 120) -> int:
        """The exit status; it is killed if it takes longer."""
        end = time.perf_counter() + seconds
        while (code := self.poll()) is None:
            if time.perf_counter() > end:
                self.send(signal.SIGKILL)
                raise TimeoutError(f'no end within {seconds} s:\n{self.said}')
            time.sleep(0.01)
        return code

    def send(self, number: int) -> None:
        """One that has ended is not yet waited for, or known to have been: its number is no other's."""
        if self.poll() is None:
            os.kill(self.pid, number)

    @property
    def said(self) -> str:
        return self.log.read_text(errors='replace')


class Nursery:
    """Where they come from. Use as a context manager: at its end, all of them are."""

    def __init__(self) -> None:
        words = [sys.executable, '-m', 'tests.engine.nursery']
        pipe = subprocess.PIPE
        self.server = subprocess.Popen(words, cwd=ROOT, env=PLAIN, stdin=pipe, stdout=pipe, text=True)

    def ask(self, **request: Any) -> Any:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + '\n')
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def start(self, arguments: list[str], log: Path) -> Child:
        return Child(self, arguments, log)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *error: object) -> None:
        self.server.communicate(timeout=30)


def preload() -> None:
    """What a run imports, and the file of digits that scikit-learn reads."""
    for module in ('orbax.checkpoint', 'research.run', 'scripts.train', 'jax.experimental.multihost_utils'):
        importlib.import_module(module)
    if importlib.util.find_spec('tensorboardX'):
        importlib.import_module('tensorboardX')  # it imports torch where it finds it, and that takes seconds
    importlib.import_module('scripts.configs').build('vae_digits').data.load()


def grow(arguments: list[str], log: str) -> NoReturn:
    """The command line, in a fork."""
    code = 99
    try:
        with open(log, 'a') as file, open(os.devnull) as nothing:
            for stream, number in ((nothing, 0), (file, 1), (file, 2)):
                os.dup2(stream.fileno(), number)
        from scripts import cli, train

        sys.argv = arguments
        train.define_flags()
        cli.run(train.main)
    except SystemExit as stop:
        atexit._run_exitfuncs()  # JAX says goodbye to other processes
        code = int(stop.code or 0)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Answer requests, a line of JSON each; at the end of them, end all that is left."""
    children: set[int] = set()
    for line in sys.stdin:
        request, answer = json.loads(line), None
        if 'start' in request:
            answer = os.fork()
            if not answer:
                grow(request['start'], request['log'])
            children.add(answer)
        elif request['poll'] in children:
            pid, status = os.waitpid(request['poll'], os.WNOHANG)
            if pid:
                answer = os.waitstatus_to_exitcode(status)
                children.remove(pid)
        print(json.dumps(answer), flush=True)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


if __name__ == '__main__':
    preload()
    serve()
