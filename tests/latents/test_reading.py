"""A VAE whose decoder reads: windows follow on each other, each with a z of its own; its bound is right; what does not go is refused."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.maths.likelihoods import Bernoulli, Categorical
from research.maths.sequences import Sequence
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.nets.sequential import RecurrentDecoder, RecurrentEncoder
from research.types import BadInput, Domain

KEY = jax.random.key(0)
VALUES, CONTEXT, LENGTH = 3, 1, 4
TEXT = Domain(kind='tokens', shape=(CONTEXT + LENGTH,), values=VALUES, unit='character', context=CONTEXT)
ROLL = Domain(kind='binary', shape=(4, 2), unit='time step')
SURE = 50.0


@dataclass(frozen=True)
class Ruled:
    """A decoder without weights: outputs[t] from z and from the symbol before t, -1 where there is none."""

    rule: Any
    reads: ClassVar[Literal[True]] = True

    def init(self, key: jax.Array, x: Any, shape: tuple[int, ...]) -> Any:
        return {'params': {}}

    def apply(self, params: Any, x: Any, shape: tuple[int, ...], **training: Any) -> Any:
        z, x = x
        before = jnp.pad(x[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
        outputs = SURE * jax.nn.one_hot(self.rule(z, before), VALUES)
        return (outputs, {}) if training else outputs


def text(decoder: Any, **fields: Any) -> VAE:
    likelihood = Sequence(of=Categorical(levels=VALUES), context=CONTEXT, positions=CONTEXT + LENGTH - 1)
    return VAE(
        encoder=MLP(hidden=(4,)), decoder=decoder, likelihood=likelihood, latent=2, start_at_mean=False, **fields
    )


def symbols(n: int = 8) -> jax.Array:
    x = np.random.default_rng(0).integers(0, VALUES, (n, CONTEXT + LENGTH))
    x[:, 0] = -1
    return jnp.asarray(x)


def test_a_long_text_goes_on_from_window_to_window() -> None:
    """The symbol after s is s + 1, after nothing 1 (nothing is -1, taken as 0): so a text counts on across its windows."""
    model = text(Ruled(lambda z, before: (jnp.maximum(before, 0) + 1) % VALUES))
    params = model.init(KEY, symbols())
    for length in (3, 4, 11):
        drawn = jax.jit(lambda k, length=length: model.sample(params, k, 5, (length,)))(KEY)
        np.testing.assert_array_equal(drawn, np.tile((1 + np.arange(length)) % VALUES, (5, 1)))


def test_each_window_has_a_z_of_its_own() -> None:
    model = text(Ruled(lambda z, before: jnp.broadcast_to((z[:, :1] > 0).astype(int), before.shape)))
    params = model.init(KEY, symbols())
    drawn = np.asarray(jax.jit(lambda k: model.sample(params, k, 400, (3 * LENGTH,)))(KEY)).reshape(400, 3, LENGTH)
    assert (drawn == drawn[:, :, :1]).all()
    eight = np.bincount(drawn[:, :, 0] @ [4, 2, 1], minlength=8) / 400
    assert (np.abs(eight - 1 / 8) < 4 * np.sqrt(1 / 8 * 7 / 8 / 400)).all()  # three independent coins


@pytest.mark.parametrize('context', [-1, 2])
def test_probabilities_of_all_texts_after_a_context_add_up_to_one(context: int) -> None:
    """With q(z | x) = p(z) the weights are p(x | z)."""
    model = text(RecurrentDecoder(width=4), score_samples=400, score_chunk=50)
    params = jax.jit(model.init)(KEY, symbols())
    params = jax.tree.map(lambda leaf: 1.5 * leaf, params) | {
        'encoder': jax.tree.map(jnp.zeros_like, params['encoder'])
    }
    every = np.array([(context, *rest) for rest in itertools.product(range(VALUES), repeat=LENGTH)])
    p = np.exp(np.asarray(jax.jit(model.log_prob)(params, jnp.asarray(every), KEY), np.float64))
    assert p.sum() == pytest.approx(1, abs=0.02)
    assert p.max() > 1.5 * p.min()


def test_the_loss_is_the_bound_of_the_outputs_that_decode_gives() -> None:
    model, x = text(RecurrentDecoder(width=4)), symbols()
    params = jax.jit(model.init)(KEY, x)
    result = jax.jit(model.loss)(params, x, KEY)
    mean, log_var = model.encode(params, x)
    noise = jax.random.normal(jax.random.fold_in(KEY, 0), (1, *mean.shape))[0]  # what `loss` draws from this key
    outputs = model.decode(params, mean + jnp.exp(log_var / 2) * noise, x.shape[1:], x)
    log_p = np.asarray(jax.nn.log_softmax(outputs))[:, CONTEXT:]
    expected = -np.take_along_axis(log_p, np.asarray(x)[:, CONTEXT:, None], axis=2).sum(axis=(1, 2)).mean()
    assert float(result.metrics['distortion']) == pytest.approx(expected, rel=1e-5)
    assert model.reconstruct(params, x).shape == x.shape


def test_pieces_of_music_train_by_the_same_file() -> None:
    likelihood = Sequence(of=Bernoulli(), context=0, positions=3)
    model = VAE(encoder=RecurrentEncoder(width=4), decoder=RecurrentDecoder(width=4), likelihood=likelihood, latent=2)
    x = (jax.random.uniform(KEY, (6, 4, 2)) < 0.3).astype(jnp.int8).at[:3, 2:].set(-1)
    params = jax.jit(model.init)(KEY, x)
    assert model.fits(ROLL) is None
    whole, padded = (jax.jit(lambda x: model.log_prob(params, x, KEY))(x) for x in (x, x.at[:3, 2:].set(-1)))
    np.testing.assert_array_equal(whole, padded)
    drawn = jax.jit(lambda k: model.sample(params, k, 5, (4, 2)))(KEY)
    assert drawn.shape == (5, 4, 2)
    assert set(np.unique(drawn)) <= {0.0, 1.0}
    slope = jax.jit(jax.grad(lambda params: model.loss(params, x, KEY).loss))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


def test_what_does_not_go_together_is_refused() -> None:
    assert text(RecurrentDecoder()).fits(TEXT) is None
    assert 'Sequence needs a decoder that reads' in str(text(MLP()).fits(TEXT))
    plain = dataclasses.replace(text(RecurrentDecoder()), likelihood=Bernoulli())
    assert 'set likelihood=Sequence' in str(plain.fits(Domain(kind='binary', shape=(3,))))
    model, x = text(RecurrentDecoder(width=4)), symbols()
    params = model.init(KEY, x)
    with pytest.raises(BadInput, match='RecurrentDecoder reads x'):
        model.log_marginal(params, x, jnp.ones(x.shape[1:], bool))
