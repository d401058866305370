"""What brings back the dead, as the cloud does: one process an environment, from `Cloud.start` to `Cloud.stop`.

A thing whose processes ended is run again; one that was removed or changed by hand is left alone: that is drift, which
the engine shows. What is done stands in `keeper.log`, a JSON line each. The loop itself is `keeping.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from infra.local.cloud.context import Context

MODULE = "infra.local.cloud.keeping"
_HELD, _AT_WORK = "keeper-held", "keeper"


class Keeper:
    """The process as its environment sees it: started, held, ended, and what it did."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def log(self) -> Path:
        return self._context.root / "keeper.log"

    def processes(self) -> list[psutil.Process]:
        """Those of this environment, told by the folder that they are given."""
        root = str(self._context.root)
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if MODULE in (command := process.info["cmdline"] or []) and root in command
        ]

    def ensure(self) -> bool:
        """Make one run that is of this code and of this store; True where none did."""
        # One of a folder that was removed by hand and made anew would go by what stood in the former.
        version = f"{code_version()}.{self._context.store.number}"
        with self._context.store.lock("keeper-start"):
            running = self.processes()
            if any(version in process.info["cmdline"] for process in running):
                return False
            _end(running)
            command = [sys.executable, "-m", MODULE, str(self._context.root), self._context.environment, version]
            with self.log.open("a") as output:
                # In a session of its own: it outlives the command that started the environment.
                subprocess.run(
                    ["setsid", "--fork", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    check=True,
                )
            return True

    def end(self) -> None:
        with self._context.store.lock("keeper-start"):
            _end(self.processes())

    def held(self) -> AbstractContextManager[None]:
        """While it lasts nothing is brought back; whoever holds it and dies has let go."""
        return self._context.store.lock(_HELD)

    def free(self) -> AbstractContextManager[bool]:
        """For the loop: whether nobody holds it, and nobody will for as long as this lasts."""
        return self._context.store.try_lock(_HELD)

    def alone(self) -> AbstractContextManager[bool]:
        """For the loop: whether it is the environment's only one."""
        return self._context.store.try_lock(_AT_WORK)

    def history(self, last: int = 20) -> Iterator[dict[str, Any]]:
        """What it did, oldest first: `time` (UTC, ISO 8601), `thing`, `result`, and `error` of a failure."""
        if self.log.exists():
            with self.log.open() as lines:
                for line in deque(lines, maxlen=last):
                    with contextlib.suppress(json.JSONDecodeError):  # what Python said as it ended is no entry
                        yield json.loads(line)


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()  # idle, or half-way through what the next start does again
    psutil.wait_procs(processes, timeout=10)


@cache
def code_version() -> str:
    """Of this package: a keeper of other code is replaced by the next start."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
