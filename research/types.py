"""Floor 0: the words every other file speaks, and nothing that needs JAX at run time.

A `Net` (arrays in, arrays out) is inside a `Model` (what p(x) is, its objective, its sampler), which is
inside a `Trainer` (how it is fitted). All three are frozen dataclasses; what changes is a pytree outside them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import jax

    Array = jax.Array
    Key = jax.Array
else:
    Array = Key = Any

Batch = Any  # a pytree of arrays with one leading axis: images [batch, height, width, channels], tokens [batch, time]
Params = Any  # a tree of dicts with arrays at its leaves; collections named in MUTABLE are carried, not trained
Metrics = dict[str, Array]
Kind = Literal['exact', 'bound', 'estimate']

MUTABLE = ('batch_stats', 'spectral', 'constants')


class BadInput(Exception):
    """Something a user gave cannot be used: one sentence with the field, the value and what would be accepted."""


def ranged(
    default: Any = dataclasses.MISSING,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    optional: bool = False,
    from_domain: str | None = None,
) -> Any:
    """A dataclass field whose range `engine.override.check` tests on the concrete config, before anything is traced.

    For a tuple the range holds for each member. With `optional`, None is accepted too. With `from_domain`, None is
    replaced by that attribute of the data's domain before training (`engine.override.bind`).
    """
    limits = {'above': above, 'at_least': at_least, 'below': below, 'at_most': at_most}
    metadata: dict[str, Any] = {name: limit for name, limit in limits.items() if limit is not None}
    return dataclasses.field(default=default, metadata=metadata | {'optional': optional, 'from_domain': from_domain})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domain:
    """What one example is: its shape, the values it may take, and the unit its likelihood is quoted in.

    kind      'binary' {0, 1}; 'unit' reals in [0, 1]; 'real'; 'integer' 0 .. values - 1; 'tokens' likewise, in time
    shape     of one example, without the batch axis; for tokens [context + length]
    values    how many values an integer, token or quantised pixel may take; 0 where it does not apply
    unit      what one likelihood is of: 'example', 'time step' or 'character'
    context   of a sequence: leading positions that are given and not scored
    cell      volume in data space of one grey level of one pixel, for densities of dequantised data: adding
              `dims * log(cell)` to a log-density makes it comparable with the log-probability of the grey levels
    modality  'image', 'text', 'music' or 'points': how a sample is shown
    """

    kind: Literal['binary', 'unit', 'real', 'integer', 'tokens']
    shape: tuple[int, ...]
    values: int = 0
    unit: Literal['example', 'time step', 'character'] = 'example'
    context: int = 0
    cell: float = 1.0
    modality: Literal['image', 'text', 'music', 'points'] = 'points'

    @property
    def positions(self) -> int:
        """Symbols that a net sees of a window: all but the last, which it only has to predict."""
        return self.shape[0] - 1

    @property
    def dims(self) -> int:
        """Scored variables in one unit: pixels of an image, keys of a chord, 1 for a character."""
        size = 1
        for side in self.shape:
            size *= side
        return 1 if self.kind == 'tokens' else size


class Objective(NamedTuple):
    """What a loss returns: the scalar to minimise, what to log, and the mutable collections it advanced."""

    loss: Array  # scalar, nats per example unless the model says otherwise
    metrics: Metrics
    mutable: Params = None  # None: it has none


@runtime_checkable
class Net(Protocol):
    """Arrays in, arrays out. `shape` is the shape of one output, so that one net serves data of any size."""

    def init(self, key: Key, x: Array, shape: tuple[int, ...], /) -> Params: ...
    def apply(self, params: Params, x: Array, shape: tuple[int, ...], /) -> Any: ...  # [batch, *shape]


class Model(Protocol):
    """What p(x) is. Every model has these; a trainer asks for more (below), a metric for an ability (`Scorer`)."""

    network: ClassVar[bool]  # is there a neural network in it?

    def fits(self, domain: Domain, /) -> str | None: ...  # why it cannot model such data, or None
    def init(self, key: Key, x: Batch, /) -> Params: ...  # from a sample of the training data
    def sample(self, params: Params, key: Key, n: int, shape: tuple[int, ...], /) -> Array: ...  # [n, *shape]


class Differentiable(Model, Protocol):
    """What GradientTrainer asks for."""

    def loss(self, params: Params, x: Batch, key: Key, /) -> Objective: ...


class Expectable(Model, Protocol):
    """What EMTrainer asks for: statistics that add up over batches, and the parameters that follow from their sum."""

    def statistics(self, params: Params, x: Batch, /) -> tuple[Params, Metrics]: ...
    def solve(self, params: Params, statistics: Params, /) -> Params: ...


@runtime_checkable
class Adversarial(Model, Protocol):
    """What AdversarialTrainer asks for; `init` gives {'generator': ..., 'critic': ...}."""

    def critic_loss(self, critic: Params, generator: Params, x: Batch, key: Key, /) -> Objective: ...
    def generator_loss(self, generator: Params, critic: Params, x: Batch, key: Key, /) -> Objective: ...


@runtime_checkable
class OnePass(Protocol):
    """A model whose statistics do not add up: it takes all the data in one batch, and counts its own parameters."""

    def size(self, params: Params, /) -> int: ...


@runtime_checkable
class Undivided(Protocol):
    """A model whose loss moves something on with every call (chains, say): a batch has to go through in one part."""

    undivided: ClassVar[Literal[True]]


@runtime_checkable
class Scorer(Protocol):
    """The ability to score. `log_prob_kind` says what its number is: exact, a lower bound or an estimate."""

    log_prob_kind: Kind

    def log_prob(self, params: Params, x: Batch, key: Key, /) -> Array: ...  # [batch] nats


@runtime_checkable
class Sampled(Protocol):
    """A scorer whose number is estimated from so many draws for each example."""

    score_samples: int


@runtime_checkable
class Encoder(Protocol):
    """The ability to encode: mean and log-variance of q(z | x), each [batch, ...]."""

    def encode(self, params: Params, x: Batch, /) -> tuple[Array, Array]: ...


@runtime_checkable
class Decoder(Protocol):
    """The ability to decode: the mean of p(x | z) for z [n, latent], and z from its prior."""

    def decode_mean(self, params: Params, z: Array, event: tuple[int, ...], /) -> Array: ...  # [n, *event]
    def draw_prior(self, params: Params, key: Key, n: int, /) -> Array: ...  # [n, latent]


@runtime_checkable
class Conditional(Protocol):
    """The ability to work with a part of x. `observed` is bool [*shape], the same for the whole batch; what x holds where
    nothing is observed is ignored. log_prob(x) - log_marginal(x, observed) is the log-probability of the rest given it."""

    def log_marginal(self, params: Params, x: Batch, observed: Array, /) -> Array: ...  # [batch] nats
    def conditional(self, params: Params, x: Batch, observed: Array, key: Key, /) -> Array: ...  # [batch, *shape]


class Trainer(Protocol):
    """How a model is fitted. All are pure; the engine compiles them.

    `whole_epochs`: an epoch has to see every example, in any order (it adds up statistics).
    """

    whole_epochs: ClassVar[bool]

    @property
    def model(self) -> Any: ...
    @property
    def parts(self) -> int: ...  # into how many a step cuts its batch: batches are a multiple of it

    def init(self, key: Key, x: Batch) -> Any: ...
    def step(self, state: Any, x: Batch, key: Key) -> tuple[Any, Metrics]: ...
    def end_epoch(self, state: Any) -> tuple[Any, Metrics]: ...
    def params(self, state: Any) -> Params: ...


@runtime_checkable
class Finishing(Protocol):
    """A trainer that knows when more epochs would change nothing: training then ends before its last epoch."""

    def finished(self, state: Any, /) -> Array: ...  # scalar bool
