"""How a number came to be: python -m scripts.explain RUN VALUE, where VALUE is a metric or the number as it is printed.

    python -m scripts.explain runs/vae test_nll
    python -m scripts.explain runs/vae 95.96

Prints the estimator, the data, every setting, the commit, the device and the versions, and the commands that train and
evaluate it again.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from research.report import explanation, records
from research.report.records import Result, RunRecord
from research.types import BadInput
from scripts import cli, configs


def define_flags() -> None:
    """There are none of its own."""


def commands(record: RunRecord, result: Result) -> list[str]:
    """A shell's lines that make the number again, in a run folder beside the old one."""
    values = result.origin.get('values') or record.card.get('values') or {}
    trained = result.origin.get('trained') or record.card
    commit = str(trained.get('commit') or '')
    lines = [f'git checkout {commit.rstrip("+")}'] if commit else []
    lines += ['# its files had changes that no commit has'] if commit.endswith('+') else []
    again = str(record.folder.with_name(record.folder.name + '_again'))
    try:
        words = _assignments(record.config, values)
    except BadInput as error:
        return [*lines, f'# no config makes this run ({error}); "run" in {record.folder / "card.json"} holds it whole']
    lines.append(shlex.join(['python', '-m', 'scripts.train', record.config, *words, '--out', again]))
    if result.split in ('test', 'valid'):
        drawn = result.settings.get('samples') if result.is_likelihood else None
        more = ['--samples', str(drawn)] if drawn else []
        more += ['--split', result.split] if result.split != 'test' else []
        lines.append(shlex.join(['python', '-m', 'scripts.evaluate', again, *more]))
    return lines


def _assignments(config: str, values: Mapping[str, Any]) -> list[str]:
    """Flags that turn a config, as it is now, into these values. BadInput where they cannot."""
    run = configs.build(config)
    from research.data import named  # with JAX, which building has imported already
    from research.engine import override

    words = []
    source = override.flatten(run)
    name = values.get('data.name') or values.get('data.path')
    if name and (name, values.get('data')) != (source.get('data.name') or source.get('data.path'), source.get('data')):
        run = dataclasses.replace(run, data=named(name, run.data))
        words += ['--data', name]
    now = json.loads(json.dumps(override.flatten(run), default=str))
    missing = sorted(now.keys() ^ values.keys())
    if missing:
        raise BadInput(f'configs/{config}.py has changed since, in {missing[0]}')
    waiting = {
        f'{prefix}.{field.name}' for prefix, node in override.walk(run) for field in override.fields(node)
        if field.metadata.get('from_domain')
    }  # fmt: skip
    for path, value in values.items():
        if value != now[path] and path not in waiting:
            said = ','.join(map(str, value)) if isinstance(value, list) else 'none' if value is None else str(value)
            run = override.apply(run, [f'{path}={said}'])
            words += ['--set', f'{path}={said}']
    return words


def main(argv: list[str]) -> None:
    if len(argv) != 3:
        raise BadInput('expected a run folder and a number: python -m scripts.explain RUN test_nll')
    record = records.read(Path(argv[1]))
    result = explanation.choose(record, argv[2])
    print(explanation.text(record, result, commands(record, result)))


if __name__ == '__main__':
    define_flags()
    cli.run(main)
