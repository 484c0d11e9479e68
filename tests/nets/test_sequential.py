"""Decoders that read see z and what came before, and no more; hidden words are hidden in training alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.nets.mlp import MLP, train_apply
from research.nets.sequential import Reader, RecurrentDecoder, RecurrentEncoder, TransformerDecoder
from research.types import BadInput, Net

KEY = jax.random.key(0)
Z = jax.random.normal(KEY, (3, 2))
X = jax.random.randint(KEY, (3, 6), 0, 4)
FRAMES = (jax.random.uniform(KEY, (3, 6, 5)) < 0.4).astype(jnp.float32)
DECODERS = [RecurrentDecoder(width=4), TransformerDecoder(layers=1, heads=2, width=4, window=6)]
IDS = ['recurrent', 'transformer']
every = pytest.mark.parametrize('net', DECODERS, ids=IDS)


def test_who_reads() -> None:
    assert all(isinstance(net, Reader) and isinstance(net, Net) for net in DECODERS)
    assert not isinstance(MLP(), Reader)
    assert not isinstance(RecurrentEncoder(), Reader)


@every
@pytest.mark.parametrize('x', [X, FRAMES], ids=['symbols', 'frames'])
def test_outputs_see_z_and_what_came_before_and_no_more(net: Any, x: jax.Array) -> None:
    shape = (6, 4) if x.ndim == 2 else (6, 5)
    variables = jax.jit(lambda: net.init(KEY, (Z, x), shape))()
    out = jax.jit(lambda z, x: net.apply(variables, (z, x), shape))
    y = out(Z, x)
    assert y.shape == (3, *shape)
    for t in range(6):
        other = x.at[:, t].set((x[:, t] + 1) % 4 if x.ndim == 2 else 1 - x[:, t])
        moved = np.abs(np.asarray(out(Z, other) - y)).max(axis=(0, 2))
        assert (moved[: t + 1] < 1e-6).all()
        assert (moved[t + 1 :] > 1e-6).all()
    assert (np.abs(np.asarray(out(Z + 0.5, x) - y)).max(axis=(0, 2)) > 1e-6).all()


@every
def test_nothing_is_a_symbol_of_its_own_and_a_silent_frame(net: Any) -> None:
    shape = (6, 4)
    variables = net.init(KEY, (Z, X), shape)
    nothing = net.apply(variables, (Z, X.at[:, 2].set(-1)), shape)
    for symbol in range(4):
        assert float(jnp.abs(net.apply(variables, (Z, X.at[:, 2].set(symbol)), shape) - nothing).max()) > 1e-6
    shape = (6, 5)
    variables = net.init(KEY, (Z, FRAMES), shape)
    silent = [net.apply(variables, (Z, FRAMES.at[:, 2].set(value)), shape) for value in (-1.0, 0.0)]
    np.testing.assert_array_equal(*silent)


@every
def test_words_are_hidden_in_training_alone(net: Any) -> None:
    """With all but none left, what came before tells almost nothing; scoring is untouched."""
    shape, hiding = (6, 4), net.clone(word_dropout=0.999)
    variables = net.init(KEY, (Z, X), shape)
    np.testing.assert_array_equal(hiding.apply(variables, (Z, X), shape), net.apply(variables, (Z, X), shape))
    y, advanced = train_apply(hiding, variables, (Z, X), shape, KEY)  # type: ignore[arg-type]
    assert advanced == {}
    blank = net.apply(variables, (Z, jnp.full_like(X, -1)), shape)
    np.testing.assert_allclose(y, blank, rtol=1e-5, atol=1e-6)
    kept, _ = train_apply(net, variables, (Z, X), shape, KEY)  # type: ignore[arg-type]
    np.testing.assert_allclose(kept, net.apply(variables, (Z, X), shape), rtol=1e-5, atol=1e-6)


def test_the_encoder_takes_codes_over_time_and_refuses_what_has_none() -> None:
    net: Any = RecurrentEncoder(width=4)
    made = jax.eval_shape(lambda: net.init_with_output(KEY, jax.nn.one_hot(X, 4), (2, 3)))[0]
    assert made.shape == (3, 2, 3)
    with pytest.raises(BadInput, match=r'RecurrentEncoder takes sequences .* shape \(6,\).*Sequence'):
        net.init(KEY, jnp.zeros((3, 6)), (2,))


def test_a_transformer_refuses_heads_and_windows_that_do_not_fit() -> None:
    with pytest.raises(BadInput, match='width=5'):
        TransformerDecoder(width=5, heads=2).init(KEY, (Z, X), (6, 4))
    with pytest.raises(BadInput, match='window=4: the data bring 6 positions'):
        TransformerDecoder(window=4, width=4, heads=2).init(KEY, (Z, X), (6, 4))
