"""One HTML page that answers the question at a glance and shows where each number came from.

The page stands alone: styles, script and pictures are inside it, it asks for no address, and its content security
policy allows nothing but its own script, by hash. So a sample that contains markup is text twice over: it is escaped,
and a browser that met it as markup would still refuse to run it. The same records give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from research.report import latents, leaderboard, planes, sections
from research.report.leaderboard import Board
from research.report.markup import plain, text, write_atomically
from research.report.records import RunRecord
from research.report.style import CSS, SCRIPT
from research.types import BadInput

LIMIT = 5_000_000  # bytes: what still goes into an e-mail
PICTURES = 2_200_000  # bytes of PNG for the whole page; base64 makes 2.9 MB of them
LATENTS, DOTS = 400_000, 20_000  # bytes of PNG that show what latents do, and dots of codes, for the whole page


def write(records: Sequence[RunRecord], out: str | Path, title: str, lead: str = '', summary: str = '') -> Path:
    """Write the page of these runs to `out`, whole or not at all, and return its path.

    title   the heading
    lead    the verdict, as plain text; blank lines separate paragraphs
    summary HTML between that and the tables

    BadInput where there is no run, where a run's samples are broken, where `out` cannot be written, or where so many
    runs are given that the page would exceed 5 MB.
    """
    out = Path(out)
    if not records:
        raise BadInput('a report needs at least one run, and none was given')
    if out.is_dir():
        example = plain(out / 'report.html')
        raise BadInput(f'{plain(out)} is a folder; give the name of the page to write, for example {example}')
    content = render(records, title, lead, summary).encode('utf-8')
    if len(content) > LIMIT:
        size = f'{len(content) / 1e6:.1f} MB'
        raise BadInput(f'a page of {len(records)} runs would take {size}; give fewer runs, it may take 5 MB')
    write_atomically(out, content)
    return out


def render(records: Sequence[RunRecord], title: str, lead: str = '', summary: str = '') -> str:
    """The page as a string."""
    boards = leaderboard.boards(records)
    budget = PICTURES // (2 * len(records))  # a run may show its samples and its data
    body = ''.join(_section(i, board, budget, len(records)) for i, board in enumerate(boards))
    parts = [part.strip() for part in lead.split('\n\n') if part.strip()]
    paragraphs = ''.join(f'<p class="lead">{text(part, keep=chr(10))}</p>' for part in parts)
    links = ''.join(f'<a href="#d{i}">{text(leaderboard.name(board))}</a>' for i, board in enumerate(boards))
    nav = f'<nav aria-label="Data sets">{links}</nav>' if len(boards) > 1 else ''
    return document(
        title,
        paragraphs + summary + nav,
        body,
        f'Made from {len(records)} run folder{"s" * (len(records) > 1)}. Every figure in a table is from '
        'a run’s own files; what a run does not have is left blank.',
        latents.CSS + planes.CSS,
    )


def document(title: str, header: str, body: str, footer: str, css: str = '') -> str:
    """A whole page: the title is plain text, the other parts are HTML, `css` is added to the style sheet of all pages."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{text(title)}</title><style>{CSS}{css}</style></head>\n'
        f'<body><header><h1>{text(title)}</h1>{header}</header>\n<main>{body}</main>\n'
        f'<footer>{footer}</footer>\n'
        f'<script>{SCRIPT}</script></body></html>\n'
    )


def _policy() -> str:
    """Nothing from anywhere: pictures from the page itself, and of all scripts only ours, by its hash."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode('utf-8')).digest()).decode('ascii')
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _section(i: int, board: Board, budget: int, runs: int) -> str:
    parts = [
        f'<h2>{text(leaderboard.name(board))}</h2><p class="headline">{text(leaderboard.headline(board))}</p>',
        sections.chips(board),
        sections.table(board),
        sections.of_codes(board),
        sections.gallery(board, budget),
        latents.section(board, LATENTS // (4 * runs), DOTS // runs),
        sections.training(board),
        planes.runs(board),
        sections.provenance(board),
    ]
    return f'<section id="d{i}">{"".join(parts)}</section>\n'
