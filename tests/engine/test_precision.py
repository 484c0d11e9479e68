"""bfloat16 inside of nets, float32 everywhere else."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.engine import fit, precision
from research.engine.plan import Plan
from research.engine.precision import Bfloat16
from research.nets.mlp import MLP, train_apply
from tests.models.zoo import CASES, Case

NETWORKS = {name: CASES[name] for name in ('vae_bernoulli', 'gan', 'dcgan', 'transformer', 'gru')}


def plan(case: Case, kind: str) -> Plan:
    return Plan(precision.apply(case.trainer, kind), lambda x, key: x, case.x, 2, case.batch_size, 0)


def dtypes(tree: Any) -> set[str]:
    return {str(leaf.dtype) for leaf in jax.tree.leaves(tree)}


def test_a_wrapped_net_multiplies_in_bfloat16_and_answers_in_float32() -> None:
    net = Bfloat16(MLP(hidden=(8,), batch_norm=True))
    x = jax.random.normal(jax.random.key(0), (16, 5))
    params = net.init(jax.random.key(1), x, (3,))
    assert dtypes(params) == {'float32'}
    program = str(jax.make_jaxpr(lambda p, x: train_apply(net, p, x, (3,), jax.random.key(0)))(params, x))
    products = [line for line in program.split('\n') if 'dot_general' in line]
    assert products
    assert all(':bf16' in line for line in products)
    y, mutable = train_apply(net, params, x, (3,), jax.random.key(0))
    assert (str(y.dtype), dtypes(mutable)) == ('float32', {'float32'})
    plain = MLP(hidden=(8,), batch_norm=True).apply(params, x, (3,))
    np.testing.assert_allclose(net.apply(params, x, (3,)), plain, rtol=0.03, atol=0.03)


@pytest.mark.parametrize('case', NETWORKS.values(), ids=NETWORKS.keys())
def test_every_network_trains_in_bfloat16(case: Case) -> None:
    """The state stays float32, and what is learned is near to what float32 learns."""
    half, full = fit.fit(plan(case, 'bfloat16'), None, quiet=True), fit.fit(plan(case, 'float32'), None, quiet=True)
    assert 'bfloat16' not in dtypes(half)
    for a, b in zip(
        jax.tree.leaves(case.trainer.params(half)), jax.tree.leaves(case.trainer.params(full)), strict=True
    ):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=0.1, atol=0.1)


def test_float32_is_the_trainer_itself() -> None:
    trainer = CASES['vae_bernoulli'].trainer
    assert precision.apply(trainer, 'float32') is trainer


def test_gradients_come_back_in_float32() -> None:
    net = Bfloat16(MLP(hidden=(8,)))
    x = jnp.ones((4, 5))
    params = net.init(jax.random.key(1), x, (3,))
    gradient = jax.grad(lambda p: net.apply(p, x, (3,)).sum())(params)
    assert dtypes(gradient) == {'float32'}
