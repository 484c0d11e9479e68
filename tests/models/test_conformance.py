"""What every model and trainer of the bench must do, whatever it is."""

from __future__ import annotations

import dataclasses
import itertools
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.engine import epoch as epochs
from research.engine import fit
from research.engine import loop as loops
from research.engine import mesh as meshes
from research.engine import plan as plans
from research.engine import program as programs
from research.engine.mesh import Mesh
from research.engine.plan import Plan
from research.types import Adversarial, Sampled, Scorer
from tests.models.zoo import CASES, ROWS, Case

cases = pytest.mark.parametrize('case', CASES.values(), ids=CASES.keys())
WHOLE = {name: case for name, case in CASES.items() if not case.variant}
whole = pytest.mark.parametrize('case', WHOLE.values(), ids=WHOLE.keys())
MODELS = Path(__file__).resolve().parents[2] / 'research' / 'models'


def plan(case: Case, trainer: Any = None, **changes: Any) -> Plan:
    whole = Plan(trainer or case.trainer, lambda x, key: x, case.x, 2, case.batch_size, 0)
    return whole._replace(**changes)


def start(p: Plan) -> Any:
    """The state before the first step."""
    return programs.Program(p, meshes.build(p.mesh)).init(programs.one(p, plans.numbers(p)), plans.sample(p))


def assert_close(a: Any, b: Any, rtol: float, atol: float = 1e-6) -> None:
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=rtol, atol=atol), a, b)


def assert_identical(a: Any, b: Any) -> None:
    """The same bits on CPU; elsewhere, where sums run in no promised order, the same to 1e-5."""
    if jax.default_backend() != 'cpu':
        assert_close(a, b, rtol=1e-5)
        return
    jax.tree.map(lambda u, v: np.testing.assert_array_equal(np.asarray(u), np.asarray(v)), a, b)


def fitted(case: Case, epochs: int = 2) -> Any:
    state = fit.fit(plan(case, epochs=epochs), None, quiet=True)
    return case.trainer.params(state)


def test_every_model_file_has_a_case() -> None:
    files = {path.stem for path in MODELS.glob('*.py')} - {'__init__'}
    covered = {type(case.model).__module__.rsplit('.', 1)[1] for case in CASES.values()}
    assert files == covered


@whole
def test_jit_equals_no_jit(case: Case, key: jax.Array) -> None:
    x = jnp.asarray(case.x[: case.batch_size])
    state = jax.jit(case.trainer.init)(key, x)
    with jax.disable_jit():
        plain = case.trainer.step(state, x, key)
    assert_close(jax.jit(case.trainer.step)(state, x, key), plain, rtol=2e-4, atol=1e-5)


def test_the_check_of_keys_sees_one_used_twice(key: jax.Array) -> None:
    with jax.debug_key_reuse(True), pytest.raises(jax.errors.KeyReuseError):
        jax.jit(lambda key: jax.random.normal(key) + jax.random.uniform(key))(key)


@cases
def test_no_key_is_used_twice(case: Case) -> None:
    x = jnp.asarray(case.x[: case.batch_size])
    with jax.debug_key_reuse(True):
        state = jax.jit(case.trainer.init)(jax.random.key(1), x)
        jax.jit(case.trainer.step)(state, x, jax.random.key(2))


@cases
def test_vmap_over_seeds_equals_a_loop(case: Case) -> None:
    x = jnp.asarray(case.x[: case.batch_size])

    def two_steps(key: jax.Array) -> Any:
        state = case.trainer.init(key, x)
        for i in range(2):
            state, _ = case.trainer.step(state, x, jax.random.fold_in(key, i))
        return case.trainer.params(case.trainer.end_epoch(state)[0])

    keys = jax.random.split(jax.random.key(3), 3)
    together = jax.jit(jax.vmap(two_steps))(keys)
    for i, key in enumerate(keys):
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], together), jax.jit(two_steps)(key), rtol=1e-3, atol=1e-4)


@whole
def test_four_devices_equal_one(case: Case) -> None:
    if len(jax.devices()) < 4:
        pytest.skip('needs four devices, simulated or real')
    one = fit.fit(plan(case), None, quiet=True)
    four = fit.fit(plan(case, mesh=Mesh(data=4)), None, quiet=True)
    assert_close(one, four, rtol=1e-3, atol=1e-4)


@contextmanager
def stop_at_the_second_piece() -> Iterator[Callable[[], int]]:
    """In place of `loop.signals`: a SIGTERM that comes between the first and the second piece of the run."""
    asked = itertools.count(1)
    yield lambda: signal.SIGTERM if next(asked) > 1 else 0


@whole
def test_resume_equals_no_interruption(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after its first step and gone on with, a run ends with the same bits as one that was never stopped."""
    whole = fit.fit(plan(case), tmp_path / 'whole', quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(loops, 'signals', stop_at_the_second_piece)
        with pytest.raises(fit.Interrupted, match='epoch 0, step 1' if plan(case).steps > 1 else 'epoch 1, step 0'):
            fit.fit(plan(case), tmp_path / 'parts', quiet=True)
    again = fit.fit(plan(case), tmp_path / 'parts', resume=True, quiet=True)
    assert_identical(whole, again)
    logs = [logged(tmp_path / name) for name in ('whole', 'parts')]
    assert [row['epoch'] for row in logs[1]] == [1, 2]
    assert_identical(logs[0], logs[1])


def logged(folder: Path) -> list[dict[str, float]]:
    """The metric log without what a clock says."""
    rows = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ('seconds', 'examples_per_second')} for row in rows]


@pytest.mark.parametrize(
    'case', [CASES['vae_bernoulli'], CASES['gan'], CASES['gaussian_mixture']], ids=['vae', 'gan', 'em']
)
def test_an_epoch_may_be_cut_anywhere(case: Case) -> None:
    """The loop's bounds are data: one piece or many give the same bits."""
    p = plan(case)
    progress = start(p)
    course = epochs.course(p.trainer, 1, 0, ROWS, case.batch_size)
    mesh = meshes.build(meshes.ONE)
    advance = jax.jit(
        lambda progress, first, last: epochs.advance(
            p.trainer, p.transform, mesh, progress, jnp.asarray(case.x), case.batch_size, course, first, last
        )
    )
    steps = p.steps
    cut = advance(advance(progress, 0, steps // 2), steps // 2, steps)
    assert_identical(advance(progress, 0, steps), cut)


@cases
def test_samples_have_the_shape_of_the_data(case: Case, key: jax.Array) -> None:
    shape = (case.domain.shape[0] - case.domain.context,) if case.domain.kind == 'tokens' else case.domain.shape
    drawn = np.asarray(jax.jit(lambda p, k: case.model.sample(p, k, 5, shape))(fitted(case), key))
    assert drawn.shape == (5, *shape)
    assert np.isfinite(drawn).all()
    if case.domain.kind in ('integer', 'tokens'):
        assert drawn.min() >= 0
        assert drawn.max() < case.domain.values
    if case.domain.kind == 'binary':
        assert set(np.unique(drawn)) <= {0.0, 1.0}


def space(case: Case) -> np.ndarray | None:
    """Every example there can be, or None where there are infinitely many."""
    length = case.domain.shape[0] - case.domain.context
    values = {'binary': 2, 'integer': case.domain.values, 'tokens': case.domain.values}.get(case.domain.kind)
    if values is None:
        return None
    every = np.array(list(itertools.product(range(values), repeat=length)))
    before = np.full((len(every), case.domain.context), -1)
    return np.concatenate([before, every], axis=1).astype(case.x.dtype)


DISCRETE = {n: c for n, c in CASES.items() if isinstance(c.model, Scorer) and space(c) is not None}


def sharp(model: Any, samples: int) -> Any:
    """A model whose score is estimated from draws, with so many; others as they are."""
    if not isinstance(model, Sampled):
        return model
    chunk = {'score_chunk': 100} if hasattr(model, 'score_chunk') else {}
    return dataclasses.replace(model, score_samples=samples, **chunk)  # type: ignore[type-var]


@pytest.mark.parametrize('case', DISCRETE.values(), ids=DISCRETE.keys())
def test_samples_and_log_prob_agree_on_an_enumerable_space(case: Case, key: jax.Array) -> None:
    """Probabilities add up to one, and 20000 draws fall as they say, within four standard errors."""
    every = space(case)
    assert every is not None
    params, model, context = fitted(case, epochs=15), sharp(case.model, 3000), case.domain.context
    p = np.exp(np.asarray(jax.jit(model.log_prob)(params, jnp.asarray(every), key), np.float64))
    assert p.sum() == pytest.approx(1.0, abs=1e-5 if model.log_prob_kind == 'exact' else 0.02)
    n, shape = 20_000, (every.shape[1] - context,)
    drawn = np.asarray(jax.jit(lambda p, k: model.sample(p, k, n, shape))(params, key)).astype(int)
    scale = (max(2, case.domain.values) ** np.arange(shape[0]))[::-1]
    found = np.bincount(drawn @ scale, minlength=len(every)) / n
    error = np.sqrt(p * (1 - p) / n) + (0.0 if model.log_prob_kind == 'exact' else 0.002)
    assert (np.abs(found - p) < 4 * error + 1e-6).all()


REAL = {n: c for n, c in CASES.items() if c.domain.kind == 'real' and isinstance(c.model, Scorer)}


@pytest.mark.parametrize('case', REAL.values(), ids=REAL.keys())
def test_densities_integrate_to_one(case: Case, key: jax.Array) -> None:
    axis = np.linspace(-6, 6, 241, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    model = sharp(case.model, 500)
    density = np.exp(np.asarray(jax.jit(model.log_prob)(fitted(case, epochs=15), jnp.asarray(grid), key), np.float64))
    assert density.sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1.0, abs=0.02)


LEARNS = {'gradient': 0.005, 'em': 0.01}  # nats an example by which ten epochs must better the start, at toy size


@cases
def test_training_betters_the_start(case: Case, key: jax.Array) -> None:
    """Ten epochs score the training data better than the start does; a GAN, which cannot score, moves both players, and a
    copy remembers."""
    begun = start(plan(case)).state
    before, after = case.trainer.params(begun), fitted(case, epochs=10)
    if not isinstance(case.model, Scorer | Adversarial):  # it remembers, and no more
        pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
        assert any(np.abs(a - b).max() > 1e-4 for a, b in pairs)
        return
    if not isinstance(case.model, Scorer):
        for name in ('generator', 'critic'):
            moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), before[name], after[name])
            assert max(jax.tree.leaves(moved)) > 1e-4
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after[name]))
        return
    score = jax.jit(lambda params: case.model.log_prob(params, jnp.asarray(case.x), key).mean())
    least = LEARNS['em' if case.trainer.whole_epochs else 'gradient']
    assert float(score(after)) > float(score(before)) + least
