"""Filling in: the score is the conditional log-probability, by enumeration; the page holds what was measured, and opens offline."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import complete
from research.data.source import Data, Split
from research.evaluate import Fitted
from research.models.mixture import BernoulliMixture, GaussianMixture
from research.models.nearest_copy import NearestCopy
from research.models.vae import VAE
from research.nets.mlp import MLP
from research.run import Run
from research.trainers.em import EMTrainer
from research.trainers.gradient import GradientTrainer
from research.types import BadInput, Conditional, Domain
from scripts import configs
from tests.models.completion import states

KEY = jax.random.key(0)
SHAPE = (3, 2, 1)
BITS = Domain(kind='binary', shape=SHAPE, modality='image')


def fitted(model: object, params: object, domain: Domain = BITS) -> Fitted:
    trainer = GradientTrainer(model=model) if isinstance(model, VAE) else EMTrainer(model=model)
    return Fitted(Run(data=None, trainer=trainer), params, domain)


def mixture() -> Fitted:
    params = {'logits': jnp.array([0.3, -0.2]), 'outputs': jax.random.normal(KEY, (2, 6))}
    return fitted(BernoulliMixture(components=2), params)


def test_the_upper_half_is_given() -> None:
    assert complete.upper((8, 8, 1)).sum(axis=(1, 2)).tolist() == [8] * 4 + [0] * 4
    assert complete.upper(SHAPE).sum(axis=(1, 2)).tolist() == [2, 2, 0]


def test_the_score_is_the_conditional_by_enumeration() -> None:
    one, every = mixture(), states(6)
    model = one.model
    p = np.exp(np.asarray(model.log_prob(one.params, jnp.asarray(every), KEY), np.float64))
    found = complete.measure(one, every.reshape(-1, *SHAPE), complete.upper(SHAPE))
    same = every[:, None] == every[None]  # [state, completion, dims]
    upper, lower = same[:, :, :4].all(axis=2) @ p, same[:, :, 4:].all(axis=2) @ p
    np.testing.assert_allclose(found.given, -np.log(p / upper), atol=2e-5)
    np.testing.assert_allclose(found.alone, -np.log(lower), atol=2e-5)
    assert found.kind == 'exact' and found.given.dtype == np.float64


def test_densities_are_per_grey_level() -> None:
    """The hidden pixels' cells alone count: a cell of one sixteenth makes each of the two cost log 16 nats more."""
    x = np.random.default_rng(0).random((5, *SHAPE)).astype(np.float32)
    model = GaussianMixture(components=2)
    params = jax.jit(model.init)(KEY, jnp.asarray(x))
    plain, cut = (
        complete.measure(fitted(model, params, Domain(kind='unit', shape=SHAPE, cell=cell)), x, complete.upper(SHAPE))
        for cell in (1.0, 1 / 16)
    )
    np.testing.assert_allclose(cut.given - plain.given, 2 * np.log(16), rtol=1e-5)
    np.testing.assert_allclose(cut.alone - plain.alone, 2 * np.log(16), rtol=1e-5)


def test_completions_keep_what_is_given_and_differ() -> None:
    one, x = mixture(), states(6)[:7].reshape(-1, *SHAPE)
    observed = complete.upper(SHAPE)
    drawn = complete.complete(one, x, observed, 30)
    assert drawn.shape == (30, 7, *SHAPE)
    assert (drawn[:, :, observed] == x[:, observed]).all()
    assert len(np.unique(drawn[:, 0, ~observed], axis=0)) > 1


def test_a_vae_only_estimates_and_a_copy_cannot() -> None:
    x = jnp.asarray(states(6).reshape(-1, *SHAPE))
    vae = VAE(encoder=MLP(hidden=(4,)), decoder=MLP(hidden=(4,)), latent=1)
    found = complete.measure(fitted(vae, jax.jit(vae.init)(KEY, x)), np.asarray(x[:3]), complete.upper(SHAPE))
    assert found.kind == 'estimate' and np.isfinite(found.given).all()
    with pytest.raises(BadInput, match='NearestCopy cannot score a part of an image'):
        complete.measure(fitted(NearestCopy(), {'examples': x}), np.asarray(x), complete.upper(SHAPE))


def test_shown_images_are_of_all_labels_in_turn() -> None:
    label = np.array([2, 2, 0, 1, 0, 2], np.int32)
    split = Split(x=np.zeros((6, *SHAPE), np.float32), label=label)
    data = Data(name='toy', train=split, valid=None, test=split, domain=BITS, sha256='0' * 64)
    assert label[complete.examples(data)].tolist() == [0, 1, 2, 0, 2, 2]


def filled(config: str, mean: float, kind: str, seed: int = 0) -> complete.Filled:
    rng = np.random.default_rng(seed)
    scores = complete.Scores(mean + rng.normal(size=50), mean + 4 + rng.normal(size=50), kind)
    return complete.Filled(config, kind == 'estimate', scores, rng.random((complete.DRAWS, 4, *SHAPE)))


def test_an_estimate_is_listed_and_wins_nothing() -> None:
    rows = [filled('tree', 11.0, 'exact'), filled('vae', 9.0, 'estimate', 1), filled('mixture', 12.0, 'exact', 2)]
    said = complete.headline(rows)
    assert 'tree, 1' in said and 'mixture, needs' in said and 'vae' not in said
    assert re.findall(r'<th scope="row">(\w+)', complete.table(rows)) == ['vae', 'tree', 'mixture']
    assert complete.headline(rows[1:2]) == 'No model here has an exact score.'
    assert complete.headline(rows[:1]).endswith('exact.')


def test_a_section_shows_what_is_given_the_truth_and_all_completions() -> None:
    truth = np.random.default_rng(3).random((4, *SHAPE))
    body = complete.section('Bits', truth, complete.upper(SHAPE), [filled('<tree>', 11.0, 'exact')])
    assert body.count('src="data:image/png;base64,') == 3
    assert '<tree>' not in body and '&lt;tree&gt;' in body
    assert not re.search(r'(src|href)="(?!data:)', body)


def test_every_config_of_a_protocol_is_there_and_fills_in() -> None:
    values = {}
    for name, entries in complete.PROTOCOLS.items():
        built = [configs.build(config) for config in entries]
        assert all(isinstance(run.trainer.model, Conditional) for run in built)
        values[name] = {run.data.values for run in built}
    assert list(values.values()) == [{'binarise'}, {'integer'}, {'dequantise'}]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / 'thesis.tex').write_text('years of work')
    with pytest.raises(BadInput, match='was not made by this experiment'):
        complete.make_room(tmp_path)
