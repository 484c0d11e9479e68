"""The command line: what it prints, what it refuses, and what it never imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.report import runs

ROOT = Path(__file__).parents[2]


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, '-m', 'scripts.report', *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def refused(*arguments: str | Path) -> str:
    """The one line that a wrong command prints."""
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (2, '')
    (line,) = done.stderr.splitlines()
    assert line.startswith('error: ')
    return line


def test_it_prints_the_tables_and_writes_the_page(tmp_path: Path) -> None:
    folders = [runs.make(tmp_path / name, name, [runs.nll(value)]) for name, value in (('vae', 46.0), ('gmm', 44.0))]
    done = command(*folders, folders[0], '--out', tmp_path / 'page.html', '--title', 'My <runs>')
    assert (done.returncode, done.stderr) == (0, '')
    rows = [line.split()[0] for line in done.stdout.splitlines() if line.startswith(('vae', 'gmm'))]
    assert rows == ['gmm', 'vae']
    assert '<h1>My &lt;runs&gt;</h1>' in (tmp_path / 'page.html').read_text('utf-8')


def test_mistakes_are_answered_in_one_line(tmp_path: Path) -> None:
    folder = runs.make(tmp_path / 'run', 'vae')
    assert 'did you mean --title?' in refused(folder, '--titel', 'x')
    assert 'the flags are --lead, --out, --title' in refused(folder, '--zzz')
    assert 'no run folder given' in refused()
    assert 'is not a folder' in refused(tmp_path / 'none')
    (folder / 'results.jsonl').write_text('{"metric"\n')
    assert 'results.jsonl line 1 is not valid JSON' in refused(folder, '--out', tmp_path / 'page.html')
    assert not (tmp_path / 'page.html').exists()


def test_help_explains_every_flag_and_is_no_failure() -> None:
    for flag in ('--help', '-h'):
        done = command(flag)
        assert done.returncode == 0
        assert all(name in done.stdout for name in ('Compare runs', '--out', '--title', '--lead'))


def test_a_report_needs_no_slow_import(tmp_path: Path) -> None:
    folder = runs.make(tmp_path / 'run', 'vae', [runs.nll(46.0)])
    program = (
        'import pathlib, sys\n'
        'from scripts import report\n'
        'report.report([sys.argv[1]], pathlib.Path(sys.argv[2]), "T")\n'
        'slow = {"jax", "flax", "optax", "scipy", "sklearn", "matplotlib", "tensorflow_datasets", "PIL"}\n'
        'print(sorted(slow & set(sys.modules)))\n'
    )
    line = [sys.executable, '-c', program, str(folder), str(tmp_path / 'page.html')]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == '[]\n'
