"""Each variable alone on one of the 20 binary sets: 9.2336 nats on nltcs; any other by --data.

P(x = 1) = (ones + 1) / (n + 2), fitted on the training split alone. `python -m scripts.train independent_binary`: 2 s.
"""

from research.data import Binary
from research.maths.likelihoods import Bernoulli
from research.models.independent import Independent
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Binary(name='nltcs'),
        trainer=EMTrainer(model=Independent(likelihood=Bernoulli())),
        epochs=1,
        batch_size=None,
    )
