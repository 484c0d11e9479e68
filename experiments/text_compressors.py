"""What do general compressors need for the same text? Beside the n-grams and PPM, which count the same training text.

    python -m experiments.text_compressors                              # python_reference, which comes with CPython
    python -m experiments.text_compressors --data tiny_shakespeare      # or any .txt

A compressor C is charged for the test text after it has read the training text: (|C(train + test)| - |C(train)|) bytes, in nats
(8 log 2 a byte) per character of the test text. It is no model with a p(x) that sums to one, and goes on learning while it reads
the test text, which the models here do not; zlib looks back 32 kB, bz2 in blocks of 900 kB, xz over all of it.
"""

from __future__ import annotations

import bz2
import dataclasses
import lzma
import math
import time
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from absl import flags

from research.data import Data, Text, named
from research.data.text import Corpus, read
from research.report.leaderboard import Column, aligned
from research.types import BadInput
from scripts import cli, configs

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    'zlib -9': lambda text: zlib.compress(text, 9),
    'bz2 -9': lambda text: bz2.compress(text, 9),
    'xz -9e': lambda text: lzma.compress(text, preset=9 | lzma.PRESET_EXTREME),
}
MODELS = ('ngram_shakespeare', 'kneser_ney_shakespeare', 'ppm_shakespeare')
WINDOW = 1024


class Figure(NamedTuple):
    """Nats per character of the test text, and the seconds it took."""

    name: str
    nats: float
    seconds: float


def compressed(corpus: Corpus) -> list[Figure]:
    """Each compressor on one text."""
    whole, train = corpus.text.encode(), corpus.text[: corpus.test_start].encode()
    characters = len(corpus.text) - corpus.test_start
    figures = []
    for name, compress in COMPRESSORS.items():
        began = time.perf_counter()
        extra = len(compress(whole)) - len(compress(train))
        figures.append(Figure(name, extra * 8 * math.log(2) / characters, time.perf_counter() - began))
    return figures


def modelled(config: str, spec: Text, data: Data) -> Figure:
    """A config's model on this text in place of its own."""
    from research import run as runs
    from research.engine import fit
    from research.evaluate import Fitted, score_results

    began = time.perf_counter()
    run, plan = runs.prepare(dataclasses.replace(configs.build(config), data=spec), data)
    params = run.trainer.params(fit.fit(plan, None, quiet=True))
    nll = score_results(Fitted(run, params, data.domain), data).results[0]
    return Figure(label(run.trainer.model), nll.value, time.perf_counter() - began)


def label(model: Any) -> str:
    """'NGram of order 7, KneserNey', 'PPM of order 5'."""
    from research.models.ngram import NGram

    kind = f', {type(model.smoothing).__name__}' if isinstance(model, NGram) else ''
    return f'{type(model).__name__} of order {model.order}{kind}'


def table(figures: list[Figure]) -> str:
    """Aligned lines, the best first."""
    ordered = sorted(figures, key=lambda figure: figure.nats)
    cells = {
        'nats': [f'{figure.nats:.4f}' for figure in ordered],
        'bits': [f'{figure.nats / math.log(2):.4f}' for figure in ordered],
        'seconds': [f'{figure.seconds:.2f}' for figure in ordered],
    }
    names = Column(key='name', head='', cells=tuple(figure.name for figure in ordered), numeric=False)
    return '\n'.join(aligned([names, *(Column(key=head, head=head, cells=tuple(own)) for head, own in cells.items())]))


def define_flags() -> None:
    """Flags are defined when run, not when imported: another script may have one of the same name."""
    flags.DEFINE_string('data', 'python_reference', 'A text by name, or the path of a .txt.')
    flags.DEFINE_string('data_dir', None, 'Where data sets are looked for, before TFDS_DATA_DIR.')
    flags.DEFINE_bool(
        'models', True, 'Count and score the n-grams and PPM too: half a minute for a million characters.'
    )


def main(argv: list[str]) -> int:
    options = flags.FLAGS
    spec = named(options.data, Text(), options.data_dir)
    if not isinstance(spec, Text):
        raise BadInput(f'--data {options.data}: a compressor is measured on text here')
    corpus = read(spec.name, options.data_dir)
    spec = dataclasses.replace(spec, length=min(WINDOW, corpus.test_start), context=12)
    test = len(corpus.text) - corpus.test_start
    print(f'{options.data}: {corpus.test_start} characters read first, {test} scored, per character:\n', flush=True)
    figures = compressed(corpus)
    if options.models:
        from research.engine import cache

        cache.enable()
        data = spec.load(options.data_dir)
        figures += [modelled(config, spec, data) for config in MODELS]
    print(table(figures))
    return 0


if __name__ == '__main__':
    define_flags()
    cli.run(main)
