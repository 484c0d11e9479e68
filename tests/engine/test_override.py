"""Configs by dotted path: set, checked, written down, and read again from a file that anybody may have written."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from research.data import Images
from research.engine import override
from research.maths.likelihoods import Categorical, Gaussian
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.run import Run
from research.trainers.gradient import GradientTrainer
from research.trainers.optimisers import Adam, Cosine
from research.types import BadInput, Domain, ranged


@dataclass(frozen=True, kw_only=True)
class Part:
    share: float | None = ranged(None, at_least=0, below=1, optional=True)


@dataclass(frozen=True, kw_only=True)
class Whole:
    """One field of each type that a config may have."""

    count: int = ranged(3, at_least=1)
    rate: float = ranged(0.5, above=0)
    name: str = 'a'
    on: bool = False
    sides: tuple[int, ...] = ranged((4, 4), at_least=1)
    mode: Literal['slow', 'quick'] = 'slow'
    limit: int | None = ranged(None, at_least=1, optional=True)
    part: Part = Part()
    net: MLP = MLP(hidden=(8, 8))


def run() -> Run:
    model = VAE(encoder=MLP(hidden=(8,)), decoder=MLP(hidden=(8,)), likelihood=Gaussian(), latent=2)
    return Run(data=Images(name='digits'), trainer=GradientTrainer(model=model))


def refused(node: Any, *assignments: str) -> str:
    """What a user is told, in one line, by setting or by checking."""
    with pytest.raises(BadInput) as error:
        override.check(override.apply(node, list(assignments)))
    assert '\n' not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ('assignment', 'value'),
    [
        ('count=7', 7),
        (' count = 7 ', 7),
        ('rate=1e-3', 1e-3),
        ('rate=2', 2.0),
        ('name=x=y', 'x=y'),
        ('on=True', True),
        ('on=false', False),
        ('sides=16', (16,)),
        ('sides=16,8', (16, 8)),
        ('sides=(16, 8,)', (16, 8)),
        ('sides=[]', ()),
        ('mode=quick', 'quick'),
        ('limit=5', 5),
        ('limit=none', None),
        ('part.share=0.25', 0.25),
        ('net.hidden=3,2', (3, 2)),
        ('net.activation=tanh', 'tanh'),
    ],
)
def test_a_field_is_set_to_a_value_of_its_own_type(assignment: str, value: Any) -> None:
    path = assignment.partition('=')[0].strip()
    changed = override.apply(Whole(), [assignment])
    override.check(changed)
    found = override.flatten(changed)[path]
    assert (found, type(found)) == (value, type(value))
    others = {k: v for k, v in override.flatten(Whole()).items() if k != path}
    assert {k: v for k, v in override.flatten(changed).items() if k != path} == others


def test_the_last_of_two_wins_and_the_given_config_is_untouched() -> None:
    before = Whole()
    assert override.apply(before, ['count=4', 'count=5']).count == 5
    assert before.count == 3


@pytest.mark.parametrize(
    ('assignment', 'accepted'),
    [
        ('count=3.5', 'a whole number'),
        ('count=', 'a whole number'),
        ('count=none', 'a whole number'),
        ('count=true', 'a whole number'),
        ('rate=fast', 'a finite number'),
        ('rate=nan', 'a finite number'),
        ('rate=inf', 'a finite number'),
        ('rate=1e39', 'a finite number'),
        ('on=1', 'true or false'),
        ('sides=4,x', 'whole numbers, separated by commas'),
        ('sides=4,,4', 'whole numbers, separated by commas'),
        ('mode=fast', 'one of slow, quick'),
        ('limit=soon', 'a whole number or none'),
        ('net.activation=relv', 'one of relu, tanh'),
    ],
)
def test_a_value_of_another_type_is_refused(assignment: str, accepted: str) -> None:
    said = refused(Whole(), assignment)
    assert said.startswith(assignment.partition('=')[0] + '=')
    assert accepted in said


@pytest.mark.parametrize(
    ('assignment', 'accepted'),
    [
        ('trainer.model.beta=-1', 'trainer.model.beta=-1.0: expected a value at least 0'),
        ('trainer.model.encoder.hidden=8,-8', 'trainer.model.encoder.hidden=8,-8: expected a value at least 1'),
        ('trainer.model.latent=0', 'at least 1'),
        ('trainer.learning_rate=0', 'trainer.learning_rate=0.0: expected a value above 0'),
        ('trainer.optimiser.b1=1', 'at least 0 and below 1'),
        ('trainer.ema=1', 'at least 0 and below 1'),
        ('batch_size=0', 'batch_size=0: expected a value at least 1'),
        ('epochs=0', 'at least 1'),
        ('seed=-1', 'at least 0'),
        ('seed=4294967296', 'at most 4294967295'),
        ('data.valid=-1', 'at least 0'),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(assignment: str, accepted: str) -> None:
    assert accepted in refused(run(), assignment)


@pytest.mark.parametrize(
    ('wrong', 'right'),
    [
        ('trainer.model.bta', 'trainer.model.beta'),
        ('beta', 'trainer.model.beta'),
        ('lr', 'trainer.learning_rate'),
        ('trainer.learning_rte', 'trainer.learning_rate'),
        ('model.encoder.hidden', 'trainer.model.encoder.hidden'),
        ('trainer.model.encoder.hiden', 'trainer.model.encoder.hidden'),
        ('epoch', 'epochs'),
        ('batchsize', 'batch_size'),
        ('epochs.more', 'epochs'),
    ],
)
def test_an_unknown_field_is_answered_with_the_nearest(wrong: str, right: str) -> None:
    said = refused(run(), f'{wrong}=1')
    assert said.startswith(f'{wrong}: no such field')
    if wrong != 'lr':  # two letters are like nothing; some fields are shown all the same
        assert right in said.split('nearest are ')[1].split(', ')


@pytest.mark.parametrize('name', ['parent', 'scope', 'name', '__class__', '__init__', ''])
def test_only_settings_can_be_set(name: str) -> None:
    """Linen's own fields and Python's attributes are no settings."""
    assert 'no such field' in refused(run(), f'trainer.model.encoder.{name}=1')


@pytest.mark.parametrize('path', ['trainer', 'trainer.model', 'trainer.model.encoder', 'trainer.schedule', 'data'])
def test_a_part_is_not_exchanged_by_a_text(path: str) -> None:
    assert 'holds a part of the model; exchange it in the config file' in refused(run(), f'{path}=MLP')


def test_an_assignment_needs_an_equals_sign() -> None:
    assert "expected field=value, such as 'epochs=5'" in refused(run(), 'epochs')


@pytest.mark.parametrize(
    'wrong',
    [
        Whole(count=2.0),  # type: ignore[arg-type]
        Whole(count=True),
        Whole(rate='0.5'),  # type: ignore[arg-type]
        Whole(rate=float('nan')),
        Whole(sides=[4]),  # type: ignore[arg-type]
        Whole(sides=(4, 'x')),  # type: ignore[arg-type]
        Whole(mode='fast'),  # type: ignore[arg-type]
        Whole(name=None),  # type: ignore[arg-type]
        Whole(net='MLP'),  # type: ignore[arg-type]
        Whole(part=None),  # type: ignore[arg-type]
        Whole(part=Part(share=1.0)),
        Whole(net=MLP(hidden=(0,))),
    ],
)
def test_a_config_file_is_checked_as_well(wrong: Whole) -> None:
    with pytest.raises(BadInput, match=r'^(\w|\.)+=.*: expected'):
        override.check(wrong)


def test_what_is_written_is_read_again() -> None:
    before = dataclasses.replace(
        run(),
        trainer=GradientTrainer(
            model=run().trainer.model, optimiser=Adam(clip=1.0), schedule=Cosine(steps=10), learning_rate=1e-3
        ),
    )
    assert override.from_json(override.to_json(before), 'card.json') == before


@pytest.mark.parametrize(
    'name',
    [
        'os.system',
        'builtins.eval',
        'builtins.exec',
        'research',
        'research.models.vae.os',
        'research.models.vae.jax',
        'research.models.vae.dataclass',
        'research.models.vae.misfit',
        'research.models.vae.MLP',  # a class, but not that module's own
        'research.nets.mlp.nn',
        'research.run.train',
        'research.run.Path',
        'research.nowhere.VAE',
        'research..VAE',
        'research/models.VAE',
        'researcher.VAE',
        'tests.engine.test_override.Whole',
        'dataclasses.Field',
        '.VAE',
        '',
        None,
        7,
        ['research.models.vae.VAE'],
    ],
)
def test_a_file_builds_classes_of_research_and_nothing_else(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(os, 'system', ran.append)
    with pytest.raises(BadInput, match=r'^card\.json: .* is no class of this version of research'):
        override.from_json({'class': name, 'command': 'touch /tmp/x'}, 'card.json')
    assert not ran


def test_a_file_names_its_unknown_and_its_missing_fields() -> None:
    with pytest.raises(BadInput, match=r'card\.json: .*unexpected keyword argument .gamma'):
        override.from_json({'class': 'research.models.vae.VAE', 'gamma': 1}, 'card.json')
    with pytest.raises(BadInput, match=r'card\.json: .*missing .* .steps'):
        override.from_json({'class': 'research.trainers.optimisers.Cosine'}, 'card.json')


def test_what_waits_for_the_data_is_filled_in_and_nothing_else() -> None:
    domain = Domain(kind='integer', shape=(4, 4, 1), values=17)
    waiting = dataclasses.replace(run(), trainer=GradientTrainer(model=VAE(likelihood=Categorical())))
    assert override.bind(waiting, domain).trainer.model.likelihood.levels == 17
    assert override.bind(run(), domain) == run()
    net = waiting.trainer.model.encoder
    assert override.bind(net, domain) is net


@pytest.mark.parametrize('levels', [3, 17])
def test_what_the_data_decide_may_only_be_set_to_what_they_say(levels: int) -> None:
    domain = Domain(kind='integer', shape=(4, 4, 1), values=17)
    chosen = dataclasses.replace(run(), trainer=GradientTrainer(model=VAE(likelihood=Categorical(levels=levels))))
    if levels == 17:
        assert override.bind(chosen, domain) == chosen
        return
    with pytest.raises(BadInput, match=r'trainer\.model\.likelihood\.levels=3: the data decide this, and say 17'):
        override.bind(chosen, domain)
