"""Fill in the lower half: which model knows best what belongs below the upper half of a digit, and how sure is it?

    python -m experiments.complete                        # digits; writes complete/index.html, under two minutes on two cores
    python -m experiments.complete --out complete --resume

A model that can tell the probability of a part of an image is scored by that of the lower half given the upper,

    log p(lower | upper) = log p(image) - log p(upper),

in nats per test image: exact for mixtures and circuits, which sum out what is not seen in closed form. A VAE bounds both terms
from below, so its difference is an estimate and wins nothing. How many nats the upper half saves, log p(lower | upper) -
log p(lower), says how far a model knows that both belong together. Models of different protocols (bits, grey levels, dequantised
grey levels) score different things: each protocol is a table of its own. What is finished in --out is used again with --resume.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.is_it_a_neural_network import DONE, make_room
from research import run as runs
from research.data.source import Data
from research.engine import score
from research.evaluate import Fitted
from research.report import page, pictures, sections
from research.report.markup import text, write_atomically
from research.types import BadInput, Conditional, Domain, Scorer
from scripts import cli, configs

PROTOCOLS: dict[str, tuple[str, ...]] = {
    'Bits': ('hclt_digits', 'bernoulli_mixture_digits', 'vae_binary_digits'),
    'Grey levels': ('quad_tree_digits', 'categorical_mixture_digits', 'vae_grey_digits'),
    'Dequantised grey levels': ('factor_analysers_digits', 'mixture_digits', 'mixture_full_digits', 'vae_digits'),
}
MEANING = {
    'Bits': 'Each pixel is 1 with its grey level as the probability, drawn once for the test images.',
    'Grey levels': 'Each pixel is one of 17 grey levels, and a model gives each a probability.',
    'Dequantised grey levels': 'Each pixel is a grey level plus uniform noise; the density is quoted per grey level.',
}
SHOWN, DRAWS = 12, 3  # images on the page, completions of each
SAMPLES = 100  # z for each image, where a model has to estimate
BATCH = 100
HEAD = ('model', 'network', 'lower half given the upper', 'lower half alone', 'saved', 'kind')
TITLE = 'Fill in the lower half'
GREY = 0.5  # of what is not given


class Scores(NamedTuple):
    """Nats of each test image, [n]: minus log p of its lower half, given the upper and alone."""

    given: np.ndarray
    alone: np.ndarray
    kind: str


class Filled(NamedTuple):
    """One model of a table: its scores, and completions [DRAWS, SHOWN, height, width] as shades in [0, 1]."""

    config: str
    network: bool
    scores: Scores
    shades: np.ndarray


def upper(shape: tuple[int, ...]) -> np.ndarray:
    """What is given of an image, bool [height, width, channels]: its first rows, half of them rounded up."""
    observed = np.zeros(shape, bool)
    observed[: math.ceil(shape[0] / 2)] = True
    return observed


def measure(fitted: Fitted, x: np.ndarray, observed: np.ndarray) -> Scores:
    """Nats of what is not observed in each of x [n, *shape]. Raises BadInput for a model that cannot tell them."""
    model = fitted.model
    able = isinstance(model, Conditional) and isinstance(model, Scorer)
    if not able:
        name = type(model).__name__
        raise BadInput(f'{name} cannot score a part of an image; expected a model with log_prob and log_marginal')
    if model.log_prob_kind == 'bound':
        model = dataclasses.replace(model, score_samples=SAMPLES)
    whole = score.log_prob(model, fitted.params, x, jax.random.key(0), BATCH)
    marginal = jax.jit(model.log_marginal)
    seen, hidden = (batched(functools.partial(marginal, fitted.params), x, part) for part in (observed, ~observed))
    cells = int((~observed).sum()) * math.log(fitted.domain.cell)  # a density, per grey level
    kind = 'exact' if model.log_prob_kind == 'exact' else 'estimate'
    return Scores(seen - whole - cells, -hidden - cells, kind)


def batched(function: Callable[[Any, np.ndarray], Any], x: np.ndarray, part: np.ndarray) -> np.ndarray:
    """[n] float64 of a function of batches of x and of a part; the last batch is filled up with repeats."""
    parts = []
    for first in range(0, len(x), BATCH):
        rows = np.minimum(np.arange(first, first + BATCH), len(x) - 1)
        with jax.default_matmul_precision('highest'):
            parts.append(np.asarray(function(jnp.asarray(x[rows]), part), np.float64))
    return np.concatenate(parts)[: len(x)]


def complete(fitted: Fitted, x: np.ndarray, observed: np.ndarray, draws: int) -> np.ndarray:
    """`draws` completions of each of x [n, *shape]: [draws, n, *shape]."""
    fill = jax.jit(fitted.model.conditional)
    key = jax.random.key(1)
    return np.stack(
        [np.asarray(fill(fitted.params, jnp.asarray(x), observed, jax.random.fold_in(key, i))) for i in range(draws)]
    )


def shades(x: np.ndarray, domain: Domain) -> np.ndarray:
    """Values as shades in [0, 1]."""
    return np.clip(x / (domain.values - 1) if domain.kind == 'integer' else x, 0, 1)


def examples(data: Data) -> np.ndarray:
    """Indices of the test images that are shown: of each label in turn the next, [at most SHOWN]."""
    label = data.test.label if data.test.label is not None else np.zeros(len(data.test), int)
    place = np.array([(label[:i] == label[i]).sum() for i in range(len(label))])
    return np.lexsort((label, place))[:SHOWN]


def fit(config: str, folder: Path) -> tuple[Fitted, Data]:
    """A run of this config, trained unless that is done, and its data."""
    run, began = configs.build(config), time.perf_counter()
    if not (folder / DONE).is_file():
        quiet = not sys.stderr.isatty()
        runs.train(run, folder, config=config, summary=configs.summary(config), resume=True, quiet=quiet)
        (folder / DONE).touch()
    fitted = runs.load(folder)
    print(f'{config:<32} {time.perf_counter() - began:6.1f} s', flush=True)
    return fitted, fitted.run.data.load(None)


def headline(filled: Sequence[Filled]) -> str:
    """One sentence: the lowest exact score, and how far the next exact one is."""
    exact = sorted((one for one in filled if one.scores.kind == 'exact'), key=lambda one: one.scores.given.mean())
    if not exact:
        return 'No model here has an exact score.'
    first, rest = exact[0], exact[1:]
    told = f'Least surprised by the lower half: {first.config}, {first.scores.given.mean():.2f} nats per image, exact'
    if not rest:
        return f'{told}.'
    gap = rest[0].scores.given - first.scores.given
    error = gap.std(ddof=1) / math.sqrt(len(gap))
    return f'{told}; the next exact one, {rest[0].config}, needs {gap.mean():.2f} ± {error:.2f} more.'


def table(filled: Sequence[Filled]) -> str:
    """HTML: one row a model, the lowest first."""
    rows = []
    for one in sorted(filled, key=lambda one: one.scores.given.mean()):
        given, alone, kind = one.scores
        error = given.std(ddof=1) / math.sqrt(len(given))
        network = 'yes' if one.network else 'no'
        numbers = [f'{given.mean():.2f}<small>± {error:.2g}</small>', f'{alone.mean():.2f}']
        numbers.append(f'{(alone - given).mean():.2f}')
        rows.append(
            f'<tr><th scope="row">{sections.breakable(one.config)}</th>'
            f'<td><span class="net {network}">{network}</span></td>'
            + ''.join(f'<td class="number">{number}</td>' for number in numbers)
            + f'<td><span class="kind {kind}">{kind}</span></td></tr>'
        )
    head = ''.join(f'<th scope="col"{" class=number" * (2 <= i <= 4)}>{name}</th>' for i, name in enumerate(HEAD))
    return (
        f'<div class="scroll"><table class="board"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        '<p class="legend"><span>Nats per test image, less is better; ± standard error over the test images</span>'
        '<span>exact: the model’s own probability</span><span>estimate: may err either way, so it wins nothing</span></p>'
    )


def section(name: str, truth: np.ndarray, observed: np.ndarray, filled: Sequence[Filled]) -> str:
    """HTML of one protocol; `truth` [SHOWN, height, width, channels] as shades."""
    given = np.where(observed, truth, GREY)
    figures = [figure('what is given', given, name, True), figure('the truth', truth, name, True)]
    figures += [figure(one.config, one.shades.reshape(-1, *truth.shape[1:]), name, False) for one in filled]
    return (
        f'<section><h2>{text(name)}</h2><p class="headline">{text(headline(filled))} {text(MEANING.get(name, ""))}</p>'
        f'{table(filled)}<h3>{DRAWS} completions of each</h3><div class="gallery wide">{"".join(figures)}</div></section>'
    )


def figure(label: str, images: np.ndarray, name: str, real: bool) -> str:
    return sections.figure(label, pictures.grid(images, columns=SHOWN), name, real)


def main(argv: list[str]) -> int:
    options = flags.FLAGS
    out, began, parts = Path(options.out), time.perf_counter(), []
    make_room(out, options.resume)
    for name, entries in PROTOCOLS.items():
        filled = []
        for config in entries:
            fitted, data = fit(config, out / config)
            observed, chosen = upper(fitted.domain.shape), data.test.x[examples(data)]
            scores = measure(fitted, data.test.x, observed)
            drawn = shades(complete(fitted, chosen, observed, DRAWS), fitted.domain)
            filled.append(Filled(config, fitted.model.network, scores, drawn))
            print(f'{"":<32} {scores.given.mean():8.2f} nats, {scores.kind}', flush=True)
        parts.append(section(name, shades(chosen, fitted.domain), observed, filled))
    lead = (
        'Each model sees the upper half of a digit and draws the lower half. Its score is minus the log-probability that it gives '
        'to the true one. What the upper half saves, against not seeing it, says how far the model knows that both belong together; '
        'below zero, it was surer of its guess than it should be.'
    )
    footer = (
        f'Digits of scikit-learn, 8 x 8; {len(data.test)} test images, {len(data.train)} for training; one seed each.'
    )
    content = page.document(TITLE, f'<p class="lead">{lead}</p>', ''.join(parts), footer)
    write_atomically(out / 'index.html', content.encode())
    print(f'all in {time.perf_counter() - began:.0f} s; the page: {(out / "index.html").resolve()}')
    return 0


if __name__ == '__main__':
    flags.DEFINE_string('out', 'complete', 'Folder for the runs and the page, index.html.')
    flags.DEFINE_bool('resume', False, 'Go on with what is in --out.')
    cli.run(main)
