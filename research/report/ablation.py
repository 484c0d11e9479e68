"""One HTML page for a finished sweep: which cell is best, by how much, what each setting does, and who failed.

People look before they read, so every table has a picture beside it: the cells their intervals on one axis, the grid its
response, the training its curves. Like the page of runs it stands alone and asks for no address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from research.report import comparison, page, planes, ranking, responses, sections
from research.report.curves import COLOURS
from research.report.leaderboard import brief
from research.report.markup import shorten, text, write_atomically
from research.report.responses import Plot, Point
from research.report.study import Study, lead, title

FOLDED = 10  # pairs from which on they are folded away
PICTURE = 150_000  # bytes of a picture of samples
PAIRS, MEMBERS = 1000, 500  # rows of those tables at most; table.csv has every member
CSS = """
.board .plotted { padding: .2rem .4rem; vertical-align: middle }
.board thead .plotted { vertical-align: bottom; padding-bottom: 0 }
.board .lettered { padding-left: 2.4em }
.board thead .lettered { padding-left: 2.9em }
.strips { display: block; overflow: visible }
.strips text { font: 11px system-ui, 'Liberation Sans', sans-serif; fill: var(--soft); font-variant-numeric: tabular-nums }
.strips .axis { stroke: var(--soft) }
.strips .rule { stroke: var(--line) }
.strips .bar { stroke: var(--accent); stroke-width: 2 }
.strips .seed { fill: var(--accent); fill-opacity: .4 }
.strips .mean { fill: var(--accent); stroke: var(--card); stroke-width: 1.5 }
.board .letter { display: inline-block; width: 1.6em; margin-left: -1.6em; color: var(--soft); font-weight: 400 }
.legend.above { margin: 0 0 .7em }
.failed { margin: 0; padding: 0; list-style: none; font-size: .93rem }
.failed li { padding: .3em 0; overflow-wrap: anywhere }
.failed small { color: var(--soft) }
@media (max-width: 600px) { .strips { width: 190px; height: auto } .strips text { font-size: 13px } }
"""


def write(study: Study, out: Path) -> Path:
    """Write the page, whole or not at all."""
    write_atomically(out, render(study).encode('utf-8'))
    return out


def render(study: Study) -> str:
    """The page as a string."""
    paragraphs = ''.join(f'<p class="lead">{text(sentence)}</p>' for sentence in lead(study))
    summary = study.records[0].card.get('summary') if study.records else None
    about = f'<p class="headline">{text(summary)}</p>' if summary else ''
    parts = [chips(study), ranking.table(study), response(study), training(study)]
    parts += [rate_distortion(study), samples(study), pairs(study), failures(study), members(study), provenance(study)]
    footer = (
        f'Made from the {len(study.rows)} members of one sweep; table.csv beside this page has a row for each, and '
        'members/ a run folder.'
    )
    return page.document(
        title(study), paragraphs + about, f'<section>{"".join(parts)}</section>\n', footer, CSS + planes.CSS
    )


def chips(study: Study) -> str:
    """The grid and the cost, in a line."""
    names = responses.short(study.fields)
    facts = {names[field]: _axis(study, field) for field in study.fields}
    facts |= {'seeds': ', '.join(map(str, study.seeds)), 'members': str(len(study.rows))}
    facts |= {'compilation groups': str(study.groups)}
    facts |= {'compilations': str(study.compilations), 'time': f'{study.seconds:,.1f} s'} if study.seconds else {}
    items = ''.join(f'<li>{text(n)} <b>{text(shorten(v, 90))}</b></li>' for n, v in facts.items())
    return f'<ul class="chips">{items}</ul>'


def response(study: Study) -> str:
    """The figure over the grid's numbers."""
    if study.table is None:
        return ''
    rows = zip(study.order, study.table.cells, strict=True)
    points = [Point(study.settings(number), row['mean'], row['low'], row['high']) for number, row in rows]
    named = f'{study.metric} ({study.unit})' if study.unit else study.metric
    plots = responses.responses(points, study.fields, named)
    return _plots(
        'What the settings do', plots, 'Mean over seeds; band: 95 % interval. Lines between dots are a guide.'
    )


def training(study: Study) -> str:
    """The losses of the best cells."""
    plots = responses.training([(study.labels[number], study.trained(number)) for number in study.order])
    caption = 'Mean over seeds; band: from the least to the most of them. A loss that a setting itself weighs or scales'
    caption += ' is another quantity in each cell.'
    if len(study.order) > len(COLOURS):
        caption = f'The best {len(COLOURS)} of {len(study.order)} cells. {caption}'
    return _plots('Training', [plot._replace(told='') for plot in plots], caption)


def rate_distortion(study: Study) -> str:
    """Where the members of the cells end in the plane of both."""
    return planes.cells([(study.labels[number], study.trained(number)) for number in study.order])


def samples(study: Study) -> str:
    """What the best, the middle and the worst cell make, where a member of theirs has been sampled.

    `python -m scripts.sample OUT/members/0004 --out OUT/members/0004/samples.png` does so; the sweep's --resume makes the
    page anew. A sweep itself draws none: some models take minutes for it.
    """
    order, drawn = study.order, []
    places = {len(order) - 1: 'worst', (len(order) - 1) // 2: 'middle', 0: 'best'} if order else {}
    for place, name in sorted(places.items()):
        found = [(r, part) for r in study.trained(order[place]) for part in sections.shown(r, 'samples', PICTURE)[:1]]
        for record, part in found[:1]:
            label = f'{name}: {study.labels[order[place]]}'
            drawn.append(sections.figure(label, part, str(record.card['data']['name']), False))
    return f'<h3>Samples</h3><div class="gallery">{"".join(drawn)}</div>' if drawn else ''


def _plots(name: str, plots: Sequence[Plot], caption: str) -> str:
    drawn = ''.join(
        (f'<p class="legend above">{text(plot.told)}</p>' if plot.told else '')
        + f'<div class="scroll plot">{plot.svg}</div>'
        for plot in plots
    )
    return f'<h3>{name}</h3><p class="legend above">{caption}</p>{drawn}' if plots else ''


def pairs(study: Study) -> str:
    """Every pair of cells with its test."""
    found = study.table.pairs if study.table else []
    if not found:
        return ''
    decimals = comparison.places([row['difference'] for row in found], [row['low'] for row in found])
    head = ('pair', 'difference', '95 % interval', 'p', 'Holm p', 'verdict', 'test')
    lines = [
        (
            f'{row["first"]} − {row["second"]}',
            comparison.number(row['difference'], decimals, '+'),
            comparison.between(row['low'], row['high'], decimals, '+'),
            comparison.chance(row['p']),
            comparison.chance(row['adjusted']),
            row['verdict'],
            row['test'],
        )
        for row in found[:PAIRS]
    ]
    more = f'<p class="legend">And {len(found) - PAIRS:,} more pairs.</p>' * (len(found) > PAIRS)
    about = f'{len(found)} pairs, those with the best first'
    return f'<h3>Pairs</h3>{_folded(about, sections.rows(head, lines) + more, opened=len(found) <= FOLDED)}'


def failures(study: Study) -> str:
    """Members that became NaN, and where."""
    rows = [row for row in study.rows if row['status'] == 'failed']
    items = ''.join(
        f'<li>{text(study.labels[row["cell"]])} seed={text(row["seed"])}: NaN at {text(row["failed_at"])} '
        f'<small>members/{row["member"]:04d}</small></li>'
        for row in rows
    )
    return f'<h3>Failed members</h3><ul class="failed">{items}</ul>' if rows else ''


def members(study: Study) -> str:
    """All of table.csv, folded."""
    names = responses.short(study.fields)
    columns = list(dict.fromkeys(name for row in study.rows for name in row))
    head = [sections.breakable(names.get(name, name)) for name in columns]
    lines = [[_value(row.get(name)) for name in columns] for row in study.rows[:MEMBERS]]
    cut = f'<p class="legend">And {len(study.rows) - MEMBERS:,} more.</p>' * (len(study.rows) > MEMBERS)
    body = sections.rows(head, lines) + cut
    return f'<h3>Every member</h3>{_folded(f"{len(study.rows)} members, as in table.csv", body)}'


def provenance(study: Study) -> str:
    """What all members share: data, code, machine, and the values that the grid leaves alone."""
    cards = [record.card for record in study.records]
    if not cards:
        return ''
    facts: dict[str, Any] = {name: _shared(cards, name) for name in ('config', 'model', 'trainer', 'commit', 'device')}
    for part in ('data', 'versions'):
        found = [card.get(part) or {} for card in cards]
        facts |= {f'{part} {name}': _shared(found, name) for name in dict.fromkeys(n for one in found for n in one)}
    facts |= {f'grid {field}': _axis(study, field) for field in study.fields}
    facts |= {'seeds': ', '.join(map(str, study.seeds)), 'mode': study.mode}
    values = [card.get('values') or {} for card in cards]
    swept = {'seed', *study.fields}
    base = {name: _shared(values, name) for name in values[0] if name not in swept}
    body = f'{sections.pairs(facts.items())}<h4>Configuration that all members share</h4>{sections.pairs(base.items())}'
    return f'<h3>How these numbers came to be</h3>{_folded("Data, code, machine, grid, configuration", body)}'


def _shared(cards: Sequence[Mapping[str, Any]], name: str) -> str:
    """The value that all have, or every one that some have."""
    found = dict.fromkeys(brief(card[name]) for card in cards if card.get(name) is not None)
    return ' or '.join(found)


def _axis(study: Study, field: str) -> str:
    settings = [study.settings(number) for number in study.labels]
    return ', '.join(map(_value, responses.values(settings, field)))


def _value(value: object) -> str:
    """A value of a table: numbers in six digits."""
    return '' if value is None else f'{value:.6g}' if isinstance(value, float) else brief(value)


def _folded(summary: str, body: str, opened: bool = False) -> str:
    state = ' open' * opened
    return f'<details{state}><summary>{text(summary)}</summary><div class="inside">{body}</div></details>'
