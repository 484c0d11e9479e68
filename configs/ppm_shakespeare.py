"""PPM, method D, of order 5 on tinyshakespeare's characters, which are bytes: 1.5686 nats per character. No network.

90 % of the text trains, the last 10 % is scored. Orders 3, 4, 5, 6, 8 and 12 give 1.7296, 1.5827, 1.5686, 1.5936, 1.6632 and
1.7237: `--set trainer.model.order=12`. The last tenth of the training text, held out, chooses the same order (4 to 6: 1.5530,
1.5420, 1.5731). `python -m scripts.train ppm_shakespeare`: seconds.
"""

from research.data import Text
from research.models.ppm import PPM
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Text(name='tiny_shakespeare', length=1024, context=12),
        trainer=EMTrainer(model=PPM(order=5)),
        epochs=1,
        batch_size=None,
    )
