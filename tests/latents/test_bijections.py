"""Every bijection: both log-determinants are those of the Jacobian, each direction undoes the other, and the start is known."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.latents.autoregressive import IAF, LARGEST, MAF
from research.latents.bijections import Chain, Planar, RealNVP, Stack
from research.nets.masked import MADE, ordering
from research.nets.mlp import MLP
from research.types import BadInput

KEY = jax.random.key(0)
DIMS, CONTEXT, BATCH = 5, 3, 4
SMALL = MADE(hidden=(9,), activation='tanh')
MIXED = MADE(hidden=(7,), activation='tanh', order_seed=4)
COUPLING = RealNVP(net=MLP(hidden=(8,), activation='tanh'))
BIJECTIONS: dict[str, Any] = {
    'planars': Stack(step=Planar(), layers=2),
    'maf': MAF(net=SMALL),
    'iaf': IAF(net=MIXED),
    'real_nvp': COUPLING,
    'chain': Chain(first=Planar(), second=Stack(step=COUPLING, layers=2, reverse=False)),
}
each = pytest.mark.parametrize('name', BIJECTIONS)
TRIANGLES = {'maf': SMALL, 'iaf': MIXED}


def noisy(params: Any, scale: float = 0.4) -> Any:
    """Such a tree with random numbers in it, far from the start."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * scale, jnp.float32), params)


def shapes(bijection: Any, dims: int = DIMS, context: int = 0) -> Any:
    """The tree of parameters, without their values."""
    return jax.eval_shape(lambda: bijection.init(KEY, dims, context))


def points(dims: int = DIMS, batch: int = BATCH) -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).normal(size=(batch, dims)), jnp.float32)


def contexts(size: int, batch: int = BATCH) -> jax.Array | None:
    return jnp.asarray(np.random.default_rng(2).normal(size=(batch, size)), jnp.float32) if size else None


class Answers(NamedTuple):
    """There and back from u, the Jacobians of both directions, and gradients of the way there and of the way back."""

    z: np.ndarray
    log_det: np.ndarray
    again: np.ndarray
    log_det_back: np.ndarray
    jacobian: np.ndarray  # [batch, dims, dims]
    jacobian_back: np.ndarray
    gradient: Any
    gradient_back: Any


@functools.cache
def compiled(name: str) -> Any:
    """All that is asked of one bijection as one function of its parameters: what is slow is to compile it."""
    bijection, weights = BIJECTIONS[name], jnp.asarray(np.random.default_rng(3).normal(size=(BATCH, DIMS)), jnp.float32)

    def everything(params: Any, u: jax.Array, context: jax.Array | None) -> Answers:
        def there_and_back(there: Any, back: Any) -> Any:
            z, log_det = bijection.forward(there, u, context)
            again, log_det_back = bijection.inverse(back, z, context)
            total = (weights * again).sum() + (weights[:, 0] * (log_det + log_det_back)).sum()
            return total, (z, log_det, again, log_det_back)

        gradients, (z, log_det, *back) = jax.grad(there_and_back, argnums=(0, 1), has_aux=True)(params, params)

        def jacobian(move: Any, x: jax.Array) -> jax.Array:
            """Rows are independent, so one tangent serves the whole batch."""
            tangents = jnp.broadcast_to(jnp.eye(DIMS)[:, None], (DIMS, *x.shape))
            columns = jax.vmap(lambda t: jax.jvp(lambda x: move(params, x, context)[0], (x,), (t,))[1])(tangents)
            return jnp.moveaxis(columns, 0, 2)

        jacobians = jacobian(bijection.forward, u), jacobian(bijection.inverse, z)
        return Answers(z, log_det, *back, *jacobians, *gradients)

    return jax.jit(everything)


def answers(name: str, params: Any = None, context: jax.Array | None = None) -> Answers:
    """With random parameters and a random context, where none are given."""
    params = noisy(shapes(BIJECTIONS[name], context=CONTEXT)) if params is None else params
    return compiled(name)(params, points(), contexts(CONTEXT) if context is None else context)


@each
def test_log_determinants_are_of_the_jacobian_and_each_direction_undoes_the_other(name: str) -> None:
    found, u = answers(name), points()
    assert found.z.shape == u.shape
    assert found.log_det.shape == found.log_det_back.shape == (BATCH,)
    assert np.abs(found.z - u).max() > 0.1
    np.testing.assert_allclose(found.log_det, np.linalg.slogdet(found.jacobian)[1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.again, u, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.log_det_back, -found.log_det, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.log_det_back, np.linalg.slogdet(found.jacobian_back)[1], rtol=1e-3, atol=1e-4)


@each
def test_going_there_and_back_does_not_depend_on_the_parameters(name: str) -> None:
    """So the gradients of both directions cancel, through the root of the planar flow and the passes of the others."""
    there, back = answers(name)[-2:]
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(there)) > 0.1
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, -b, rtol=1e-2, atol=1e-3), there, back)


@each
def test_it_starts_at_the_identity_and_can_leave_it(name: str) -> None:
    """Up to the order of the variables; an IAF at its gate, sigmoid(2); a planar flow within a tenth or two."""
    bijection, u = BIJECTIONS[name], points()
    found = answers(name, jax.jit(lambda key: bijection.init(key, DIMS, CONTEXT))(KEY))
    gate = -math.log(1 + math.exp(-2)) if isinstance(bijection, IAF) else 0.0
    turned = u[:, ::-1] if name == 'planars' else u
    near = 0.3 if name in ('planars', 'chain') else 1e-6
    np.testing.assert_allclose(found.z, turned * math.exp(gate), rtol=1e-5, atol=near)
    np.testing.assert_allclose(found.log_det, np.full(BATCH, DIMS * gate), rtol=1e-5, atol=near)
    leaves = jax.tree.leaves(found.gradient)
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert max(np.abs(leaf).max() for leaf in leaves) > 1e-2


@each
def test_context_moves_every_variable(name: str) -> None:
    one, other = answers(name), answers(name, context=jnp.zeros((BATCH, CONTEXT)))
    assert (np.abs(one.z - other.z).max(axis=0) > 1e-4).all()


@pytest.mark.parametrize(('name', 'net'), TRIANGLES.items(), ids=TRIANGLES.keys())
def test_the_jacobian_of_an_autoregressive_flow_is_a_triangle(name: str, net: Any) -> None:
    order = ordering(DIMS, net.order_seed)
    for jacobian in answers(name)[4:6]:
        ordered = np.asarray(jacobian)[:, order][:, :, order]
        np.testing.assert_allclose(np.triu(ordered, 1), 0, atol=1e-6)
        assert (np.diagonal(ordered, axis1=1, axis2=2) > 0).all()
        assert np.abs(np.tril(ordered, -1)).max() > 1e-2


def test_variables_that_are_not_yet_right_may_grow_without_harm() -> None:
    """A relu net with large gains: later variables reach the clip, and the earlier are what one after the other gives."""
    bijection, dims = MAF(net=MADE(hidden=(20,))), 12
    params, u = noisy(shapes(bijection, dims)), points(dims)
    params = params | {'gain': jnp.stack([jnp.full(dims, 3000.0), jnp.full(dims, 0.01)], axis=1)}
    affine = jax.jit(lambda z: bijection.affine(params, z, None))
    expected = jnp.zeros_like(u)
    for d in range(dims):
        mu, alpha = affine(expected)
        expected = expected.at[:, d].set(jnp.clip(u * jnp.exp(alpha) + mu, -LARGEST, LARGEST)[:, d])
    assert np.abs(expected).max() == pytest.approx(LARGEST)
    assert np.abs(expected[:, :3]).max() < 1e9

    def total(u: jax.Array) -> Any:
        z = bijection.forward(params, u)[0]
        return z[:, :4].sum(), z

    gradient, z = jax.jit(jax.grad(total, has_aux=True))(u)
    np.testing.assert_allclose(z, expected, rtol=1e-4)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize('scale', [1.0, 10.0])
def test_a_planar_flow_is_invertible_whatever_its_parameters(scale: float) -> None:
    """1 + w.v is positive by the reparametrisation: what tanh folds is never folded over."""
    bijection, u = Planar(), points(batch=200)
    invertible, move, back = [], jax.jit(bijection.forward), jax.jit(bijection.inverse)
    for seed in range(20):
        w, y, b = (jax.random.normal(jax.random.fold_in(KEY, 3 * seed + i), (n,)) for i, n in enumerate((5, 5, 1)))
        params = {'w': w * scale, 'y': y * scale, 'b': b}
        z, log_det = move(params, u)
        assert np.isfinite(log_det).all()
        invertible.append(float(bijection.vectors(params, None)[3][0]))
        if invertible[-1] > 0.1:  # nearer to 0 a float32 does not hold the way back
            np.testing.assert_allclose(back(params, z)[0], u, atol=2e-2)
    assert 0 <= min(invertible) < 0.7


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadInput, match='at least 2 variables'):
        RealNVP().init(KEY, 1)
    for bijection in (RealNVP(net=MLP(hidden=(4,), batch_norm=True)), Stack(step=RealNVP(net=MLP(batch_norm=True)))):
        with pytest.raises(BadInput, match='batch_stats'):
            jax.eval_shape(lambda bijection=bijection: bijection.init(KEY, DIMS))


@pytest.mark.parametrize('bijection', [Planar(), MAF(net=SMALL), IAF(net=SMALL)], ids=['planar', 'maf', 'iaf'])
def test_one_variable_is_enough(bijection: Any) -> None:
    params, u = noisy(shapes(bijection, 1)), points(1)
    z, log_det = jax.jit(bijection.forward)(params, u)
    again, log_det_back = jax.jit(bijection.inverse)(params, z)
    np.testing.assert_allclose(again, u, atol=1e-5)
    np.testing.assert_allclose(log_det_back, -log_det, atol=1e-5)


def test_a_planar_flow_is_flowjaxs() -> None:
    """With the same w, v and b. flowjax makes v of another y, m(a) being log(1 + softplus(a)) - 1, which is solved for here."""
    flowjax = pytest.importorskip('flowjax.bijections')
    bijection = Planar()
    params = noisy(shapes(bijection), scale=1.0)
    w, v, b, stretch = (vector[0] for vector in bijection.vectors(params, None))
    a = jnp.log(jnp.expm1(jnp.expm1(stretch)))
    rival = flowjax.planar._UnconditionalPlanar(w, v + (a - stretch + 1) * w / (w @ w), b)
    z, log_det = jax.vmap(rival.transform_and_log_det)(points())
    found, found_log_det = bijection.forward(params, points())
    np.testing.assert_allclose(found, z, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found_log_det, log_det, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('kind', ['maf', 'iaf'])
def test_the_autoregressive_flows_are_numpyros(kind: str) -> None:
    """numpyro's transform y = mean(x) + scale(x) x with the same net, both ways; a MAF is one run backwards."""
    flows = pytest.importorskip('numpyro.distributions.flows')
    bijection = {'maf': MAF(net=MIXED), 'iaf': IAF(net=SMALL)}[kind]
    params = noisy(shapes(bijection))

    def of_maf(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        mu, alpha = bijection.affine(params, x, None)
        return -mu * jnp.exp(-alpha), -alpha

    def of_iaf(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        m, s = bijection.gated(params, x, None)
        return (1 - jax.nn.sigmoid(s)) * m, jax.nn.log_sigmoid(s)

    rival = flows.InverseAutoregressiveTransform(of_maf if kind == 'maf' else of_iaf)
    quick, slow = (bijection.inverse, bijection.forward) if kind == 'maf' else (bijection.forward, bijection.inverse)
    x = points()
    y, log_det = jax.jit(quick)(params, x)
    np.testing.assert_allclose(y, rival(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(log_det, rival.log_abs_det_jacobian(x, y), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(jax.jit(slow)(params, y)[0], rival._inverse(y), rtol=1e-3, atol=1e-4)
