"""Compare runs: one leaderboard per data set, printed, and one self-contained HTML page.

    python -m scripts.report RUN [RUN ...] [--out page.html] [--title TEXT] [--lead TEXT]

RUN is a folder that `python -m scripts.train` made; `python -m scripts.evaluate RUN` adds its test scores. The page
opens offline from a file and holds no external address.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from research.report import codes, leaderboard, page
from research.types import BadInput
from scripts import cli


def report(folders: Sequence[str], out: Path, title: str, lead: str = '') -> str:
    """Write the page and return what to print. BadInput names the folder or file that cannot be used."""
    if not folders:
        raise BadInput('no run folder given; give one or more, for example: python -m scripts.report runs/vae_digits')
    unique = {Path(folder).resolve(): Path(folder) for folder in folders}
    records = [leaderboard.read(folder) for folder in unique.values()]
    written = page.write(records, out, title, lead)
    boards = leaderboard.boards(records)
    tables = [one for board in boards for one in (leaderboard.text_table(board), codes.text_table(board)) if one]
    legend = '* lowest score that is exact or a bound, lowest sample distance    - not available'
    return '\n\n'.join([*tables, f'{legend}\npage: {written} ({written.stat().st_size / 1e6:.2f} MB)'])


def main(argv: list[str]) -> None:
    print(report(argv[1:], Path(flags.FLAGS.out), flags.FLAGS.title, flags.FLAGS.lead))


def define_flags() -> None:
    """Flags are defined when run, not when imported: another script may have one of the same name."""
    flags.DEFINE_string('out', 'report.html', 'Where to write the page. An older page there is replaced.')
    flags.DEFINE_string('title', 'Likeness: generative models compared', 'The heading of the page.')
    flags.DEFINE_string(
        'lead', '', 'A paragraph to open the page with, as plain text; blank lines separate paragraphs.'
    )


if __name__ == '__main__':
    define_flags()
    cli.run(main)
