"""GRU of 46 units on the JSB chorales, the net of Chung et al. 2014: 8.47 nats per time step, exact.

arXiv:1412.3555, Table 2, has 8.54. All 4725 test steps. Chosen by the validation pieces, best epoch of those seen: noise on the
weights 0, 0.03 and 0.075 (theirs) at rate 3e-3 gave 8.440, 8.406 and 8.380 after 30, 30 and 50 epochs; rate 1e-2 without noise
8.463 after 10. Their LSTM, `--set trainer.model.net.cell=lstm trainer.model.net.width=36 epochs=70`: at 3e-3 without noise 8.591, with it
8.429 after 70, at 1e-2 with it 8.454. Their plain units, `tanh`, 100, 70 epochs: at 1e-3 without noise 8.745; with it 8.673, at 3e-3
8.496. `python -m scripts.train recurrent_jsb`: two minutes on two busy CPU cores.
"""

from research.data import Music
from research.models.sequence import SequenceModel
from research.nets.recurrent import Recurrent
from research.run import Run
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Adam


def config() -> Run:
    return Run(
        data=Music(pieces=True),
        trainer=GradientTrainer(
            model=SequenceModel(net=Recurrent(cell='gru', width=46), weight_noise=0.075),
            learning_rate=3e-3,
            optimiser=Adam(clip=1.0),
        ),
        epochs=50,
        batch_size=10,
    )
