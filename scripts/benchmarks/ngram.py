"""The n-gram: count tiny_shakespeare to order 5 and score its last tenth, compilation included and not; and beside nltk.lm.

nltk searches all contexts of an order for each continuation count, so it is given a part of the text: one fixed discount, one
symbol before the text, and single symbols mixed with 1 / values, which makes its KneserNeyInterpolated the model that ours is.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.data import Data, Text
from research.data.text import windows
from research.engine import fit, score
from research.maths.smoothing import KneserNey
from research.models.ngram import NGram
from research.trainers.em import EMTrainer
from research.types import BadInput
from scripts.benchmarks.contest import Contest, hold, table
from scripts.benchmarks.density import timed

KEY = jax.random.key(0)
READ, QUERIES, ORDER, DISCOUNT = 20_000, 300, 5, 0.75
REPEATS = 3


def report() -> str:
    try:
        data = Text(name='tiny_shakespeare', length=1024, context=7).load()
    except BadInput as error:
        return f'n-gram: left out ({error})'
    return f'{whole(data)}\n\n{beside(data)}'


def whole(data: Data) -> str:
    """All of the text, through the engine."""
    model = NGram(order=5, context=data.domain.context, values=data.domain.values)
    x = np.asarray(data.train.x)
    plan = fit.Plan(EMTrainer(model=model), lambda x, key: x.astype(np.int32), x, 1, len(x), 0)
    lines = ['Witten-Bell 5-gram on tiny_shakespeare: count 1003854 characters, score 111540']
    for name in ('compiled on the way', 'again'):
        began = time.perf_counter()
        params = plan.trainer.params(fit.fit(plan, None, quiet=True))
        log_p = score.log_prob(model, params, np.asarray(data.test.x), KEY, 500)
        units = score.units(data.test.x, data.domain).sum()
        seconds = time.perf_counter() - began
        lines.append(f'  {name:<20} {seconds:5.2f} s, {-log_p.sum(dtype=np.float64) / units:.4f} nats per character')
    return '\n'.join(lines)


def beside(data: Data) -> str:
    """Kneser-Ney beside nltk.lm, the same work: counting and query, counting alone, and how far the answers are apart."""
    if importlib.util.find_spec('nltk') is None:
        return 'Kneser-Ney beside nltk.lm: left out (nltk is not installed)'
    context, values = data.domain.context, data.domain.values
    train, test = (np.asarray(x)[:, context:].ravel() for x in (data.train.x, data.test.x))
    train, test = train[:READ], test[:QUERIES]
    count, query = ours(train, test, values)
    apart = np.abs(np.asarray(query(count())) - their_query(their_count(train, values), test, values)).max()
    contests = [
        Contest(
            name=f'Kneser-Ney {ORDER}-gram, {READ} characters counted, {QUERIES} scored',
            unit='counting and query',
            contenders={
                'ours': timed(lambda: query(count())),
                'nltk.lm': timed(lambda: their_query(their_count(train, values), test, values)),
            },
            want={'nltk.lm': 20.0},
        ),
        Contest(
            name='The same without the query, for which nltk searches all contexts',
            unit='counting',
            contenders={'ours': timed(count), 'nltk.lm': timed(lambda: their_count(train, values))},
        ),
    ]
    same = 'yes' if apart <= 1e-4 else 'NO'
    tables = '\n'.join(table(hold(contest, REPEATS)) for contest in contests)
    return f'{tables}\n  largest difference {apart:.1e} nats of a character, wanted 1e-4: {same}'


def ours(train: np.ndarray, test: np.ndarray, values: int) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Two functions, compiled: one counts `train`, one gives log p of each symbol of `test` [queries] from the counts."""
    model = NGram(order=ORDER, smoothing=KneserNey(discount=DISCOUNT), context=ORDER - 1, values=values)
    x = jnp.asarray(windows(train.astype(np.int16), 0, len(train), 1000, ORDER - 1))
    asked = jnp.asarray(windows(test.astype(np.int16), 0, len(test), 1, ORDER - 1))
    count = jax.jit(lambda x: model.solve({}, model.statistics({}, x)[0]))
    query = jax.jit(model.log_prob)
    return lambda: count(x), lambda params: query(params, asked, KEY)


def their_count(train: np.ndarray, values: int) -> Any:
    """nltk's counts."""
    from nltk.lm import KneserNeyInterpolated
    from nltk.util import everygrams

    model = KneserNeyInterpolated(ORDER, discount=DISCOUNT)
    grams = list(everygrams(['<s>', *map(str, train)], max_len=ORDER))
    model.fit([grams], vocabulary_text=[str(v) for v in range(values)])
    return model


def their_query(model: Any, test: np.ndarray, values: int) -> np.ndarray:
    """log p of each symbol [queries] by nltk, whose single symbols are mixed with 1 / values first."""
    followers = model.counts[2].values()
    kinds = sum(map(len, followers))
    before = {str(v): sum(str(v) in found for found in followers) for v in range(values)}
    left = DISCOUNT * sum(n > 0 for n in before.values()) / values
    single = {v: (max(n - DISCOUNT, 0) + left) / kinds for v, n in before.items()}
    model.estimator.unigram_score = single.get
    symbols = [str(v) for v in test]
    places = ((v, tuple(symbols[max(0, i - ORDER + 1) : i])) for i, v in enumerate(symbols))
    return np.log([model.unmasked_score(v, context) for v, context in places])
