"""Witten-Bell 5-gram on tinyshakespeare's characters: 1.6688 nats per character. No network.

90 % of the text trains, the last 10 % is scored. Orders 1 to 8 give 3.3473, 2.4858, 2.0492, 1.7738, 1.6688, 1.6981, 1.7792,
1.8758: `--set trainer.model.order=6`.
"""

from research.data import Text
from research.models.ngram import NGram
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Text(name='tiny_shakespeare', length=1024, context=7),
        trainer=EMTrainer(model=NGram(order=5)),
        epochs=1,
        batch_size=None,
    )
