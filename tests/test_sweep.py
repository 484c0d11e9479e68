"""A grid trained as one program: the same numbers as its members alone, whatever becomes of the others."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from research import sweep as sweeps
from research.engine import fit, loop, many, members, numbers, override
from research.engine import mesh as meshes
from research.engine import plan as plans
from research.engine.logbook import Bar
from research.engine.mesh import Mesh
from research.engine.plan import Plan
from research.engine.program import Program
from research.evaluate import score_results
from research.types import BadInput
from scripts import configs
from tests.engine import bowl
from tests.models.zoo import CASES, Case
from tests.runs import SMALL, card, lines

TINY = [flag.removeprefix('--set=') for flag in SMALL]
GRIDS: dict[str, dict[str, Sequence[float]]] = {
    'vae_bernoulli': {'model.beta': (0.5, 2.0), 'learning_rate': (1e-3, 3e-3)},
    'gan': {'learning_rate': (1e-4, 1e-3), 'critic_learning_rate': (2e-4, 1e-3)},
    'gaussian_mixture': {'model.variance_floor': (1e-2, 1e-1, 2e-1, 3e-1)},
    'transformer': {'learning_rate': (1e-3, 3e-3), 'optimiser.b1': (0.8, 0.9)},
}


def plan(case: Case, **changes: Any) -> Plan:
    return Plan(case.trainer, lambda x, key: x, case.x, 3, case.batch_size, 0)._replace(**changes)


def grid_of(name: str) -> list[members.Member]:
    """Every combination of GRIDS[name], each from a seed of its own."""
    p, cells = plan(CASES[name]), [{}]
    for path, values in GRIDS[name].items():
        cells = [cell | {path: np.float32(value)} for cell in cells for value in values]
    return [members.Member(plans.numbers(p) | cell, seed) for seed, cell in enumerate(cells)]


def solo(p: Plan, member: members.Member) -> Any:
    """The member as a run of its own, its numbers in the config."""
    trainer = numbers.insert(p.trainer, {path: float(value) for path, value in member.numbers.items()})
    return fit.fit(p._replace(trainer=trainer, seed=member.seed), None, program=program(p), quiet=True)


@functools.cache
def _programs() -> dict[str, Program]:
    return {}


def program(p: Plan) -> Program:
    """The compiled program of single runs of this structure; `fit` makes it anew each time, from the same source."""
    return _programs().setdefault(repr(p.trainer), Program(p, meshes.build(p.mesh)))


def trained(group: members.Group) -> list[members.Outcome]:
    return [outcome for call in group.outcomes(Bar('', 1, True), False) for outcome in call]


@pytest.mark.parametrize('name', GRIDS)
def test_map_members_are_solo_runs_bit_for_bit(name: str) -> None:
    p, own = plan(CASES[name]), grid_of(name)
    for member, outcome in zip(own, trained(members.Group(p, own, 'map')), strict=True):
        jax.tree.map(np.testing.assert_array_equal, outcome.state, solo(p, member))


@pytest.mark.parametrize('name', GRIDS)
@pytest.mark.parametrize('width', [2, 4])
def test_vmap_members_are_solo_runs_to_a_thousandth(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, 'width', lambda plan, count, mode: width)
    p, own = plan(CASES[name]), grid_of(name)
    for member, outcome in zip(own, trained(members.Group(p, own, 'vmap')), strict=True):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), outcome.state, solo(p, member)
        )


def test_members_differ_from_each_other() -> None:
    outcomes = trained(members.Group(plan(CASES['vae_bernoulli']), grid_of('vae_bernoulli'), 'map'))
    assert len({float(outcome.metrics['loss']) for outcome in outcomes}) == len(outcomes)


def test_a_call_that_is_not_full_is_filled_up_and_the_rest_dropped() -> None:
    p, own = plan(CASES['vae_bernoulli']), grid_of('vae_bernoulli')
    group = members.Group(p, own, 'map', per_call=3)
    assert [len(call) for call in group.calls()] == [3, 1]
    for a, b in zip(trained(group), trained(members.Group(p, own, 'map')), strict=True):
        jax.tree.map(np.testing.assert_array_equal, a.state, b.state)


def test_shared_batches_are_those_of_the_plans_seed_and_noise_is_ones_own() -> None:
    """The member whose seed is the plan's is its solo run, but for the last bits: XLA fuses one shared batch otherwise than
    each member's own."""
    p = plan(CASES['vae_bernoulli'], seed=3)
    own = [members.Member(plans.numbers(p), seed) for seed in (3, 4)]
    first, second = trained(members.Group(p, own, 'map', shared_batches=True))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), first.state, solo(p, own[0]))
    assert float(first.metrics['loss']) != float(second.metrics['loss'])


@pytest.mark.parametrize('mode', ['vmap', 'map'])
@pytest.mark.parametrize('name', ['vae_bernoulli', 'gan', 'gaussian_mixture'])
def test_members_over_two_devices(mode: str, name: str) -> None:
    p, own = plan(CASES[name]), grid_of(name)
    there = members.Group(p._replace(mesh=Mesh(member=2, data=2)), own, mode)
    for a, b in zip(trained(there), trained(members.Group(p, own, mode)), strict=True):
        jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=1e-3, atol=1e-4), a.state, b.state)


def test_a_member_that_becomes_nan_is_marked_with_its_step_and_stops_nobody() -> None:
    p = bowl.plan(epochs=2)
    rates = [0.1, 3e38, 0.05]
    own = [
        members.Member({'learning_rate': np.float32(rate), 'optimiser.momentum': np.float32(0.5)}, 5) for rate in rates
    ]
    for mode in ('vmap', 'map', 'loop'):
        fine, failed, also = trained(members.Group(p, own, mode))
        assert (fine.failed, failed.failed, also.failed) == (None, (0, 1), None)
        assert np.isfinite(also.state.params['w']).all()


def test_one_compilation_however_many_members() -> None:
    run = override.apply(configs.build('vae_digits'), TINY)
    grid = {'trainer.model.beta': (1.0, 4.0)}
    sweeps.sweep(run, grid, 3, quiet=True)  # compiles what does not depend on how many there are
    counts = []
    for seeds in (1, 5):
        with counting() as seen:
            sweeps.sweep(run, grid, seeds, quiet=True)
        counts.append(len(seen))
    assert counts[0] == counts[1] > 0


class counting:
    """Within, a list that grows with each program compiled."""

    def __enter__(self) -> list[str]:
        self.seen: list[str] = []
        jax.monitoring.register_event_duration_secs_listener(self.note)
        return self.seen

    def note(self, event: str, duration: float, **more: Any) -> None:
        if event.endswith('backend_compile_duration'):
            self.seen.append(event)

    def __exit__(self, *error: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self.note)


def test_structure_splits_and_numbers_do_not() -> None:
    run = override.apply(configs.build('vae_digits'), TINY)
    grid = {'trainer.model.latent': (2, 3), 'trainer.model.beta': (1.0, 2.0), 'epochs': (1,)}
    swept = sweeps.sweep(run, grid, seeds=(7, 9), quiet=True)
    assert (swept.groups, swept.compilations, len(swept.rows)) == (2, 2, 8)
    assert [(r.cell, r.seed) for r in swept.rows] == [(c, s) for c in range(4) for s in (7, 9)]
    assert {r.settings['trainer.model.latent'] for r in swept.rows if r.cell in (0, 1)} == {2}
    assert len(swept.cells()) == 4
    assert set(swept.tidy()[0]) >= {'trainer.model.beta', 'seed', 'status', 'test_nll', 'train_loss'}


def test_a_number_that_decides_a_branch_splits_too() -> None:
    """Dropout asks whether its rate is 0, within a net: it is no argument of the program, and still a sweep."""
    run = override.apply(configs.build('transformer_python'), ['epochs=1', 'trainer.model.net.width=8'])
    found = sweeps.Sweep(run=run, grid={'trainer.model.net.dropout': (0.0, 0.1)}, seeds=(0,))
    assert len({task.group for task in sweeps.lay_out(found)}) == 2


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('sweep') / 'out'
    run = override.apply(configs.build('vae_digits'), [*TINY, 'checkpoint_every=1'])
    sweeps.sweep(run, {'trainer.model.beta': (1.0, 4.0)}, 2, mode='map', out=out, quiet=True, config='vae_digits')
    return out


def test_a_member_is_a_run_folder_like_any_other(folder: Path, tmp_path: Path) -> None:
    from research import run as runs

    own = folder / 'members' / '0003'
    assert card(own)['values']['trainer.model.beta'] == 4.0
    alone = override.apply(configs.build('vae_digits'), [*TINY, 'trainer.model.beta=4', 'seed=1'])
    fitted = runs.train(alone, tmp_path / 'alone', quiet=True)
    jax.tree.map(np.testing.assert_array_equal, runs.load(own).params, fitted.params)
    data = alone.data.load()
    assert score_results(fitted, data).results[0].value == lines(own / 'results.jsonl')[0]['value']
    assert (folder / 'table.csv').read_text().count('\n') == 5
    assert 'vae_digits: ablation over beta' in (folder / 'index.html').read_text('utf-8')


def test_a_sweep_goes_on_where_it_was(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One member done, one lost, two at their first epoch: resumed, all are as if nothing had happened."""
    out = tmp_path / 'out'
    shutil.copytree(folder, out)
    shutil.rmtree(out / 'members' / '0001')
    for name in ('0002', '0003'):
        (out / 'members' / name / sweeps.OUTCOME).unlink()
        last = max((out / 'members' / name / 'checkpoints').iterdir(), key=lambda p: int(p.name))
        shutil.rmtree(last)
    before = lines(out / 'members' / '0000' / 'results.jsonl')
    spec = sweeps.read(out)
    swept = sweeps.sweep(
        spec.run, spec.grid, spec.seeds, mode='map', out=out, resume=True, quiet=True, config='vae_digits'
    )
    whole = sweeps.gather(folder)
    assert [r.scored.results[0].value for r in swept.rows if r.scored] == [
        r.scored.results[0].value for r in whole.rows if r.scored
    ]
    assert lines(out / 'members' / '0000' / 'results.jsonl') == before
    for name in ('0001', '0002', '0003'):
        assert [row['epoch'] for row in lines(out / 'members' / name / 'metrics.jsonl')] == [1, 2]
        assert len(lines(out / 'members' / name / 'results.jsonl')) == 2


def test_a_damaged_checkpoint_takes_all_members_of_its_call_back_together(folder: Path, tmp_path: Path) -> None:
    """One flipped bit in the last checkpoint of the second member: both go on from the one before, to the same bits."""
    out = tmp_path / 'out'
    shutil.copytree(folder, out)
    for name in ('0000', '0001', '0002', '0003'):
        (out / 'members' / name / sweeps.OUTCOME).unlink()
    for name in ('0001', '0003'):
        last = max((out / 'members' / name / 'checkpoints').iterdir(), key=lambda p: int(p.name))
        part = max((path for path in (last / 'state').rglob('*') if path.is_file()), key=lambda p: p.stat().st_size)
        content = bytearray(part.read_bytes())
        content[len(content) // 2] ^= 1
        part.write_bytes(content)
    spec = sweeps.read(out)
    swept = sweeps.sweep(
        spec.run, spec.grid, spec.seeds, mode='map', out=out, resume=True, quiet=True, config='vae_digits'
    )
    assert [r.scored.results[0].value for r in swept.rows if r.scored] == [
        r.scored.results[0].value for r in sweeps.gather(folder).rows if r.scored
    ]
    for name in ('0000', '0001'):
        logs = [lines(home / 'members' / name / 'metrics.jsonl') for home in (out, folder)]
        assert [[row['loss'] for row in log] for log in logs[:1]] == [[row['loss'] for row in log] for log in logs[1:]]


def test_a_desk_that_is_closed_lets_its_threads_go() -> None:
    desk = many.Desk()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(desk.ask, lambda: 1)
        desk.close()
        with pytest.raises(KeyboardInterrupt):
            waiting.result(timeout=10)


def test_what_others_score_in_a_member_plays_no_part(folder: Path, tmp_path: Path) -> None:
    from research import run as runs

    out = tmp_path / 'out'
    shutil.copytree(folder, out)
    before = [row.scored.results for row in sweeps.gather(out).rows if row.scored]
    runs.evaluate_folder(out / 'members' / '0000', 7, 'test', None)
    assert [row.scored.results for row in sweeps.gather(out).rows if row.scored] == before


def test_a_member_that_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / 'out')
    (tmp_path / 'out' / 'members' / '0002' / sweeps.OUTCOME).unlink()
    with pytest.raises(BadInput, match=r'1 of 4 members are not done \(2\)'):
        sweeps.gather(tmp_path / 'out')


def test_failed_members_are_told_of_and_left_out_of_their_cell(tmp_path: Path) -> None:
    run = override.apply(configs.build('vae_digits'), TINY)
    swept = sweeps.sweep(run, {'trainer.learning_rate': (1e-3, 3e38)}, 2, out=tmp_path / 'out', quiet=True)
    assert [row.status for row in swept.rows] == ['done', 'done', 'failed', 'failed']
    assert len(swept.cells()) == 1
    assert 'failed: learning_rate=3e+38 seed=1, NaN at epoch 1, step' in swept.text()
    assert json.loads((tmp_path / 'out' / 'members' / '0003' / sweeps.OUTCOME).read_text())['status'] == 'failed'
    assert (tmp_path / 'out' / 'index.html').read_text('utf-8').count('NaN at epoch 1, step') == 2


@pytest.mark.parametrize(
    ('grid', 'seeds', 'options', 'sentence'),
    [
        (
            {'trainer.model.betta': (1,)},
            1,
            {},
            'trainer.model.betta: no such field; the nearest are trainer.model.beta',
        ),
        ({'trainer.model.beta': (1, 'x')}, 1, {}, 'trainer.model.beta=x: expected a finite number'),
        ({'trainer.model.beta': (1, -1)}, 1, {}, 'trainer.model.beta=-1.0: expected a value at least 0'),
        ({'trainer.model.beta': (1, 1.0)}, 1, {}, 'grid: beta=1.0 stands twice'),
        ({'trainer.model.beta': ()}, 1, {}, 'grid: trainer.model.beta has no values'),
        ({'seed': (1, 2)}, 1, {}, 'grid: seed is not swept as a field; give seeds'),
        ({}, (), {}, 'seeds: none given'),
        ({}, (3, 3), {}, 'one stands twice'),
        ({'batch_size': (100, 5000)}, 1, {}, 'batch_size=5000: the data have 1400 training examples'),
        ({'trainer.model.encoder': ('MLP',)}, 1, {}, 'this field holds a part of the model'),
        ({}, 1, {'resume': True, 'overwrite': True}, 'resume and overwrite: one continues the folder'),
        ({}, 1, {'members': 0}, 'members=0: expected at least 1'),
        ({'trainer.model.beta': 2.0}, 1, {}, 'grid: trainer.model.beta=2.0; expected a sequence'),
        ({}, 2, {'mode': 'loop', 'shared_batches': True}, 'shared_batches: members share them within one program'),
    ],
)
def test_bad_input(grid: Any, seeds: Any, options: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=sentence.replace('(', r'\(')):
        sweeps.sweep(configs.build('vae_digits'), grid, seeds, out=tmp_path / 'out', quiet=True, **options)
    assert not (tmp_path / 'out').exists()


def test_a_folder_of_something_else_is_left_alone(folder: Path, tmp_path: Path) -> None:
    run = configs.build('vae_digits')
    (tmp_path / 'notes.txt').write_text('mine')
    for options, sentence in (({}, 'exists; continue it'), ({'overwrite': True}, 'not a sweep folder')):
        with pytest.raises(BadInput, match=sentence):
            sweeps.sweep(run, {}, 1, out=tmp_path, quiet=True, **options)
    with pytest.raises(BadInput, match='cannot resume, its run is another'):
        sweeps.sweep(dataclasses.replace(run, epochs=3), {}, 1, out=folder, resume=True, quiet=True)


def test_a_signal_saves_every_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.models.test_conformance import stop_at_the_second_piece

    run = override.apply(configs.build('vae_digits'), TINY)
    grid = {'trainer.model.beta': (1.0, 4.0)}
    whole = sweeps.sweep(run, grid, 1, mode='map', out=tmp_path / 'whole', quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(loop, 'signals', stop_at_the_second_piece)
        with pytest.raises(loop.Interrupted):
            sweeps.sweep(run, grid, 1, mode='map', out=tmp_path / 'parts', quiet=True)
    parts = sweeps.sweep(run, grid, 1, mode='map', out=tmp_path / 'parts', resume=True, quiet=True)
    assert [row.metrics for row in parts.rows] == [row.metrics for row in whole.rows]
