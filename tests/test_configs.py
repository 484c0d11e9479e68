"""Every config: it builds, it is in range, it says what it is, and with its data at hand it passes every check."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from research.data import Binary, Music
from research.engine import override
from research.run import Run, describe, prepare
from research.types import BadInput
from scripts import configs

ASKED_FOR = {
    'vae_digits', 'vae_mnist', 'gan_digits', 'dcgan_mnist', 'mixture_digits', 'independent_digits',
    'independent_mnist', 'independent_jsb', 'vae_jsb', 'ngram_shakespeare', 'transformer_shakespeare', 'vae_ring',
    'gan_ring',
}  # fmt: skip
EMBEDDED = ('digits', 'python_reference', 'ring', 'grid', 'sprites')
NETWORKS = (
    'vae',
    'iwae',
    'gan',
    'transformer',
    'fvsbn',
    'made',
    'nade',
    'rbm',
    'recurrent',
    'maf',
    'svae',
    'piwae',
    'ciwae',
    'vamp',
    'hvae',
    'beta',
    'vq',
    'fsq',
)  # configs of these hold one

each = pytest.mark.parametrize('name', configs.names())


def test_the_promised_configs_are_there() -> None:
    assert set(configs.names()) >= ASKED_FOR


@each
def test_a_config_says_what_it_is(name: str) -> None:
    summary = configs.summary(name)
    assert 20 < len(summary) < 120
    assert summary == (importlib.import_module(f'configs.{name}').__doc__ or '').split('\n')[0]
    assert summary[-1] in '.?'
    assert f'{name} ' in configs.listing()


@each
def test_a_config_builds_and_is_in_range(name: str) -> None:
    run = configs.build(name)
    assert isinstance(run, Run)
    override.check(run)
    assert configs.build(name) == run


@each
def test_a_config_is_flat_values_and_the_same_again_from_a_file(name: str) -> None:
    run = configs.build(name)
    values = override.flatten(run)
    assert {'epochs', 'batch_size', 'seed', 'trainer.model', 'data.name'} <= values.keys()
    assert all(isinstance(v, int | float | str | bool | tuple | None) for v in values.values())
    assert override.from_json(override.to_json(run), 'card.json') == run


@each
def test_every_plain_field_of_a_config_can_be_set_to_its_own_value(name: str) -> None:
    run = configs.build(name)
    parts = {path for path, node in override.walk(run) if path}
    for path, value in override.flatten(run).items():
        if path not in parts and value is not None:
            text = ','.join(map(str, value)) if isinstance(value, tuple) else str(value)
            assert override.apply(run, [f'{path}={text}']) == run


@each
def test_a_config_passes_every_check_on_its_data(name: str, request: pytest.FixtureRequest) -> None:
    """All that `train` does before it compiles, the shapes of every net included."""
    run = configs.build(name)
    if (
        run.data.name not in EMBEDDED
    ):  # else where the environment says; skipped, with the reason, where it says nothing
        request.getfixturevalue('likeness_dir' if isinstance(run.data, Music | Binary) else 'tfds_dir')
    data = run.data.load()
    bound, plan = prepare(run, data)
    assert plan.steps >= 1
    assert None not in _waiting(bound)
    card = describe(bound, plan, data, name, configs.summary(name), ())
    assert card['parameters'] is None  # nothing is trained yet
    assert card['network'] == any(word in name for word in NETWORKS)


def _waiting(run: Run) -> list[Any]:
    """The values of all fields that the data fill in."""
    found = [(node, field) for _, node in override.walk(run) for field in override.fields(node)]
    return [getattr(node, field.name) for node, field in found if field.metadata.get('from_domain')]


def test_an_unknown_config_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadInput, match='vae_digitz: there is none of this name; the nearest are vae_digits'):
        configs.build('vae_digitz')
    for name in ('../scripts/train', 'os', '__init__', '', 'vae_digits.config'):
        with pytest.raises(BadInput, match='there is none of this name'):
            configs.find(name)
