"""The n-gram: count tiny_shakespeare to order 5 and score its last tenth, compilation included and not."""

from __future__ import annotations

import time

import jax
import numpy as np

from research.data import Text
from research.engine import fit, score
from research.models.ngram import NGram
from research.trainers.em import EMTrainer
from research.types import BadInput


def report() -> str:
    try:
        data = Text(name='tiny_shakespeare', length=1024, context=7).load()
    except BadInput as error:
        return f'n-gram: left out ({error})'
    model = NGram(order=5, context=data.domain.context, values=data.domain.values)
    x = np.asarray(data.train.x)
    plan = fit.Plan(EMTrainer(model=model), lambda x, key: x.astype(np.int32), x, 1, len(x), 0)
    lines = ['Witten-Bell 5-gram on tiny_shakespeare: count 1003854 characters, score 111540']
    for name in ('compiled on the way', 'again'):
        began = time.perf_counter()
        params = plan.trainer.params(fit.fit(plan, None, quiet=True))
        log_p = score.log_prob(model, params, np.asarray(data.test.x), jax.random.key(0), 500)
        units = score.units(data.test.x, data.domain).sum()
        seconds = time.perf_counter() - began
        lines.append(f'  {name:<20} {seconds:5.2f} s, {-log_p.sum(dtype=np.float64) / units:.4f} nats per character')
    return '\n'.join(lines)
