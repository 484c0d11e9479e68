"""The main experiment trains on the data it names, and its folder is its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import is_it_a_neural_network as experiment
from research.types import BadInput


def test_unknown_domains_are_refused_before_anything_is_trained() -> None:
    with pytest.raises(BadInput, match='--domains moon: expected all, or some of digits'):
        experiment.chosen(['digits', 'moon'])


def test_every_config_of_a_domain_is_there() -> None:
    for entries in experiment.DOMAINS.values():
        sources = [experiment.build(entry).data for entry in entries]
        assert len({getattr(source, 'name', None) for source in sources}) == 1


def test_only_a_folder_of_its_own_is_replaced(tmp_path: Path) -> None:
    theirs = tmp_path / 'theirs'
    theirs.mkdir()
    (theirs / 'thesis.tex').write_text('years of work')
    with pytest.raises(BadInput, match='was not made by this experiment'):
        experiment.make_room(theirs)
    assert (theirs / 'thesis.tex').exists()
    ours = tmp_path / 'ours'
    experiment.make_room(ours)
    (ours / 'old').touch()
    experiment.make_room(ours, resume=True)
    assert (ours / 'old').exists()
    experiment.make_room(ours)
    assert not (ours / 'old').exists()
