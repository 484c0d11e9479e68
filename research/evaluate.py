"""What a fitted model can do: score, draw, and be compared. A model without an ability leaves that number out.

Numbers are `Result`s, one line each in RUN/results.jsonl with all that is needed to know where it came from; the nats of
each test example lie in RUN/nats beside it. Samples and real data are laid side by side for the report.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from research import portraits
from research.data.chunks import Chunks
from research.data.source import Data, prepare
from research.engine import card, measure, score
from research.metrics import codes, distances, factors, latents, ndb
from research.report import cells, pictures, protocol, records
from research.report.markup import write_atomically
from research.types import Array, Batch, Domain, Encoder, Key, Params, Sampled, Scorer

SCORE_BATCH = 500
PICTURES, POINTS = 64, 2000
DRAWN = 10_000  # samples at most, and no more than there are test examples
BINS, FEWEST_BINS, MEMBERS = 100, 5, 140  # of NDB: at most; at least, else it is left out; training examples for each
TEXT_SAMPLES, TEXT_LENGTH = 4, 300


class Result(NamedTuple):
    """One number and how it was estimated; with its provenance a line of RUN/results.jsonl."""

    metric: str
    value: float
    unit: str
    kind: str
    n: int
    split: str
    settings: dict[str, Any]


class Fitted(NamedTuple):
    """A run that was trained, or loaded from its folder."""

    run: Any  # a research.run.Run
    params: Params
    domain: Domain

    @property
    def model(self) -> Any:
        return self.run.trainer.model


class Scored(NamedTuple):
    """Numbers, and what each example contributed to the score: comparisons pair them. None where a model cannot score."""

    results: list[Result]
    nats: np.ndarray | None = None  # [n] float64, of each example, as the score has them (per grey level, say)
    units: np.ndarray | None = None  # [n] scored units in each: the score is sum(nats) / sum(units)


def evaluate(fitted: Fitted, data: Data, samples: int | None = None, split: str = 'test') -> Scored:
    """Every number that this model can give on this data; a model that cannot score leaves its score out."""
    scored = score_results(fitted, data, samples, split)
    told = latent_results(fitted, data, split) + factor_results(fitted, data, split)
    scored = scored._replace(results=scored.results + told)
    if fitted.domain.modality == 'image' and len(getattr(data, split)) >= distances.MINIMUM:
        return scored._replace(results=scored.results + sample_results(fitted, data, split))
    return scored


def score_results(fitted: Fitted, data: Data, samples: int | None = None, split: str = 'test') -> Scored:
    """`test_nll` in nats per unit, with the standard error over examples, and the same in bits."""
    if not isinstance(fitted.model, Scorer):
        return Scored([])
    model: Any = fitted.model
    domain = fitted.domain
    settings: dict[str, Any] = {'preprocessing': data.values}
    batch = SCORE_BATCH
    sampled = isinstance(model, Sampled)
    if sampled:
        model = dataclasses.replace(model, score_samples=samples or model.score_samples)
        settings['samples'] = model.score_samples
        batch = 100
    part = getattr(data, split)
    key = jax.random.fold_in(jax.random.key(fitted.run.seed), 777)
    log_p = score.log_prob(model, fitted.params, part.x, key, batch, progress=True)
    count = score.units(part.x, domain)
    nats = -log_p - count * score.variables(domain) * np.log(domain.cell)
    if domain.cell != 1.0:
        settings['per_grey_level'] = True
    value = float(nats.sum(dtype=np.float64) / count.sum())
    each = nats / np.maximum(count, 1)
    settings['standard_error'] = round(float(each.std(ddof=1) / np.sqrt(len(each))), 6) if len(each) > 1 else None
    n, kind, per = int(count.sum()), model.log_prob_kind, domain.unit
    nll = Result(f'{split}_nll', value, f'nats per {per}', kind, n, split, settings)
    bits = value / score.variables(domain) / np.log(2)
    dimension = 'character' if domain.unit == 'character' else 'dimension'
    both = [nll, Result('bits_per_dim', float(bits), f'bits per {dimension}', kind, n, split, settings)]
    return Scored(both, nats.astype(np.float64), count)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Code:
    """The mean of q(z | x), flat."""

    model: Encoder

    def measure(self, params: Params, x: Batch, key: Key) -> Array:
        return self.model.encode(params, x)[0].reshape(len(x), -1)


def latent_results(fitted: Fitted, data: Data, split: str) -> list[Result]:
    """Distortion, rate and active units of a model with latent variables; nothing for any other."""
    latent, x = latents.latent(fitted.model), getattr(data, split).x
    if latent is None:
        return []
    reading = codes.reading(fitted.model, latent)
    found = measure.each(reading, fitted.params, x, jax.random.fold_in(jax.random.key(fitted.run.seed), 779), 100)
    told = codes.figures(found, reading.terms.draws)
    return [Result(f.metric, f.value, f.unit, 'estimate', len(x), split, f.settings) for f in told]


def factor_results(fitted: Fitted, data: Data, split: str) -> list[Result]:
    """How single latents stand for the factors that made the examples; nothing where there is no code or fewer than two factors."""
    part, varying = getattr(data, split), [size for size in (data.factors or {}).values() if size > 1]
    if len(varying) < 2 or len(part) < distances.MINIMUM or not isinstance(fitted.model, Encoder):
        return []
    x, truth = np.asarray(part.x[: factors.POINTS]), part.factors[: factors.POINTS]
    means = measure.each(_Code(model=fitted.model), fitted.params, x, jax.random.key(0), SCORE_BATCH)
    if not np.isfinite(means).all():  # it has diverged
        return []
    found = factors.measure(means, truth)
    return [Result(f.metric, f.value, 'score', 'estimate', len(x), split, f.settings) for f in found]


def sample_results(fitted: Fitted, data: Data, split: str) -> list[Result]:
    """Distances between samples and test data, on raw pixels: a first figure, and no more than that. And NDB, where there
    are training images enough: how samples fall into the bins of those, as many samples as test images."""
    part = getattr(data, split).x[:DRAWN]
    scale = 1.0 if fitted.domain.kind != 'integer' else 1.0 / (fitted.domain.values - 1)
    real, fake = (x.reshape(len(x), -1) * scale for x in (part, draw(fitted, len(part), seed=1)))
    n = min(len(part), distances.MAXIMUM)
    settings = {'features': 'pixels', 'samples': n, 'preprocessing': data.values}
    measured = {'pixel_mmd': distances.mmd(fake[:n], real[:n]), 'pixel_frechet': distances.frechet(fake[:n], real[:n])}
    results = [Result(k, v, 'squared distance', 'estimate', n, split, settings) for k, v in measured.items()]
    return results + bin_results(data, fake, scale, split)


def bin_results(data: Data, fake: np.ndarray, scale: float, split: str) -> list[Result]:
    """NDB / K and its divergence for samples [m, dims]; nothing where training images are few, or are not in memory."""
    count = min(BINS, len(data.train) // MEMBERS)
    if count < FEWEST_BINS or isinstance(data.train.x, Chunks):
        return []
    bins = _bins(_Reference(data.sha256, data.values, len(data.train), count, scale, data))
    counts = ndb.histogram(bins, fake)
    settings: dict[str, Any] = {'threshold': ndb.THRESHOLD, 'bins': count, 'samples': len(fake)}
    settings |= {'binned': int(bins.counts.sum()), 'preprocessing': data.values}
    share, divergence = ndb.share(bins.counts, counts), ndb.divergence(bins.counts, counts)
    return [
        Result('ndb', share, 'share of bins', 'estimate', len(fake), split, settings),
        Result('ndb_js', divergence, 'divergence in nats', 'estimate', len(fake), split, settings),
    ]


@dataclasses.dataclass(frozen=True)
class _Reference:
    """What decides the bins of a set, and the set itself."""

    sha256: str
    values: str
    examples: int
    count: int
    scale: float
    data: Data = dataclasses.field(compare=False)


@functools.lru_cache(maxsize=4)
def _bins(of: _Reference) -> ndb.Bins:
    """Once per process: they depend on the data alone, and all models of a table share them."""
    raw = np.asarray(of.data.train.x)
    x = prepare(raw, of.data.values, of.data.levels, np.random.default_rng(0)).reshape(len(raw), -1)
    return ndb.make(x * np.float32(of.scale), of.count)


def draw(fitted: Fitted, n: int, seed: int = 0, length: int | None = None) -> np.ndarray:
    """[n, ...] samples; for text [n, length] symbols."""
    key = jax.random.fold_in(jax.random.key(seed), 778)
    shape = (length or TEXT_LENGTH,) if fitted.domain.kind == 'tokens' else fitted.domain.shape
    return score.sample(fitted.model, fitted.params, key, n, shape)


def record(folder: Path, scored: Scored) -> None:
    """Append a line per number to RUN/results.jsonl: it, its provenance, and the file of its nats where it has any.

    Each line is one write, so that a crash leaves whole lines and at most one half of one, which the next call removes.
    """
    origin = provenance(card.read(folder))
    path = folder / 'results.jsonl'
    _mend(path)
    with path.open('ab', buffering=0) as file:
        for result in scored.results:
            line = result._asdict() | {'nats': _keep(folder, result, scored)} | origin
            file.write((json.dumps(line, default=str) + '\n').encode())
        os.fsync(file.fileno())


def recall(folder: Path, count: int | None = None) -> Scored:
    """What `record` wrote first, so many figures (None: all), and the nats behind the likelihood."""
    found = records.read(folder)
    lines = found.lines[:count]
    results = [Result(r.metric, r.value, r.unit, r.kind, r.n or 0, r.split, dict(r.settings)) for r in lines]
    likelihood = next((r for r in lines if r.unit.startswith('nats')), None)
    kept = cells.nats(found, likelihood) if likelihood else None
    return Scored(results, *kept) if kept else Scored(results)


def _mend(path: Path) -> None:
    """Take away the half of a line that a crash left at the end of a file, or end a last line that is whole."""
    content = path.read_bytes() if path.exists() else b''
    start = content.rfind(b'\n') + 1
    if start == len(content):
        return
    try:
        json.loads(content[start:])
        kept = content + b'\n'
    except ValueError:
        kept = content[:start]
    write_atomically(path, kept)


def provenance(found: dict[str, Any]) -> dict[str, Any]:
    """Where a number of the run with this card comes from: data, config, and the machines that trained and evaluated."""
    data = {name: found['data'].get(name) for name in ('name', 'sha256', 'values', 'protocol')}
    trained = {name: found.get(name) for name in ('commit', 'device', 'versions')}
    names = ('config', 'model', 'trainer', 'seed', 'overrides')
    return {name: found.get(name) for name in names} | {
        'data': data,
        'measure': protocol.measure(found),
        'values': found.get('values'),
        'trained': trained,
        'evaluated': _here(),
        'time': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    }


@functools.cache
def _here() -> dict[str, Any]:
    """Once per process: asking git takes 15 ms, and a sweep has many members."""
    return {'commit': card.commit(), 'device': card.device(), 'versions': card.versions()}


def _keep(folder: Path, result: Result, scored: Scored) -> str | None:
    """Write the nats behind a likelihood to RUN/nats; the file's name within the run, None for any other number."""
    if scored.nats is None or scored.units is None or not result.unit.startswith(('nats per ', 'bits per ')):
        return None
    drawn = result.settings.get('samples')
    name = f'nats/{result.split}-{result.kind}' + (f'-{drawn}' if drawn else '') + '.npz'
    if result.unit.startswith('nats'):  # the same in bits needs no file of its own
        content = io.BytesIO()
        np.savez_compressed(content, nats=scored.nats, units=scored.units)
        write_atomically(folder / name, content.getvalue())
    return name


def show(fitted: Fitted, folder: Path, data: Data) -> None:
    """Samples and real data side by side, and what latents do, for the report."""
    portraits.save(fitted.model, fitted.params, fitted.domain, data, folder)
    if fitted.domain.modality == 'text':
        assert data.text is not None
        texts = [data.text.decode(ids) for ids in draw(fitted, TEXT_SAMPLES)]
        (folder / 'samples.txt').write_text('\n\n'.join(texts) + '\n', encoding='utf-8')
        start = np.asarray(data.test.x)[: 1 + TEXT_LENGTH // data.test.x.shape[1], fitted.domain.context :]
        (folder / 'data.txt').write_text(data.text.decode(start.reshape(-1)[:TEXT_LENGTH]) + '\n', encoding='utf-8')
        return
    look = dataclasses.asdict(fitted.domain)
    drawn = draw(fitted, PICTURES if fitted.domain.modality != 'points' else POINTS)
    real = np.asarray(data.test.x[: len(drawn)])
    limits = pictures.limits_of(real) if look['modality'] == 'points' and drawn.shape[1:] == (2,) else None
    np.savez_compressed(folder / 'samples.npz', samples=drawn)
    pictures.save(drawn, look, folder / 'samples.png', limits)
    pictures.save(real, look, folder / 'data.png', limits)
