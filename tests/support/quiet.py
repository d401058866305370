"""Waiting for a quiet machine: who judges an environment under load must not share the cores with another suite.

`make test` names a lock file in an environment variable. Each suite that disturbs inherits a descriptor that holds it,
so the lock is free when they have ended, however they ended. Without the variable a test runs at once.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import wait_until

VARIABLE = "YIWANG_TESTS_BUSY"
SECONDS = 1200.0


@contextmanager
def held(path: Path) -> Iterator[int]:
    """A descriptor that shares the lock until whoever inherits it has ended."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield file.fileno()


def await_quiet() -> None:
    """Returns when no disturbing suite runs.

    Raises:
        AssertionError: one still runs after twenty minutes.
    """
    busy = os.environ.get(VARIABLE)
    if busy:
        wait_until(lambda: is_free(Path(busy)), SECONDS, "the other suites are through", every=1)


def is_free(path: Path) -> bool:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
