"""One environment whose stacks are up and whose hosts are bare: these tests ask the engine and the cloud alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.living import Living, fresh_environment


@pytest.fixture(scope="session")
def living() -> Iterator[Living]:
    with fresh_environment() as life:
        life.provision()
        yield Living(life.environment, life)
