"""Which operation is blamed for a NaN: the first that made one of finite numbers, and never one that meant its infinity."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.engine import fit, origin, plan
from research.maths.likelihoods import Gaussian
from research.models.gan import GAN
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.trainers.adversarial import AdversarialTrainer
from research.trainers.gradient import GradientTrainer
from tests.engine import bowl

X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
POINT = np.array([-1.0, 0.0, 2.0], np.float32)


def line(words: str) -> str:
    """Where in this file a line stands."""
    number = next(i for i, text in enumerate(Path(__file__).read_text().splitlines(), 1) if words in text)
    return f'tests/engine/test_origin.py:{number})'


def told(function: Callable[..., Any], *given: Any) -> str:
    return origin.tell(function, lambda: {f'input{i}': a for i, a in enumerate(given)})


def gradient_of(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A step down its gradient."""
    return lambda x: x - 0.1 * jax.grad(lambda x: function(x).sum())(x)


def test_a_finite_step_has_no_origin() -> None:
    assert 'did not come again' in told(lambda x: x + 1, POINT)


def test_a_nan_of_finite_numbers_is_blamed_on_its_operation_and_line() -> None:
    said = told(lambda x: 2 * jnp.log(x + 0.5), POINT)  # the log
    assert 'log of numbers from -0.5 to 2.5 gave NaN' in said
    assert line('# the log') in said


def test_one_nan_among_many_numbers_is_seen() -> None:
    """A maximum of floats passes over it."""
    many = np.ones((100, 64), np.float32)
    many[70, 3] = -1
    assert 'sqrt of numbers from -1 to 1 gave NaN' in told(lambda x: jnp.sqrt(x) * 2, many)


def test_what_where_passes_over_is_not_blamed() -> None:
    def function(x: Any) -> Any:
        harmless = jnp.where(x > 0, jnp.log(x), 0.0)
        return harmless + jnp.sqrt(x - 1.5)

    assert 'sqrt of numbers from -2.5 to 0.5 gave NaN' in told(function, POINT)


def test_the_trap_of_where_and_a_gradient_is_found() -> None:
    """0 is passed over, but its derivative is 0 * infinity."""
    said = told(gradient_of(lambda x: jnp.where(x > 0, jnp.sqrt(x), 0.0)), np.maximum(POINT, 0))
    assert said.startswith('it began in the backward pass: div of 0.5 and numbers from 0 to 1.414 gave infinity')
    assert 'mul made a NaN of it' in said


def test_a_mask_is_not_blamed() -> None:
    def attention(x: Any) -> Any:
        scores = jnp.where(jnp.tril(jnp.ones((3, 3))) > 0, x[:, None] * x, -jnp.inf)
        return jax.nn.softmax(scores) @ x

    assert 'did not come again' in told(gradient_of(attention), POINT)
    said = told(lambda x: attention(x) + jnp.log(x), POINT)
    assert 'log of numbers from -1 to 2 gave NaN' in said


def test_a_row_that_is_all_masked_is_blamed_on_what_makes_a_nan_of_it() -> None:
    said = told(lambda x: jax.nn.softmax(jnp.where(x > 9, x, -jnp.inf)), POINT)
    assert 'sub of -inf and -inf gave NaN' in said


def test_the_infinity_behind_a_nan_is_blamed_if_finite_numbers_made_it() -> None:
    def function(x: Any) -> Any:
        large = jnp.exp(100 * x)  # too large
        return large / large.sum()

    said = told(function, POINT)
    assert 'exp of numbers from -100 to 200 gave infinity' in said
    assert line('# too large') in said
    assert 'div made a NaN of it' in said


def test_an_infinity_that_comes_out_is_blamed_where_no_nan_does() -> None:
    assert 'integer_pow of 2e+30 gave infinity' in told(lambda x: (x[2] * 1e30) ** 2, POINT)


def test_data_that_hold_a_nan_are_blamed_themselves() -> None:
    bad = np.where(POINT == 0, np.nan, POINT)
    assert told(lambda x, y: x['a'] + y, {'a': POINT}, bad) == 'input1 held a NaN before the step'
    assert told(lambda x, y: x['a'] + y, {'a': bad}, POINT) == 'input0/a held a NaN before the step'


@pytest.mark.parametrize('turn', [0, 3])
def test_a_scan_is_looked_into(turn: int) -> None:
    def body(carry: Any, i: Any) -> Any:
        with jax.named_scope('turning'):
            carry = carry + jnp.where(i == turn, jnp.log(carry - 2), 0)
        return carry, i

    said = told(lambda x: jax.lax.scan(body, x, jnp.arange(5))[0], np.float32(1.0))
    assert 'log of -1 gave NaN in turning' in said
    assert line('jnp.log(carry - 2)') in said


def test_loops_branches_and_calls_are_looked_into() -> None:
    def loop(x: Any) -> Any:
        return jax.lax.while_loop(lambda x: x > -2, lambda x: x - 1 + 0 * jnp.sqrt(x), x)

    def branch(x: Any) -> Any:
        return jax.lax.cond(x > 0, lambda x: jnp.log(x - 5), lambda x: x, x)

    @jax.checkpoint
    def call(x: Any) -> Any:
        return jax.jit(lambda x: jnp.arcsin(x) + 1)(x)

    assert 'sqrt of -1 gave NaN' in told(loop, np.float32(2.0))
    assert 'log of -3 gave NaN' in told(branch, np.float32(2.0))
    assert 'asin of 2 gave NaN' in told(jax.value_and_grad(call), np.float32(2.0))


class LogInside(nn.Module):
    """A dense layer, the logarithm of what comes out of it, and another."""

    @nn.compact
    def __call__(self, x: Any, shape: tuple[int, ...], train: bool = False) -> Any:
        x = Log()(nn.Dense(4)(x))
        return nn.Dense(int(np.prod(shape)))(x).reshape(x.shape[0], *shape)


class Log(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return jnp.log(x)  # of negative numbers too


def step_of(trainer: Any, state: Any = None) -> str:
    fitted = plan.Plan(trainer, lambda x, key: x, X, 1, len(X), 0)
    numbers = plan.numbers(fitted)
    begun = jax.jit(lambda: plan.init(fitted, numbers, 0, X).state)()
    return origin.of_step(fitted, numbers, begun if state is None else state(begun), lambda: X, 0, 0)


def vae(**fields: Any) -> GradientTrainer:
    small = {'encoder': MLP(hidden=(4,)), 'decoder': MLP(hidden=(4,)), 'likelihood': Gaussian(), 'latent': 2}
    return GradientTrainer(model=VAE(**(small | fields)))


def test_the_layer_of_a_net_is_named_and_the_line_that_calls_it() -> None:
    said = step_of(vae(decoder=LogInside()))
    assert said.startswith('it began in the forward pass: log of numbers from -')
    assert f'gave NaN in decoder/LogInside/Log_0 ({line("# of negative numbers too")}, called in VAE.distortion' in said
    assert 'research/models/vae.py:' in said


def huge(state: Any) -> Any:
    """The critic's parameters so large that its second layer overflows."""
    return state._replace(critic=state.critic._replace(params=jax.tree.map(lambda a: 1e30 * a, state.critic.params)))


def test_nets_of_the_same_class_are_told_apart() -> None:
    model = GAN(generator=MLP(hidden=(4,)), critic=MLP(hidden=(4,)), latent=2, output='identity')
    said = step_of(AdversarialTrainer(model=model), huge)
    assert 'in critic/MLP/Dense_1 (research/nets/mlp.py:' in said
    assert 'called in GAN.critic_loss (research/models/gan.py:' in said


def test_the_message_of_a_run_that_diverged_ends_with_the_origin(tmp_path: Path) -> None:
    with pytest.raises(fit.Diverged) as stop:
        fit.fit(bowl.plan(breaks=2), tmp_path, quiet=True)
    kept, _, began = str(stop.value).partition(f'; the state before that step is kept in {tmp_path}; ')
    assert kept == 'NaN or infinity: loss at epoch 1, step 2; after it the first tensor that is not finite is no tensor'
    assert began.startswith('it began in the forward pass: select_n gave NaN in ')
    assert 'Bowl.loss (tests/engine/bowl.py:' in began


def test_the_end_of_an_epoch_has_an_origin(tmp_path: Path) -> None:
    with pytest.raises(fit.Diverged, match=r'div of .* gave infinity in BrokenMean.solve \(tests/engine/bowl.py:\d+\)'):
        fit.fit(bowl.em_plan(), None, quiet=True)


def test_a_diagnosis_that_fails_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(origin, 'find', fails)
    with pytest.raises(fit.Diverged, match=r'loss at epoch 1, step 2; .*could not be found \(MemoryError\)'):
        fit.fit(bowl.plan(breaks=2), None, quiet=True)
