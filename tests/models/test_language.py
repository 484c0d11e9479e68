"""An autoregressive model looks only back, scores what its loss is, and draws what it scores."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from research.models.language import LanguageModel
from research.nets.attention import Transformer
from research.nets.recurrent import Recurrent
from research.types import Domain

KEY = jax.random.key(0)
VALUES = 4
NETS: dict[str, Any] = {'transformer': Transformer(layers=1, heads=2, width=8, window=12), 'gru': Recurrent(width=8)}
nets = pytest.mark.parametrize('net', NETS.values(), ids=NETS.keys())


def model_of(net: Any, context: int = 1, window: int = 8) -> LanguageModel:
    return LanguageModel(net=net, context=context, values=VALUES, window=window)


def started(model: LanguageModel, length: int, scale: float = 4.0) -> Any:
    """Parameters away from their small beginnings, so that every symbol matters."""
    params = jax.jit(model.init)(KEY, jnp.zeros((2, length), jnp.int32))
    return jax.tree.map(lambda leaf: scale * leaf if leaf.ndim > 1 else leaf, params)


@nets
def test_a_score_depends_on_nothing_after_it(net: Any) -> None:
    """Changing symbol t changes log p of t (its target) and of later symbols, and of none before."""
    model, x = model_of(net), jax.random.randint(KEY, (1, 9), 0, VALUES)
    params = started(model, 9)

    @jax.jit
    def each(x: jax.Array) -> jax.Array:
        return model.nats(model.net.apply(params['net'], x[:, :-1], (8, VALUES)), x)[0][0]

    before = np.asarray(each(x))
    for t in range(1, 9):
        after = np.asarray(each(x.at[0, t].set((x[0, t] + 1) % VALUES)))
        np.testing.assert_array_equal(after[: t - 1], before[: t - 1])
        assert (np.abs(after[t - 1 :] - before[t - 1 :]) > 1e-5).all()


@nets
def test_the_loss_is_the_mean_score_of_a_symbol_and_padding_is_none(net: Any) -> None:
    model = model_of(net, context=2)
    x = np.array(jax.random.randint(KEY, (3, 9), 0, VALUES))
    x[0, :2], x[2, 6:] = -1, -1  # where a text begins, and where it ends
    params = started(model, 9)
    loss = float(jax.jit(model.loss)(params, x, KEY).loss)
    log_p = np.asarray(jax.jit(model.log_prob)(params, x, KEY))
    assert loss == pytest.approx(-log_p.sum() / (7 + 7 + 4), rel=1e-5)
    short = np.asarray(jax.jit(model.log_prob)(params, x[2:, :6], KEY))
    np.testing.assert_allclose(log_p[2:], short, rtol=1e-4)


@nets
def test_a_score_is_the_softmax_of_what_the_net_says_one_position_earlier(net: Any) -> None:
    model, x = model_of(net, context=2), np.array(jax.random.randint(KEY, (3, 9), 0, VALUES))
    params = started(model, 9)
    logits = np.asarray(jax.jit(lambda x: net.apply(params['net'], x, (8, VALUES)))(x[:, :-1]), np.float64)
    expected = [sum(log_softmax(logits[b, t - 1])[x[b, t]] for t in range(2, 9)) for b in range(3)]
    np.testing.assert_allclose(jax.jit(model.log_prob)(params, x, KEY), expected, rtol=1e-4)


@nets
def test_all_padding_costs_nothing_and_stays_defined(net: Any) -> None:
    model = model_of(net)
    x = jnp.full((2, 9), -1)
    loss, slope = jax.jit(jax.value_and_grad(lambda params: model.loss(params, x, KEY).loss))(started(model, 9))
    assert float(loss) == 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(slope))


@nets
@pytest.mark.parametrize('context', [1, 3])
def test_samples_of_a_text_that_begins_are_scored_as_they_are_drawn(net: Any, context: int) -> None:
    """All strings of two symbols after a context of nothing: 20000 draws fall as log_prob says."""
    model, n = model_of(net, context), 20_000
    params = started(model, context + 2)
    every = np.array(list(itertools.product(range(VALUES), repeat=2)))
    x = np.concatenate([np.full((len(every), context), -1), every], axis=1)
    p = np.exp(np.asarray(jax.jit(model.log_prob)(params, x, KEY), np.float64))
    assert p.sum() == pytest.approx(1, abs=1e-5)
    drawn = np.asarray(jax.jit(lambda params: model.sample(params, KEY, n, (2,)))(params))
    found = np.bincount(drawn @ [VALUES, 1], minlength=len(every)) / n
    assert (np.abs(found - p) < 4.5 * np.sqrt(p * (1 - p) / n) + 1e-4).all()


@nets
def test_beyond_its_window_a_sample_goes_on_from_the_last_symbols(net: Any) -> None:
    """With a window of 3, symbol 6 is drawn given symbols 3 to 5 as the net sees them alone."""
    model, n = model_of(net, window=3), 3000
    params = started(model, 9)
    drawn = np.asarray(jax.jit(lambda params: model.sample(params, KEY, n, (7,)))(params))
    assert drawn.shape == (n, 7)
    assert set(np.unique(drawn)) == set(range(VALUES))
    logits = jax.jit(lambda seen: model.net.apply(params['net'], seen, (3, VALUES)))(jnp.asarray(drawn[:, 3:6]))
    p = np.asarray(jax.nn.softmax(logits[:, -1]), np.float64)
    found = (drawn[:, 6][:, None] == np.arange(VALUES)).mean(axis=0)
    assert (np.abs(found - p.mean(axis=0)) < 4.5 * np.sqrt((p * (1 - p)).mean(axis=0) / n)).all()
    again = (drawn[:, 6][:, None] == np.arange(VALUES)) - p  # what is left must not depend on the symbol before
    for symbol in range(VALUES):
        rows = again[drawn[:, 5] == symbol]
        assert (np.abs(rows.mean(axis=0)) < 5 * 0.5 / np.sqrt(len(rows))).all()


def test_what_it_cannot_score_is_said() -> None:
    text = Domain(kind='tokens', shape=(8,), values=5, context=1, unit='character')
    assert LanguageModel().fits(text) is None
    assert 'data.context=1' in str(LanguageModel().fits(Domain(kind='tokens', shape=(8,), values=5)))
    assert 'real' in str(LanguageModel().fits(Domain(kind='real', shape=(2,))))
