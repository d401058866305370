"""The living environment of the end-to-end tests, and a neighbour on the machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import living, own_speed
from tests.support.neighbours import neighbour

__all__ = ["living", "own_speed"]


@pytest.fixture
def one_core_taken() -> Iterator[None]:
    with neighbour():
        yield
