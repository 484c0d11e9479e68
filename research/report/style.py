"""How the page looks, and the few lines of script behind its curves. Both are inlined: the page loads nothing.

No colour carries a meaning alone: the best value is also bold and marked, a bound also says so, and curves differ in
dashes beyond eight. Light and dark follow the reader's system; paper gets the light one with every detail opened.
"""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #fff; --ink: #1d1f23; --soft: #5e636e; --line: #e2dfd8;
  --accent: #0b57a4; --best: #e8f1e4; --best-ink: #1f6b35; --c0: #0072b2; --c1: #d55e00;
  --c2: #00845f; --c3: #b8568f; --c4: #946800; --c5: #2f8fcf; --c6: #6b5bbf; --c7: #6e6e6e }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15171b; --card: #1c1f25; --ink: #e7e6e2; --soft: #a2a6b0; --line: #343842; --accent: #85b8ee;
    --best: #1d3526; --best-ink: #8fd6a5; --c0: #56a8e0; --c1: #f0894a; --c2: #3dbd97;
    --c3: #e39ac4; --c4: #d9ab3c; --c5: #9bd0f5; --c6: #a89bea; --c7: #a9a9a9 }
}
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100% }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55;
  font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif }
main, header, footer { max-width: 1120px; margin: 0 auto; padding: 0 28px }
header { padding-top: 64px }
h1, h2, .lead {
  font-family: Charter, 'Iowan Old Style', 'Palatino Linotype', Georgia, 'Noto Serif', 'Liberation Serif', serif }
h1 { font-size: clamp(1.8rem, 4.5vw, 2.75rem); line-height: 1.15; letter-spacing: -.015em; margin: 0 0 .5em;
  font-weight: 600; text-wrap: balance; overflow-wrap: anywhere }
.lead { font-size: 1.22rem; line-height: 1.55; max-width: 42em; margin: 0 0 1em; white-space: pre-line }
nav { display: flex; flex-wrap: wrap; gap: .4em 1.4em; margin-top: 1.6em; padding: .7em 0;
  border-block: 1px solid var(--line); font-size: .92rem }
a { color: var(--accent); text-underline-offset: .2em }
section { padding: 52px 0 8px }
h2 { font-size: 1.7rem; line-height: 1.2; margin: 0; font-weight: 600; overflow-wrap: anywhere }
h3 { font-size: .8rem; letter-spacing: .08em; text-transform: uppercase; color: var(--soft); font-weight: 600;
  margin: 2.6em 0 .9em }
.headline { margin: .45em 0 .9em; font-size: 1.05rem }
.chips { display: flex; flex-wrap: wrap; gap: .4em; margin: 0 0 1.3em; padding: 0; list-style: none;
  font-size: .82rem }
.chips li { padding: .12em .65em; border: 1px solid var(--line); border-radius: 1em; color: var(--soft);
  overflow-wrap: anywhere }
.chips b { font-weight: 500; color: var(--ink) }
.chips .apart { border-color: var(--accent) }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px }
table { border-collapse: collapse; font-variant-numeric: tabular-nums lining-nums }
.board { width: 100%; font-size: .93rem }
.board caption { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden }
.board th, .board td { padding: .6rem .8rem; text-align: left; vertical-align: baseline;
  border-top: 1px solid var(--line); white-space: nowrap }
.board thead th { border-top: 0; font-size: .78rem; font-weight: 600; color: var(--soft); vertical-align: bottom;
  white-space: normal; line-height: 1.3 }
.board .number { text-align: right }
.board tbody th { font-weight: 500; white-space: normal; min-width: 11em }
.board small { display: block; overflow-wrap: anywhere; color: var(--soft); font-weight: 400;
  font-size: .86em }
.board .best { background: var(--best); color: var(--best-ink); font-weight: 650 }
.best .tick::before { content: '\\2605\\00a0'; font-size: .8em }
.blank { color: var(--soft) }
.strip { display: block; position: relative; height: 3px; min-width: 84px; margin-top: .4em; border-radius: 2px;
  background: var(--line) }
.strip i { position: absolute; top: -2.5px; width: 8px; height: 8px; margin-left: -4px; border-radius: 50%;
  background: var(--accent) }
.kind { display: inline-block; padding: 0 .55em; border-radius: .8em; font-size: .82em;
  border: 1px solid currentColor; color: var(--soft) }
.kind.exact { background: var(--accent); border-color: var(--accent); color: var(--card) }
.kind.bound { color: var(--accent) }
.kind.estimate { border-style: dashed }
.net { white-space: nowrap }
.net::before { content: ''; display: inline-block; width: .6em; height: .6em; margin-right: .45em;
  border-radius: 50%; border: 1.5px solid var(--accent) }
.net.yes::before { background: var(--accent) }
.legend { color: var(--soft); font-size: .84rem; margin: .9em 0 0; max-width: 68em }
.legend > span { margin-right: 1.2em }
.gallery { display: grid; gap: 26px; grid-template-columns: repeat(auto-fill, minmax(min(230px, 100%), 1fr));
  align-items: start }
.gallery.wide { grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)) }
figure { margin: 0; min-width: 0 }
figure img { display: block; width: 100%; height: auto; border-radius: 6px; border: 1px solid var(--line) }
figcaption { font-size: .86rem; margin-bottom: .5em; overflow-wrap: anywhere; font-weight: 500 }
figure.real figcaption { color: var(--accent) }
figure.real img, figure.real pre { border-color: var(--accent) }
pre { margin: 0; padding: 1em 1.1em; max-height: 22em; overflow: auto; background: var(--card);
  border: 1px solid var(--line); border-radius: 8px;
  font: .82rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace;
  white-space: pre-wrap; overflow-wrap: anywhere }
.plot { position: relative; padding: 14px 16px; margin-bottom: 18px }
.curves { display: block; width: 100%; min-width: 600px; height: auto }
.curves text { font: 11.5px system-ui, 'Liberation Sans', sans-serif; fill: var(--soft);
  font-variant-numeric: tabular-nums }
.curves .name { font-size: 12px; fill: var(--ink) }
.curves .grid { stroke: var(--line) }
.curves .axis { stroke: var(--soft) }
.curves .rule { stroke: var(--soft); stroke-dasharray: 2 3 }
.tip { position: absolute; z-index: 1; pointer-events: none; top: 44px; padding: .45em .75em; border-radius: 6px;
  background: var(--ink); color: var(--paper); font-size: .78rem; line-height: 1.45; white-space: pre;
  font-variant-numeric: tabular-nums }
details { border: 1px solid var(--line); border-radius: 8px; background: var(--card); margin-bottom: 8px }
summary { padding: .6em 1em; cursor: pointer; font-size: .93rem; overflow-wrap: anywhere }
summary small { color: var(--soft) }
.inside { padding: 0 1em 1em; overflow-x: auto }
.inside h4 { margin: 1.2em 0 .4em; font-size: .84rem }
.inside table { font-size: .84rem; width: 100% }
.inside th, .inside td { text-align: left; vertical-align: top; padding: .22em 1.4em .22em 0; font-weight: 400;
  overflow-wrap: anywhere; border-top: 1px solid var(--line) }
.inside th { color: var(--soft); width: 1%; white-space: nowrap }
.inside td { min-width: 5em }
.inside .rows th { white-space: normal; width: auto }
footer { color: var(--soft); font-size: .84rem; padding-block: 36px 56px }
@media (max-width: 600px) {
  main, header, footer { padding-inline: 16px }
  header { padding-top: 36px }
  .board th, .board td { padding: .5rem .65rem }
  .board tbody th { min-width: 8.5em }
  section { padding-top: 40px }
  .gallery { grid-template-columns: repeat(2, 1fr); gap: 14px }
  .gallery.wide { grid-template-columns: 1fr }
  .inside th { white-space: normal; min-width: 8em }
}
@media print {
  :root { color-scheme: light; --paper: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #ccc;
    --accent: #0b57a4; --best: #fff; --best-ink: #000 }
  body { font-size: 10.5pt }
  main, header, footer { max-width: none; padding-inline: 0 }
  nav, .tip { display: none }
  .scroll, .inside { overflow: visible }
  header { padding-top: 0 }
  section { padding-top: 24px }
  pre { max-height: none }
  figure, .plot, tr { break-inside: avoid }
  h2, h3 { break-after: avoid }
}
"""

SCRIPT = """
for (const svg of document.querySelectorAll('svg.curves')) {
  const box = svg.parentNode, rule = svg.querySelector('.rule'), tip = document.createElement('div');
  const lines = [...svg.querySelectorAll('polyline')].map(line => ({
    name: line.dataset.name, x: line.dataset.x.split(' '), y: line.dataset.y.split(' '),
    at: line.getAttribute('points').split(' ').map(point => Number(point.split(',')[0])) }));
  const hide = () => { tip.hidden = true; rule.setAttribute('visibility', 'hidden'); };
  tip.className = 'tip'; hide(); box.append(tip);
  svg.addEventListener('pointermove', event => {
    const frame = svg.getBoundingClientRect();
    const across = (event.clientX - frame.left) * svg.viewBox.baseVal.width / frame.width;
    const far = (line, i) => Math.abs(line.at[i] - across);
    const near = line => line.at.reduce((best, _, i) => far(line, i) < far(line, best) ? i : best, 0);
    const place = Math.min(...lines.map(line => far(line, near(line))));
    const shown = lines.map(line => [line, near(line)]).filter(([line, i]) => far(line, i) < place + 6);
    if (!shown.length) return hide();
    const [first, at] = shown[0], values = shown.map(([line, i]) => line.y[i] + '  ' + line.name);
    tip.textContent = [svg.dataset.across + ' ' + first.x[at], ...values].join('\\n');
    tip.hidden = false;
    rule.setAttribute('visibility', 'visible');
    for (const end of ['x1', 'x2']) rule.setAttribute(end, first.at[at]);
    const left = event.clientX - box.getBoundingClientRect().left + box.scrollLeft;
    const side = left > box.clientWidth / 2 + box.scrollLeft ? left - tip.offsetWidth - 14 : left + 14;
    tip.style.left = Math.max(0, side) + 'px';
  });
  svg.addEventListener('pointerleave', hide);
}
addEventListener('beforeprint', () => { for (const one of document.querySelectorAll('details')) one.open = true; });
"""
