"""What several tests of the engine share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.nursery import Nursery


@pytest.fixture(scope='session')
def nursery() -> Iterator[Nursery]:
    with Nursery() as found:
        yield found
