"""Transformer on tinyshakespeare's characters, the net of nanoGPT's CPU setting: 4 layers, 128 wide, windows of 64.

AdamW, 1e-3 falling to 1e-4, 2614 steps of 12 windows (two epochs): 1.84 nats per character, each scored once. nanoGPT's
README gives 1.88 after 2000 steps, on a sample of the validation text. `python -m scripts.train transformer_shakespeare`: 5 minutes on two CPU cores.
"""

from research.data import Text
from research.models.language import LanguageModel
from research.nets.attention import Transformer
from research.run import Run
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Adam, Cosine


def config() -> Run:
    return Run(
        data=Text(name='tiny_shakespeare', length=64),
        trainer=GradientTrainer(
            model=LanguageModel(net=Transformer(layers=4, heads=4, width=128, window=64)),
            learning_rate=1e-3,
            optimiser=Adam(b2=0.99, weight_decay=0.1, clip=1.0),
            schedule=Cosine(steps=2614, warmup=100),
        ),
        epochs=2,
        batch_size=12,
    )
