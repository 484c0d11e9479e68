"""The experiments on parts of a VAE: every variant is in range and fits its data, and the tables say what is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import disentangle, vae_family
from experiments.vae_family import BASELINES, MODELS, Figures
from research.data import Images
from research.engine import override
from research.run import prepare
from tests.command import caller


@pytest.mark.parametrize('name', [*BASELINES, *MODELS])
def test_a_variant_passes_every_check_on_its_data(name: str) -> None:
    """All that is checked before anything is compiled, shapes included."""
    run = vae_family.build(name, 3)
    assert run.seed == 3
    override.check(run)
    assert isinstance(run.data, Images)
    prepare(run, run.data.load())


def test_what_falls_short_is_said_and_only_that() -> None:
    found = {
        'independent': [Figures(150.0, 'exact', 0.01, 1.0)],
        'one_normal': [Figures(130.0, 'exact', 0.002, 1.0)],
        'good': [Figures(140.0, 'bound', 0.003, 9.0), Figures(148.0, 'bound', 0.003, 9.0)],
        'poor': [Figures(148.0, 'bound', 0.001, 9.0)],
        'near': [Figures(None, '', 0.001, 9.0)],
        'far': [Figures(None, '', 0.003, 9.0)],
    }
    told = vae_family.short(found)
    assert [line.split()[0] for line in told] == ['poor', 'far']
    shown = vae_family.table(found).splitlines()
    assert [line.split()[0] for line in shown[1:]] == ['one_normal', 'good', 'poor', 'independent', 'near', 'far']
    assert '<= 144.00' in shown[2] and '6.00' in shown[2]


def test_an_unknown_variant_is_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = caller(capsys, monkeypatch)(vae_family, '--only=vea', f'--out={tmp_path / "out"}')
    assert done.code == 2 and 'vea' in done.err and 'beta_vae' in done.err
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('name', list(disentangle.objectives(1)))
def test_an_objective_on_sprites_is_in_range_at_every_strength(name: str) -> None:
    objective = disentangle.objectives(1)[name]
    for value in objective.values:
        override.check(override.put(objective.run, objective.field, value))
