"""MADE on one of the 20 binary sets, exact; `--set data.name=plants` takes another than nltcs.

Germain et al. 2015, arXiv:1502.03509. `python -m scripts.train made_binary`: half a minute on two CPU cores;
6.01 nats on nltcs.
"""

from research.data.binary import Binary
from research.models.autoregressive import Autoregressive
from research.nets.masked import MADE
from research.run import Run
from research.trainers.gradient import GradientTrainer


def config() -> Run:
    return Run(
        data=Binary(name='nltcs'),
        trainer=GradientTrainer(model=Autoregressive(net=MADE(hidden=(500,), direct=True)), learning_rate=1e-3),
        epochs=20,
        batch_size=100,
    )
