"""The least loop that trains over segments, and as a command the measurement of what an epoch of files adds to memory.

python -m tests.engine.streaming FOLDER     prints one line of JSON
"""

from __future__ import annotations

import gc
import json
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from research.data.chunks import Chunks
from research.data.recording import write
from research.data.records import Records
from research.engine import epoch as epochs
from research.engine import feed, fit
from research.engine import mesh as meshes
from research.engine.epoch import Progress, Transform
from research.engine.plan import Plan
from research.trainers.em import EMTrainer

BYTES = 65_536  # of one example of the large set


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean of the data, as EM would find it: as cheap as a model can be."""

    network: ClassVar[bool] = False

    def init(self, key: Any, x: Any) -> Any:
        return {'mean': x.mean(axis=0)}

    def statistics(self, params: Any, x: Any) -> Any:
        return {'sum': x.sum(axis=0), 'count': jnp.float32(x.shape[0])}, {'loss': (x - params['mean']).mean()}

    def solve(self, params: Any, statistics: Any) -> Any:
        return {'mean': statistics['sum'] / statistics['count']}


class Loop:
    """Trains epochs over anything that `feed` knows."""

    def __init__(self, trainer: Any, transform: Transform, x: Any, batch_size: int, seed: int = 0):
        self.trainer, self.transform, self.batch_size, self.seed = trainer, transform, batch_size, seed
        mesh = meshes.build(meshes.ONE)
        self.put = partial(meshes.replicate, mesh=mesh)
        self.x = x.for_batches(batch_size) if isinstance(x, Chunks) else self.put(x)
        self.advance = jax.jit(
            lambda progress, x, course, first, last: epochs.advance(
                trainer, transform, mesh, progress, x, batch_size, course, first, last
            )
        )
        self.whole = jax.jit(lambda epoch: epochs.course(trainer, seed, epoch, feed.examples(x), batch_size))
        self.part = jax.jit(partial(feed.course, trainer, seed), static_argnums=(3, 4))
        self.end = jax.jit(trainer.end_epoch)

    def start(self) -> Progress:
        x = feed.sample(self.x, 1000)

        def init(x: Any) -> Progress:
            state = self.trainer.init(epochs.stream(self.seed, 'init'), self.transform(x, jax.random.key(0)))
            return epochs.start(self.trainer, self.transform, state, x, self.batch_size)

        progress: Progress = jax.jit(init)(x)
        return progress

    def train(self, progress: Progress, epoch: int, step: int = 0, stop: int | None = None, piece: int = 3) -> Progress:
        """Steps `step` .. `stop` - 1 of an epoch, `piece` at a time."""
        stop = feed.examples(self.x) // self.batch_size if stop is None else stop
        order = self.trainer.whole_epochs
        with closing(feed.segments(self.x, self.batch_size, self.seed, epoch, step, order, self.put)) as segments:
            for segment in segments:
                course = self.course(epoch, segment)
                end = min(segment.first + segment.steps, stop)
                while step < end:
                    last = min(step + piece, end)
                    progress = self.advance(progress, segment.x, course, step - segment.first, last - segment.first)
                    jax.block_until_ready(progress)
                    step = last
                if step == stop:
                    break
        return progress

    def course(self, epoch: int, segment: feed.Segment) -> epochs.Course:
        part = segment.part
        if part is None:
            course: epochs.Course = self.whole(epoch)
            return course
        course = self.part(epoch, part.position, part.first, part.examples, self.batch_size)
        return course

    def epoch(self, progress: Progress, epoch: int) -> Progress:
        progress = self.train(progress, epoch)
        return progress._replace(state=self.end(progress.state)[0])


def make(folder: Path, gigabytes: float) -> int:
    """A set of so many bytes, random ones over and over; returns how many examples it has."""
    block = np.random.default_rng(0).integers(0, 256, (512, BYTES), dtype=np.uint8)
    blocks = round(gigabytes * 2**30 / block.nbytes)
    write(folder, (block + np.uint8(i) for i in range(blocks)), block[:8])
    return blocks * len(block)


def thinned(x: Any, key: Any) -> Any:
    """Every 256th number: what is tested is the data's way to the device, and the mean of 4 GB takes a minute."""
    return x[:, ::256].astype(jnp.float32) / 255


def peak() -> float:
    """MB that this process has had in memory at most. Not getrusage's, which a child inherits from its parent."""
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('VmHWM'))
    return int(line.split()[1]) / 1024


def measure(folder: Path) -> dict[str, float]:
    """What one epoch adds to the peak of a process that has trained on 16 examples before, and how long it took."""
    model: Any = Mean()
    trainer, batch_size = EMTrainer(model=model), 64
    fit.fit(Plan(trainer, thinned, np.zeros((128, BYTES), np.uint8), 1, batch_size, 0), None, quiet=True)
    gc.collect()
    base, begun = peak(), time.perf_counter()
    x = Records(path=str(folder)).load().train.x
    assert isinstance(x, Chunks)
    state = fit.fit(Plan(trainer, thinned, x.for_batches(batch_size), 1, batch_size, 0), None, quiet=True)
    mean = float(state.params['mean'].mean())
    return {'base': base, 'added': peak() - base, 'seconds': time.perf_counter() - begun, 'mean': mean}


if __name__ == '__main__':
    print(json.dumps(measure(Path(sys.argv[1]))))
