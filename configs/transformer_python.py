"""Transformer on the text of CPython's own reference (offline): 2 layers, 64 wide, windows of 64."""

from research.data import Text
from research.models.language import LanguageModel
from research.nets.attention import Transformer
from research.run import Run
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Adam, Cosine


def config() -> Run:
    return Run(
        data=Text(name='python_reference', length=64),
        trainer=GradientTrainer(
            model=LanguageModel(net=Transformer(layers=2, heads=4, width=64, window=64)),
            learning_rate=3e-3,
            optimiser=Adam(b2=0.99, weight_decay=0.1, clip=1.0),
            schedule=Cosine(steps=2400, warmup=100),
        ),
        epochs=6,
        batch_size=16,
    )
