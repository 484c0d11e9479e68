"""Hidden Markov model of 128 states on the JSB chorales, by Baum-Welch: 6.60 nats per time step. No network.

All 4725 test steps. Chosen by the validation pieces: 16, 64 and 128 states gave 8.080, 6.997 and 6.608 after 50 iterations; of
smoothing (transitions, emissions) 0.1 and 1, 0.1 and 0.1, 0.01 and 0.3 the first was best, at 16 and 64 states. Before 50
iterations none was better. `python -m scripts.train hmm_jsb`: a minute on two busy CPU cores.
"""

from research.data import Music
from research.maths.emissions import BernoulliEmission
from research.models.hmm import HMM
from research.run import Run
from research.trainers.em import EMTrainer


def config() -> Run:
    return Run(
        data=Music(pieces=True),
        trainer=EMTrainer(model=HMM(states=128, emission=BernoulliEmission(smoothing=1.0), smoothing=0.1)),
        epochs=50,
        batch_size=None,
    )
