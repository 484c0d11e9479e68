"""The command lines, called within this process as a shell would call them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import pytest
from absl import flags

from scripts import cli


class Done(NamedTuple):
    """What a shell sees of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


def caller(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`call(script, *arguments)`; the script's flags are gone afterwards, for the next one has some of the same name."""

    def call(script: ModuleType, *arguments: object) -> Done:
        capsys.readouterr()
        before = set(flags.FLAGS)
        script.define_flags()
        own = set(flags.FLAGS) - before
        monkeypatch.setattr(sys, 'argv', [f'{script.__name__}', *map(str, arguments)])
        try:
            with pytest.raises(SystemExit) as stop:
                cli.run(script.main)
        finally:
            for name in own:
                delattr(flags.FLAGS, name)
        out, err = capsys.readouterr()
        return Done(int(stop.value.code or 0), out, err)

    return call
