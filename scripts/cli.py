"""The frame of every command line: what a user got wrong becomes one line on stderr and exit status 2.

A traceback is for a fault of this program. A misspelt flag, a missing folder or a value out of range is answered with
one sentence instead, the nearest flag names included. Nothing here imports JAX, so that `--help` answers at once.
"""

from __future__ import annotations

import difflib
import io
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from absl import app, flags, logging

from research.types import BadInput


def run(main: Callable[[list[str]], int | None]) -> None:
    """Parse the flags, call `main` with the remaining arguments (the program's name first), and exit with its status.

    Statuses: what `main` returns (None is 0); 2 after BadInput or a flag error, with 'error: ...' on stderr; 130 after
    Ctrl-C; 0 after `--help`. A character that the terminal's encoding lacks is printed as '?' rather than ending the run.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='replace')

    def guarded(argv: list[str]) -> int | None:
        if not flags.FLAGS['verbosity'].present:
            logging.set_verbosity(logging.WARNING)  # Orbax tells its inner life at INFO
        try:
            return main(argv)
        except app.UsageError as error:  # absl would print the whole help before it
            raise BadInput(str(error)) from error
        except Exception as error:
            loop = sys.modules.get('research.engine.loop')  # not there where nothing was trained
            if loop is None or not isinstance(error, loop.Interrupted):
                raise
            print(f'{error}; the same command with --resume goes on', file=sys.stderr)
            return error.code

    try:
        app.run(guarded, flags_parser=_parse)
    except (BadInput, flags.Error) as error:
        print(f'error: {_sentence(error)}', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print('stopped', file=sys.stderr)
        sys.exit(130)


class Terminated(BaseException):
    """SIGTERM came while there was nothing to save."""


@contextmanager
def terminable() -> Iterator[None]:
    """Within, SIGTERM raises Terminated, which no `except Exception` takes for a fault of what it interrupts."""

    def stop(number: int, frame: object) -> None:
        raise Terminated

    old = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _parse(argv: list[str]) -> list[str]:
    """absl's parser, with `-h` for help, and status 0 after it (absl exits with 1, which a shell takes for failure)."""
    try:
        return list(flags.FLAGS(['--help' if argument == '-h' else argument for argument in argv]))
    except SystemExit:
        raise SystemExit(0) from None


def _sentence(error: Exception) -> str:
    if isinstance(error, flags.UnrecognizedFlagError):
        return f'unknown flag --{error.flagname}; {_nearest(error.flagname)}'
    return ' '.join(str(error).split())


def _nearest(name: str) -> str:
    """The program's own flags that look like `name`, or all of them where none does."""
    modules = flags.FLAGS.flags_by_module_dict()
    own = sorted(flag.name for module, group in modules.items() if not str(module).startswith('absl') for flag in group)
    near = difflib.get_close_matches(name, own, n=3, cutoff=0.5)
    if near:
        return f'did you mean {" or ".join(f"--{flag}" for flag in near)}?'
    return (
        f'the flags are {", ".join(f"--{flag}" for flag in own)}, and --help explains them'
        if own
        else '--help explains what there is'
    )
