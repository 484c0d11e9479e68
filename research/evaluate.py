"""What a fitted model can do: score, draw, and be compared. A model without an ability leaves that number out.

Numbers are `Result`s, one line each in RUN/results.jsonl; samples and real data are laid side by side for the report.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from research.data.source import Data
from research.engine import score
from research.metrics import distances
from research.report import pictures
from research.types import Domain, Params, Scorer

SCORE_BATCH = 500
PICTURES, POINTS = 64, 2000
TEXT_SAMPLES, TEXT_LENGTH = 4, 300


class Result(NamedTuple):
    """One number and how it came to be; a line of RUN/results.jsonl."""

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


def evaluate(fitted: Fitted, data: Data, samples: int | None = None, split: str = 'test') -> list[Result]:
    """Every number that this model can give on this data; a model that cannot score leaves its score out."""
    results = score_results(fitted, data, samples, split)
    if fitted.domain.modality == 'image' and len(getattr(data, split)) >= distances.MINIMUM:
        results += sample_results(fitted, data, split)
    return results


def score_results(fitted: Fitted, data: Data, samples: int | None, split: str) -> list[Result]:
    """`test_nll` in nats per unit, with the standard error over examples, and the same in bits."""
    if not isinstance(fitted.model, Scorer):
        return []
    model, domain = fitted.run.trainer.model, fitted.domain
    settings: dict[str, Any] = {'preprocessing': data.values}
    batch = SCORE_BATCH
    if model.log_prob_kind == 'bound':
        model = dataclasses.replace(model, score_samples=samples or model.score_samples)
        settings['samples'] = model.score_samples
        batch = 100
    part = getattr(data, split)
    key = jax.random.fold_in(jax.random.key(fitted.run.seed), 777)
    log_p = score.log_prob(model, fitted.params, part.x, key, batch, progress=True)
    count = score.units(part.x, domain)
    nats = -log_p - count * domain.dims * np.log(domain.cell)
    if domain.cell != 1.0:
        settings['per_grey_level'] = True
    value = float(nats.sum(dtype=np.float64) / count.sum())
    each = nats / np.maximum(count, 1)
    settings['standard_error'] = round(float(each.std(ddof=1) / np.sqrt(len(each))), 6) if len(each) > 1 else None
    n, kind, per = int(count.sum()), model.log_prob_kind, domain.unit
    nll = Result(f'{split}_nll', value, f'nats per {per}', kind, n, split, settings)
    bits = value / domain.dims / np.log(2)
    dimension = 'character' if domain.unit == 'character' else 'dimension'
    return [nll, Result('bits_per_dim', float(bits), f'bits per {dimension}', kind, n, split, settings)]


def sample_results(fitted: Fitted, data: Data, split: str) -> list[Result]:
    """Distances between samples and test data, on raw pixels: a first figure, and no more than that."""
    part = getattr(data, split).x[: distances.MAXIMUM]
    drawn = draw(fitted, len(part), seed=1)
    scale = 1.0 if fitted.domain.kind != 'integer' else 1.0 / (fitted.domain.values - 1)
    real, fake = part.reshape(len(part), -1) * scale, drawn.reshape(len(drawn), -1) * scale
    settings = {'features': 'pixels', 'samples': len(fake), 'preprocessing': data.values}
    return [
        Result('pixel_mmd', distances.mmd(fake, real), 'squared distance', 'estimate', len(real), split, settings),
        Result(
            'pixel_frechet', distances.frechet(fake, real), 'squared distance', 'estimate', len(real), split, settings
        ),
    ]


def draw(fitted: Fitted, n: int, seed: int = 0, length: int | None = None) -> np.ndarray:
    """[n, ...] samples; for text [n, length] symbols."""
    key = jax.random.fold_in(jax.random.key(seed), 778)
    shape = (length or TEXT_LENGTH,) if fitted.domain.kind == 'tokens' else fitted.domain.shape
    return score.sample(fitted.model, fitted.params, key, n, shape)


def record(folder: Path, results: list[Result]) -> None:
    """Append one JSON line per number."""
    with (folder / 'results.jsonl').open('a') as file:
        for result in results:
            file.write(json.dumps(result._asdict()) + '\n')


def show(fitted: Fitted, folder: Path, data: Data) -> None:
    """Samples and real data side by side, for the report."""
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
