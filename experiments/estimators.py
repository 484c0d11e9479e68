"""How far are the estimates of log p(x) from log p(x)? A table of biases, on models where it is known and where it is enclosed.

    python -m experiments.estimators                     # writes estimators/index.html; under three minutes on two cores
    python -m experiments.estimators --out out --examples 200 --temperatures 10,100,1000,10000

Three VAEs are trained on scikit-learn's digits, and each estimator of `research/metrics/likelihood.py` is compared with

    linear    a linear decoder with a fixed scale: log p(x) in closed form, that of probabilistic PCA
    2-D       two latent variables, Bernoulli pixels: log p(x) by quadrature over the plane
    deep      eight latent variables: log p(x) is not known, but enclosed, on images that the model itself made

in nats per image. The first two score test images, but for the reverse path, which starts from the z that an image was made of:
it is taken on images of the model's own, against their exact values, as the deep model's estimates all are. Forward and importance
bounds are too low on average, reverse ones too high; what the draws cost is counted in passes of the decoder per image.
Intervals are of 95 %, over the images and the draws of this one fit.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.is_it_a_neural_network import make_room
from research import run as runs
from research.data import Images
from research.engine import cache, fit, measure
from research.maths import annealing
from research.maths.annealing import Annealing
from research.maths.likelihoods import Bernoulli, Gaussian
from research.metrics import exact, likelihood
from research.metrics.latents import Codes
from research.metrics.likelihood import Annealed, Estimate, Importance, Sandwich, Terms
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.report import curves, page
from research.report.leaderboard import Column, aligned
from research.report.markup import text, write_atomically
from research.run import Run
from research.trainers.gradient import GradientTrainer
from research.types import Array, BadInput, Params
from scripts import cli

SCALE, FACTORS = 0.16, 6  # near what probabilistic PCA finds for itself
CHUNK = 50
HEAD = ('estimator', 'decoder passes', 'nats', 'bias', 'low', 'high')
TITLE = 'How far are the estimates from log p(x)?'


class Subject(NamedTuple):
    """A fitted model; images it is asked about and images it made; and log p(x) of both, [n], where it is known."""

    name: str
    model: Codes
    params: Params
    x: np.ndarray
    made: dict[str, np.ndarray]
    exact: np.ndarray | None
    made_exact: np.ndarray | None


class Row(NamedTuple):
    """One estimator on one subject: what it costs, its mean, and how far it is from the reference, both over images."""

    curve: str
    label: str
    passes: int
    nats: Estimate
    bias: Estimate


def vae(net: MLP, latent: int, of_pixels: Bernoulli | Gaussian) -> VAE:
    return VAE(encoder=net, decoder=net, likelihood=of_pixels, latent=latent)


def models() -> dict[str, tuple[VAE, Images]]:
    """What is trained, and on which digits."""
    bits, grey = Images(values='binarise'), Images(values='dequantise')
    return {
        'linear': (vae(MLP(hidden=()), FACTORS, Gaussian(scale=SCALE)), grey),
        '2-D': (vae(MLP(hidden=(64,)), 2, Bernoulli()), bits),
        'deep': (vae(MLP(hidden=(64, 64)), 8, Bernoulli()), bits),
    }


EXACT: dict[str, Callable[..., Array]] = {'linear': exact.linear, '2-D': exact.plane}


def subject(name: str, epochs: int, examples: int) -> Subject:
    """Train a model and find out what can be known of it."""
    model, spec = models()[name]
    run = Run(data=spec, trainer=GradientTrainer(model=model), epochs=epochs)
    data = spec.load(None)
    if examples > len(data.test):
        raise BadInput(f'--examples {examples}: there are {len(data.test)} test images; expected at most that')
    bound, plan = runs.prepare(run, data)
    params = bound.trainer.params(fit.fit(plan, None, quiet=not sys.stderr.isatty()))
    codes = Codes(vae=model)
    shape = data.domain.shape
    drawn = jax.jit(lambda params: likelihood.simulate(codes, params, jax.random.key(1), examples, shape))(params)
    made, x = jax.tree.map(np.asarray, drawn), data.test.x[:examples]
    if name not in EXACT:
        return Subject(name, codes, params, made['x'], made, None, None)
    known = jax.jit(functools.partial(EXACT[name], model))
    with jax.default_matmul_precision('highest'):
        both = np.asarray(known(params, jnp.concatenate([x, made['x']])), np.float64)
    return Subject(name, codes, params, x, made, both[:examples], both[examples:])


@functools.cache
def paths(sandwich: Sandwich) -> Callable[..., Any]:
    """`sandwich.measure` with the number of temperatures as an argument: paths of any length are one program."""

    def run(temperatures: Any, params: Params, data: Any, key: Array) -> Any:
        how = dataclasses.replace(sandwich.forward.how, temperatures=temperatures)
        return Sandwich(forward=dataclasses.replace(sandwich.forward, how=how)).measure(params, data, key)

    return jax.jit(run)


def sandwiched(one: Subject, base: Any, temperatures: int, chains: int, leapfrog: int) -> tuple[np.ndarray, np.ndarray]:
    """Lower bounds of the images asked about, [n], and upper bounds of those that the model made, [n]."""
    forward = Annealed(model=one.model, how=Annealing(leapfrog=leapfrog), chains=chains, base=base)
    asked = one.exact is not None  # else both are the same images
    x = np.concatenate([one.x, one.made['x']]) if asked else one.x
    z = np.tile(one.made['z'], (2 if asked else 1, 1))  # only the second half of what comes back is used of these
    with jax.default_matmul_precision('highest'):
        data = {'x': jnp.asarray(x), 'z': jnp.asarray(z)}
        found = paths(Sandwich(forward=forward))(jnp.int32(temperatures), one.params, data, jax.random.key(2))
    n = len(one.x)
    return np.asarray(found['lower'], np.float64)[:n], np.asarray(found['upper'], np.float64)[-n:]


def passes(temperatures: int, chains: int, leapfrog: int) -> int:
    """Of the decoder, with those of the pilots."""
    pilots = Annealed.pilots * (annealing.SEGMENTS * annealing.SMOOTHED * leapfrog + 1)
    return chains * (temperatures * leapfrog + 1) + pilots


def rows(
    one: Subject, draws: Sequence[int], temperatures: Sequence[int], chains: int, leapfrog: int
) -> tuple[list[Row], Estimate | None]:
    """The table of a subject; and of one without exact values how far apart its reference, an upper bound, and the lower one are."""
    found: list[tuple[str, str, int, np.ndarray, np.ndarray | None]] = []
    terms = measure.each(Terms(model=one.model, draws=CHUNK), one.params, one.x, jax.random.key(3), len(one.x))
    found.append(('ELBO', 'ELBO', CHUNK, terms['elbo'], one.exact))
    for k in draws:
        estimator = Importance(model=one.model, samples=k, chunk=CHUNK)
        lower = measure.each(estimator, one.params, one.x, jax.random.key(4 + k), len(one.x))['lower']
        found.append(('importance', f'importance, k = {k}', k, lower, one.exact))
    gap = None
    for base, of, lengths in (
        ('prior', 'the prior', temperatures),
        ('proposal', 'q', temperatures[:-1] or temperatures),
    ):
        for t in lengths:
            lower, upper = sandwiched(one, base, t, chains, leapfrog)
            cost = passes(t, chains, leapfrog)
            found.append((f'from {of}', f'annealing from {of}, T = {t}', cost, lower, one.exact))
            found.append((f'back to {of}', f'annealing back to {of}, T = {t}', cost, upper, one.made_exact))
    if one.exact is None:  # the last path, which starts at q, is the reference
        gap = likelihood.over_examples(upper - lower)
    table = [
        Row(
            curve,
            label,
            cost,
            likelihood.over_examples(values),
            likelihood.over_examples(values - (upper if truth is None else truth)),
        )
        for curve, label, cost, values, truth in found
    ]
    return table, gap


def columns(table: Sequence[Row]) -> list[Column]:
    cells = [
        [row.label, f'{row.passes:,}', f'{row.nats.mean:.2f}', *(_signed(v) for v in (row.bias.mean, row.bias.low, row.bias.high))]
        for row in table
    ]  # fmt: skip
    return [
        Column(key=head, head=head, cells=tuple(column), numeric=i > 0)
        for i, (head, *column) in enumerate(zip(HEAD, *cells, strict=True))
    ]


def _signed(value: float | None) -> str:
    return '' if value is None else f'{value:+.3f}'


def told(one: Subject, gap: Estimate | None) -> str:
    """What the biases of a table are from."""
    if gap is None:
        return (
            f'{one.name}: bias against the exact log p(x), {len(one.x)} test images; back: as many of the model’s own'
        )
    interval = f' ({_signed(gap.low)} to {_signed(gap.high)})' if gap.low is not None else ''
    return (
        f'{one.name}: bias against the upper bound of the last line, {len(one.x)} images of the model’s own; the lower bound '
        f'by the same path is {gap.mean:.3f}{interval} below it'
    )


def markdown(title: str, table: Sequence[Row]) -> str:
    shown = columns(table)
    lines = [[column.head for column in shown], ['---', *['--:'] * (len(shown) - 1)]]
    lines += [list(cells) for cells in zip(*(column.cells for column in shown), strict=True)]
    return f'{title}\n\n' + '\n'.join(f'| {" | ".join(line)} |' for line in lines) + '\n'


def picture(table: Sequence[Row]) -> str:
    """Bias over decoder passes, with its interval: SVG."""
    series = []
    for curve in dict.fromkeys(row.curve for row in table if row.curve != 'ELBO'):
        own = [row for row in table if row.curve == curve]
        low, high = ([getattr(row.bias, edge) or row.bias.mean for row in own] for edge in ('low', 'high'))
        x, y = [float(row.passes) for row in own], [row.bias.mean for row in own]
        series.append(curves.Series(name=curve, x=x, y=y, lower=low, upper=high))
    marks = sorted({float(row.passes) for row in table if row.curve != 'ELBO'})
    return curves.svg(series, x_label='decoder passes per image', y_label='bias, nats', marks=marks, log_x=True)


def write(out: Path, found: Sequence[tuple[str, list[Row]]], seconds: float) -> None:
    """estimators.json, table.md and index.html."""
    records = {
        title: [row._asdict() | {'nats': row.nats._asdict(), 'bias': row.bias._asdict()} for row in table]
        for title, table in found
    }
    write_atomically(out / 'estimators.json', json.dumps(records, indent=1).encode())
    write_atomically(out / 'table.md', '\n'.join(markdown(*one) for one in found).encode())
    parts = [
        f'<section><h2>{text(title)}</h2>{picture(table)}<pre>{text(chr(10).join(aligned(columns(table))), keep=chr(10))}</pre></section>'
        for title, table in found
    ]
    lead = 'Nats per image. Lower bounds lie below zero, upper ones (the paths back) above; bands are 95 % intervals over images and draws.'
    content = page.document(
        TITLE, f'<p class="lead">{lead}</p>', ''.join(parts), f'One fit of each model; {seconds:.0f} s in all.'
    )
    write_atomically(out / 'index.html', content.encode())


def counts(words: Sequence[str], flag: str) -> list[int]:
    """Whole numbers of at least one, in order. Raises BadInput naming the flag."""
    if not words or not all(word.isdecimal() and int(word) for word in words):
        raise BadInput(f'--{flag} {",".join(words)}: expected whole numbers of at least 1, such as 10,100')
    return sorted(map(int, words))


def define_flags() -> None:
    """Flags are defined when run, not when imported: another script may have one of the same name."""
    flags.DEFINE_string('out', 'estimators', 'Folder for index.html, table.md and estimators.json.')
    flags.DEFINE_list('draws', ['1', '5', '50', '500', '5000'], 'k of the importance-weighted bounds.')
    flags.DEFINE_list('temperatures', ['10', '100', '1000'], 'T of the annealed paths.')
    flags.DEFINE_integer('examples', 100, 'Images of each kind.', lower_bound=2)
    flags.DEFINE_integer('chains', 8, 'Annealed chains for each image.', lower_bound=1)
    flags.DEFINE_integer('leapfrog', 5, 'Steps of a trajectory.', lower_bound=1)
    flags.DEFINE_integer('epochs', 150, 'Of training.', lower_bound=1)


def main(argv: list[str]) -> int:
    options, began = flags.FLAGS, time.perf_counter()
    draws, temperatures = (counts(getattr(options, name), name) for name in ('draws', 'temperatures'))
    out = Path(options.out)
    make_room(out)
    cache.enable()
    found: list[tuple[str, list[Row]]] = []
    for name in models():
        one = subject(name, options.epochs, options.examples)
        table, gap = rows(one, draws, temperatures, options.chains, options.leapfrog)
        found.append((told(one, gap), table))
        print('\n'.join([found[-1][0], *aligned(columns(table)), '']), flush=True)
        write(out, found, time.perf_counter() - began)
    print(f'all in {time.perf_counter() - began:.0f} s; the page: {(out / "index.html").resolve()}')
    return 0


if __name__ == '__main__':
    define_flags()
    cli.run(main)
