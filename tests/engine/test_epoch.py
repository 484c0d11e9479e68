"""The order of an epoch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.engine import epoch


def order(seed: int, number: int, examples: int = 50, batch_size: int = 8) -> np.ndarray:
    return np.asarray(epoch.order(epoch.stream(seed, 'order', number), examples, batch_size))


def test_no_example_comes_twice_and_what_fills_no_batch_waits() -> None:
    rows = order(0, 0)
    assert rows.shape == (6, 8)
    assert len(set(rows.ravel().tolist())) == 48
    assert set(order(0, 0, 48).ravel().tolist()) == set(range(48))


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    np.testing.assert_array_equal(order(3, 2), order(3, 2))
    assert (order(3, 2) != order(3, 1)).any()
    assert (order(3, 2) != order(4, 2)).any()


def test_every_example_is_seen_in_some_epoch() -> None:
    """Two of 50 wait in each epoch, and never the same two for long."""
    seen = set().union(*(order(0, number).ravel().tolist() for number in range(4)))
    assert seen == set(range(50))


@pytest.mark.parametrize('i', [0, 2])
def test_a_batch_is_the_rows_of_the_order_or_the_next_ones(i: int) -> None:
    x = {'image': jnp.arange(24).reshape(12, 2), 'label': jnp.arange(12)}
    rows = jnp.asarray(order(0, 0, 12, 4))
    shuffled = epoch.take(x, rows, 4, jnp.int32(i))
    np.testing.assert_array_equal(shuffled['label'], rows[i])
    np.testing.assert_array_equal(shuffled['image'], x['image'][rows[i]])
    np.testing.assert_array_equal(epoch.take(x, None, 4, jnp.int32(i))['label'], np.arange(4 * i, 4 * i + 4))


def test_no_two_uses_of_randomness_share_a_key() -> None:
    keys = [jax.random.key_data(epoch.stream(0, name, n)).tolist() for name in epoch.STREAMS for n in range(5)]
    assert len({tuple(key) for key in keys}) == len(keys)
    with pytest.raises(KeyError):
        epoch.stream(0, 'other')
