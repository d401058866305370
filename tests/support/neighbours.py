"""A neighbour on the machine: somebody else's work, which takes a core for as long as a test wants it to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_SECONDS = 4 * 3600
WORK = """
import sys, time
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    for _ in range(100_000):
        pass
"""


@contextmanager
def neighbour(cores: int = 1) -> Iterator[None]:
    """So many processes that compute without a pause; they end by themselves if nobody ends them."""
    command = [sys.executable, "-c", WORK, str(LONGEST_SECONDS)]
    processes = [subprocess.Popen(command) for _ in range(cores)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
