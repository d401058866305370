"""One living environment for all end-to-end tests: made on first use, removed at the end.

`YIWANG_TEST_ENVIRONMENT=test-…` keeps an environment from run to run instead (it is brought up if it is not there).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from infra.folder import EnvironmentFolder
from tests.support.life import Life
from tests.support.living import OVERLAY, Living, fresh_environment
from tests.support.quiet import await_quiet
from tools.recovering import BURST

FIRST, LAST = ("test_monitoring.py", "test_playbooks.py"), ("test_gate.py", "test_loop.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before anything is broken it is looked at whether all is silent and nothing is left to change; what needs a quiet
    machine comes when the rest is done.
    """

    def place(item: pytest.Item) -> int:
        name = item.path.name
        return FIRST.index(name) - len(FIRST) if name in FIRST else 1 + LAST.index(name) if name in LAST else 0

    items.sort(key=place)


@pytest.fixture(scope="session")
def living() -> Iterator[Living]:
    kept = os.environ.get("YIWANG_TEST_ENVIRONMENT")
    if kept:
        life = Life(EnvironmentFolder(kept), OVERLAY, speed=BURST)
        if not (life.folder.demo.exists() and life.cloud.is_up()):
            life.up()
        life.set_speed(BURST)
        yield Living(kept, life)
        return
    with fresh_environment() as life:
        life.up()
        yield Living(life.environment, life)


@pytest.fixture(scope="module")
def own_speed(living: Living) -> Iterator[None]:
    """For tests that load the environment: its hosts have their own share of a core, and the machine nobody else."""
    await_quiet()
    living.life.set_speed(1.0)
    yield
    living.life.set_speed(BURST)


@pytest.fixture(scope="session")
def environment(living: Living) -> dict[str, Any]:
    """What `yiwang status --json` prints of the environment."""
    return living.described
