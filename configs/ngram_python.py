"""Witten-Bell 5-gram on the text of CPython's own reference (offline). No network."""

from research.data import Text
from research.models.ngram import NGram
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Text(name='python_reference', length=1024, context=7),
        trainer=EMTrainer(model=NGram(order=5)),
        epochs=1,
        batch_size=None,
    )
