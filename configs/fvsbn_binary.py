"""Fully visible sigmoid belief network on one of the 20 binary sets, exact; nltcs, or `--set data.name=plants`.

Neal 1992; Frey 1998: a logistic regression of each variable on those before it, a masked net without hidden layers.
`python -m scripts.train fvsbn_binary`: half a minute on two CPU cores.
"""

from research.data import Binary
from research.models.autoregressive import Autoregressive
from research.nets.masked import MADE
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Binary(name='nltcs'),
        trainer=GradientTrainer(model=Autoregressive(net=MADE(hidden=())), learning_rate=1e-3),
        epochs=20,
        batch_size=100,
    )
