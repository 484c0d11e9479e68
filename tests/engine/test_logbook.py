"""RUN/metrics.jsonl and the TensorBoard events beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from research.engine.logbook import Logbook, rows, seconds


def row(epoch: int, loss: float = 1.0) -> dict[str, float]:
    return {'epoch': epoch, 'step': 10 * epoch, 'seconds': 0.5, 'loss': loss}


def test_a_line_for_each_epoch_as_soon_as_it_is_over(tmp_path: Path) -> None:
    book = Logbook(tmp_path, 0)
    book.write(row(1))
    assert [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()] == [row(1)]
    book.write(row(2))
    book.close()
    assert rows(tmp_path) == [row(1), row(2)]
    assert seconds(tmp_path) == 1.0


def test_resuming_drops_what_is_done_again(tmp_path: Path) -> None:
    first = Logbook(tmp_path, 0)
    for epoch in (1, 2, 3):
        first.write(row(epoch))
    first.close()
    second = Logbook(tmp_path, 2)
    second.write(row(3, loss=7.0))
    second.close()
    assert rows(tmp_path) == [row(1), row(2), row(3, loss=7.0)]


def test_a_run_that_begins_again_begins_with_no_line(tmp_path: Path) -> None:
    first = Logbook(tmp_path, 0)
    first.write(row(1))
    first.close()
    Logbook(tmp_path, 0).close()
    assert rows(tmp_path) == []


def test_tensorboard_events_where_the_package_is_there(tmp_path: Path) -> None:
    pytest.importorskip('tensorboardX', reason='tensorboardX is not installed')
    book = Logbook(tmp_path, 0)
    book.write(row(1))
    book.close()
    (events,) = (tmp_path / 'tensorboard').glob('events.out.tfevents*')
    assert b'loss' in events.read_bytes()


def test_none_where_it_is_not_wanted(tmp_path: Path) -> None:
    book = Logbook(tmp_path, 0, tensorboard=False)
    book.write(row(1))
    book.close()
    assert [path.name for path in tmp_path.iterdir()] == ['metrics.jsonl']
