"""No output sees its own input or a later one; a masked layer is its formula; NADE's fast form is the paper's recursion."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from research.nets.masked import MADE, NADE, MaskedDense, hidden_degrees, ordering

KEY = jax.random.key(0)
NETS: dict[str, Any] = {
    'fvsbn': MADE(hidden=()),
    'made': MADE(hidden=(11,)),
    'made_deep': MADE(hidden=(9, 4), activation='tanh', order_seed=1),
    'made_narrow': MADE(hidden=(2,)),
    'made_direct': MADE(hidden=(7,), direct=True, order_seed=3),
    'nade': NADE(hidden=6, chunk=3),
    'nade_relu': NADE(hidden=6, activation='relu', chunk=50, order_seed=2),
}
nets = pytest.mark.parametrize('net', NETS.values(), ids=NETS.keys())


def shapes(net: Any, x: Any, shape: tuple[int, ...]) -> Any:
    """The variables of a net, without their values."""
    return jax.eval_shape(lambda: net.init(KEY, x, shape))


def noisy(variables: Any) -> Any:
    """Such a tree with random numbers in it, so that nothing hides behind a zero."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), variables)


@nets
@pytest.mark.parametrize(('dims', 'inputs', 'outputs'), [(6, 1, 1), (4, 3, 2), (1, 2, 3)])
def test_no_output_depends_on_its_own_input_or_a_later_one(net: Any, dims: int, inputs: int, outputs: int) -> None:
    """By the Jacobian, and by the answers themselves: later inputs change not one bit of an output."""
    x = jax.random.normal(KEY, (2, dims, inputs))
    variables = noisy(shapes(net, x, (dims, outputs)))

    @jax.jit
    def answer(x: jax.Array) -> jax.Array:
        return net.apply(variables, x, (dims, outputs))

    order = ordering(dims, net.order_seed)
    assert answer(x).shape == (2, dims, outputs)
    jacobian = np.asarray(
        jax.jit(jax.jacobian(lambda row: answer(row[None])[0]))(x[0])
    )  # [dims, outputs, dims, inputs]
    jacobian = np.abs(jacobian).sum(axis=(1, 3))[order][:, order]
    assert (np.triu(jacobian) == 0).all()
    if net.order_seed is None and dims > 1 and net.__class__ is NADE:
        assert (jacobian[np.tril_indices(dims, -1)] > 0).all()  # and it does depend on each before it
    for place, d in enumerate(order):
        other = x.at[:, order[place:]].set(1e3)
        np.testing.assert_array_equal(answer(x)[:, d], answer(other)[:, d])


def test_all_that_may_be_seen_is_seen() -> None:
    """With one hidden unit or more of each degree, every input before d reaches output d."""
    for net in (
        MADE(hidden=()),
        MADE(hidden=(6,), activation='softplus'),
        MADE(hidden=(12, 12), activation='softplus'),
    ):
        x = jax.random.normal(KEY, (1, 5, 1))
        variables = noisy(shapes(net, x, (5, 1)))
        jacobian = jax.jit(jax.jacobian(lambda x, net=net, v=variables: net.apply(v, x, (5, 1))))(x)
        assert (np.abs(np.asarray(jacobian).reshape(5, 5))[np.tril_indices(5, -1)] > 0).all()


@pytest.mark.parametrize('blocks', [1, 4, 50])
def test_a_masked_layer_is_its_formula_however_it_is_cut(blocks: int) -> None:
    rng = np.random.default_rng(0)
    before, after = np.sort(rng.integers(1, 8, 9)), np.sort(rng.integers(0, 8, 10))
    x = rng.normal(size=(3, 9)).astype(np.float32)
    layer: Any = MaskedDense(blocks=blocks)
    params = noisy(jax.eval_shape(lambda: layer.init(KEY, x, before, after)))['params']
    y = jax.jit(lambda x: layer.apply({'params': params}, x, before, after))(x)
    kernel = np.where(before[:, None] <= after, params['kernel'], 0)
    np.testing.assert_allclose(y, x @ kernel + params['bias'], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('width', 'dims'), [(500, 784), (8000, 784), (7, 3), (3, 1), (1, 9)])
def test_hidden_degrees_rise_from_one_and_are_even(width: int, dims: int) -> None:
    degrees = hidden_degrees(width, dims)
    assert (np.diff(degrees) >= 0).all()
    assert degrees.min() == 1
    assert degrees.max() <= max(dims - 1, 1)
    if width >= dims > 1:
        counts = np.bincount(degrees)[1:]
        assert counts.size == dims - 1
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(('dims', 'inputs', 'outputs', 'chunk'), [(7, 1, 1, 3), (6, 2, 3, 4), (3, 1, 2, 9)])
@pytest.mark.parametrize('activation', ['sigmoid', 'tanh'])
def test_nade_is_the_recursion_of_the_paper(dims: int, inputs: int, outputs: int, chunk: int, activation: Any) -> None:
    """h_d = g(a_d), a_{d+1} = a_d + W_d x_d, one variable after the other, in float64; the gradient by differences."""
    net: Any = NADE(hidden=4, activation=activation, chunk=chunk)
    x = np.random.default_rng(0).normal(size=(2, dims, inputs)).astype(np.float32)
    params = noisy(shapes(net, x, (dims, outputs)))['params']
    g = {'sigmoid': special.expit, 'tanh': np.tanh, 'relu': lambda a: np.maximum(a, 0)}[activation]

    def recursion(p: dict[str, np.ndarray]) -> np.ndarray:
        w, v = p['W'].reshape(dims, inputs, 4), p['V'].reshape(dims, outputs, 4)
        a, y = np.tile(p['c'], (2, 1)), []
        for d in range(dims):
            y.append(p['b'][d] + g(a) @ v[d].T)
            a = a + x[:, d] @ w[d]
        return np.stack(y, axis=1)

    exact = {name: np.asarray(value, np.float64) for name, value in params.items()}
    answer = jax.jit(lambda params: net.apply({'params': params}, jnp.asarray(x), (dims, outputs)))
    np.testing.assert_allclose(answer(params), recursion(exact), rtol=1e-4, atol=1e-5)
    weights = np.random.default_rng(1).normal(size=(2, dims, outputs))
    gradient = jax.jit(jax.grad(lambda params: (answer(params) * weights).sum()))(params)
    for name, value in exact.items():
        for at in itertools.islice(np.ndindex(value.shape), 0, None, 5):
            up, down = dict(exact), dict(exact)
            up[name], down[name] = value.copy(), value.copy()
            up[name][at] += 1e-6
            down[name][at] -= 1e-6
            slope = ((recursion(up) - recursion(down)) * weights).sum() / 2e-6
            assert float(gradient[name][at]) == pytest.approx(slope, rel=1e-3, abs=1e-3)


def test_orders_are_permutations_and_the_same_again() -> None:
    np.testing.assert_array_equal(ordering(5, None), np.arange(5))
    np.testing.assert_array_equal(np.sort(ordering(50, 7)), np.arange(50))
    np.testing.assert_array_equal(ordering(50, 7), ordering(50, 7))
    assert (ordering(50, 7) != ordering(50, 8)).any()


@pytest.mark.parametrize('hidden', [(), (7,)])
def test_context_reaches_every_output_of_made_and_cuts_stay_cut(hidden: tuple[int, ...]) -> None:
    """The first variable's outputs too, which see no hidden unit."""
    net: Any = MADE(hidden=hidden, activation='tanh', order_seed=1)
    dims, x, context = 4, jax.random.normal(KEY, (2, 4, 1)), jnp.ones((2, 3))
    both = jax.eval_shape(lambda: net.init(KEY, (x, context), (dims, 2)))
    variables = noisy(both)

    def answer(x: jax.Array, context: jax.Array) -> jax.Array:
        return net.apply(variables, (x[None], context[None]), (dims, 2))[0]

    of_x, of_context = jax.jit(jax.jacobian(answer, argnums=(0, 1)))(x[0], context[0])
    order = ordering(dims, 1)
    assert (np.triu(np.abs(np.asarray(of_x)).sum(axis=(1, 3))[order][:, order]) == 0).all()
    assert (np.abs(np.asarray(of_context)) > 1e-6).all()  # [dims, outputs, context]
    assert set(both['params']) - set(shapes(net, x, (dims, 2))['params']) == {
        f'Dense_{i}' for i in range(1 + len(hidden))
    }
