"""Modified Kneser-Ney 7-gram on tinyshakespeare's characters: 1.5165 nats per character. No network.

90 % of the text trains, the last 10 % is scored. Orders 1 to 8 give 3.3473, 2.4835, 2.0381, 1.7190, 1.5611, 1.5226, 1.5165,
1.5192: `--set trainer.model.order=8`. The last tenth of the training text, held out, chooses the same order (5 to 8: 1.5274,
1.4924, 1.4916, 1.4973). `python -m scripts.train kneser_ney_shakespeare`: seconds.
"""

from research.data import Text
from research.maths.smoothing import KneserNey
from research.models.ngram import NGram
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Text(name='tiny_shakespeare', length=1024, context=12),
        trainer=EMTrainer(model=NGram(order=7, smoothing=KneserNey())),
        epochs=1,
        batch_size=None,
    )
