"""What the latents of each run do, as a part of the page: from RUN/latents.npz (`research.portraits`).

    reconstructions   examples above, what their codes give below
    traversals        a row for each of the most active latents, from -3 to 3 deviations of the prior
    interpolations    a row for each pair of examples, the examples themselves at both ends
    the plane         a dot for the mean of q(z | x) of each example (`planes.scatter`)

Pictures are PNG without a word in them: what names their rows and columns is text of the page beside them. A folder without the
file has nothing to show here, and one with a broken file is refused by its name.
"""

from __future__ import annotations

import base64
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from research.report import pictures, planes
from research.report.leaderboard import Board
from research.report.markup import plain, text
from research.report.records import RunRecord
from research.types import BadInput

FILE = 'latents.npz'
ACTIVE = 0.01  # variance of the means above which a latent is active
CSS = """
.latents { columns: 2 400px; column-gap: 30px }
.latents figure { break-inside: avoid; padding-bottom: 26px }
.latents + h4, h3 + h4 { font-size: .95rem; font-weight: 600; margin: 1.6em 0 .7em; overflow-wrap: anywhere }
h3 + h4 { margin-top: 0 }
.rowed { display: grid; grid-template-columns: max-content 1fr; column-gap: .6em; font-size: .72rem; line-height: 1.15; color: var(--soft);
  font-variant-numeric: tabular-nums }
.rowed .names { display: grid; grid-auto-rows: 1fr; align-items: center; text-align: right }
.rowed .names .still { opacity: .65 }
.rowed .steps { display: grid; grid-auto-columns: 1fr; grid-auto-flow: column; text-align: center; grid-column: 2; margin-bottom: .3em }
.rowed img, .latents figure > img { image-rendering: pixelated }
.latents .plane { max-width: 460px }
"""


def section(board: Board, budget: int, dots: int) -> str:
    """All runs of the board that have something to show. A picture takes at most `budget` bytes, a plane so many `dots`."""
    parts = [(row.label, figures(row.record, budget, dots)) for row in board.rows]
    shown = ''.join(f'<h4>{text(label)}</h4><div class="latents">{"".join(own)}</div>' for label, own in parts if own)
    return f'<h3>Latent variables</h3>{shown}' if shown else ''


def figures(record: RunRecord, budget: int, dots: int) -> list[str]:
    """The figures of one run; BadInput for a file that is broken."""
    path = record.folder / FILE
    if not path.is_file():
        return []
    try:
        with path.open('rb') as file, np.load(file, allow_pickle=False) as found:
            arrays = dict(found)
        domain = record.card['domain']
        drawn = _reconstructions(arrays, domain, budget) + _interpolations(arrays, domain, budget)
        return drawn + _plane(arrays, dots) + _traversals(arrays, domain, budget)
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, BadInput) as error:
        raise BadInput(f'{plain(path)} holds no readable pictures of latents: {plain(error)}') from error


def _reconstructions(arrays: Mapping[str, NDArray[Any]], domain: Mapping[str, Any], budget: int) -> list[str]:
    if 'reconstruction' not in arrays:
        return []
    made = arrays['reconstruction']
    both = np.concatenate([arrays['examples'][: len(made)], made])
    names = _names(['example', 'reconstruction'])
    return [_figure('Test examples and their reconstructions', names, _png(both, len(made), domain, budget))]


def _interpolations(arrays: Mapping[str, NDArray[Any]], domain: Mapping[str, Any], budget: int) -> list[str]:
    if 'interpolation' not in arrays:
        return []
    ways = arrays['interpolation']  # [pairs, steps, *shape]
    ends = arrays['examples'][: 2 * len(ways)].reshape(len(ways), 2, *ways.shape[2:])
    rows = np.concatenate([ends[:, :1], ways, ends[:, 1:]], axis=1)
    along = 'the great circle' if arrays['sphere'] else 'the line'
    steps = _steps(['example', *[''] * ways.shape[1], 'example'])
    image = _png(rows.reshape(-1, *ways.shape[2:]), rows.shape[1], domain, budget)
    return [_figure(f'From one test example to another, along {along} between their codes', steps, image)]


def _traversals(arrays: Mapping[str, NDArray[Any]], domain: Mapping[str, Any], budget: int) -> list[str]:
    if 'traversal' not in arrays:
        return []
    activity = [float(value) for value in arrays['activity']]
    labels = [f'z[{int(j)}]  {value:.2f}' for j, value in zip(arrays['latents'], activity, strict=True)]
    names = _names(labels, [value > ACTIVE for value in activity])
    steps = _steps([f'{value:+g}'.replace('-', '−').replace('+0', '0') for value in arrays['deviations']])
    drawn = []
    for base, walks in zip(arrays['bases'], arrays['traversal'], strict=True):
        image = _png(walks.reshape(-1, *walks.shape[2:]), walks.shape[1], domain, budget)
        about = 'the mean of the prior' if base < 0 else f'test example {int(base) + 1}'
        rest = ', the others scaled to stay on the sphere' if arrays['sphere'] else ''
        drawn.append(_figure(f'Single latents, in deviations of the prior, about {about}{rest}', steps + names, image))
    note = 'Number of each latent, counted from 0, and the variance of its means over test examples, which orders them'
    quiet = ' (grey: below 0.01, it says nothing)' if min(activity) <= ACTIVE else ''
    return [*drawn[:-1], drawn[-1].replace('</figure>', f'<p class="legend">{note}{quiet}.</p></figure>')]


def _png(images: NDArray[Any], columns: int, domain: Mapping[str, Any], budget: int) -> bytes:
    values = domain.get('values', 0)
    greys = images.astype(np.float64) / ((values - 1) if domain.get('kind') == 'integer' and values > 1 else 1)
    return pictures.fit(pictures.grid(greys, columns), budget, FILE)


def _names(labels: Sequence[str], active: Sequence[bool] = ()) -> str:
    said = [*active, *[True] * (len(labels) - len(active))]
    items = (
        f'<span{"" if on else " class=still"}>{text(label)}</span>' for label, on in zip(labels, said, strict=True)
    )
    return f'<div class="names">{"".join(items)}</div>'


def _steps(labels: Sequence[str]) -> str:
    return f'<div class="steps">{"".join(f"<span>{text(label)}</span>" for label in labels)}</div>'


def _figure(caption: str, beside: str, png: bytes) -> str:
    source = f'data:image/png;base64,{base64.b64encode(png).decode("ascii")}'
    image = f'<img alt="{text(caption)}" src="{source}">'
    image = image if 'class="names"' in beside else f'<span></span>{image}'
    return f'<figure><figcaption>{text(caption)}</figcaption><div class="rowed">{beside}{image}</div></figure>'


def _plane(arrays: Mapping[str, NDArray[Any]], most: int) -> list[str]:
    """Means of q(z | x): where they are, or their first two principal components."""
    if 'plane' not in arrays:
        return []
    points = np.asarray(arrays['plane'], np.float64)[:most]
    kinds = np.asarray(arrays['classes'])[:most] if 'classes' in arrays else np.zeros(len(points), int)
    if points.ndim != 2 or points.shape[1] != 2 or len(kinds) != len(points) or not np.isfinite(points).all():
        raise BadInput(f'points of shape {points.shape} and {len(kinds)} classes')
    by = str(arrays['class_name']) if 'classes' in arrays else ''
    latent = int(arrays['latent'])
    axes, caption = ('z[0]', 'z[1]'), f'Means of q(z | x) of {len(points)} test examples'
    if 'shares' in arrays:
        shares = [f'{100 * float(share):.0f} %' for share in arrays['shares']]
        axes = (f'first component, {shares[0]} of the variance', f'second component, {shares[1]}')
        caption += f': the first two principal components of {latent} latents'
    caption += f', coloured by {by}' if by else ''
    found = [int(kind) for kind in np.unique(kinds)]
    svg = planes.scatter(points, [np.flatnonzero(kinds == kind) for kind in found], found if by else [], axes, caption)
    names = ''.join(planes.swatch(i, f'{by} {kind}') for i, kind in enumerate(found)) if by else ''
    legend = f'<p class="legend">{names}</p>' if names else ''
    return [f'<figure><figcaption>{text(caption)}</figcaption>{svg}{legend}</figure>']
