"""The keeper's own process: waits until something of the environment dies, runs it again, backs off where that fails.

`python -m infra.local.cloud.keeping ROOT ENVIRONMENT VERSION`; ends by itself when the environment is stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from infra.local.cloud.cloud import Cloud
from infra.local.cloud.containers import Seen

LOOK_SECONDS = 10.0
"""Between two looks when nobody died: what was started meanwhile is watched from the next one on."""
LONGEST_PAUSE_SECONDS = 60.0
LOG_BYTES = 1_000_000


@dataclass
class Patience:
    """When a thing may be run again: at once, then after 1, 2, 4 … 60 seconds, until it has lived for a minute."""

    tries: dict[str, tuple[int, float]] = field(default_factory=dict)

    def allows(self, name: str, now: float) -> bool:
        return now >= self._next(name)

    def tried(self, name: str, now: float) -> None:
        lived = now - self._next(name) > LONGEST_PAUSE_SECONDS
        self.tries[name] = (1 if lived else self.tries[name][0] + 1, now)

    def _next(self, name: str) -> float:
        count, last = self.tries.get(name, (0, float("-inf")))
        return last + min(LONGEST_PAUSE_SECONDS, 2.0 ** min(count - 1, 10))


def keep(cloud: Cloud) -> None:
    """Returns when the environment is stopped or gone."""
    patience = Patience()
    while cloud.root.exists() and not cloud.stopped:
        try:
            waiting, living = keep_once(cloud, patience)
        except Exception as error:  # whatever it was, what dies next is to come back
            _write(cloud.keeper.log, "keeper", "failed", str(error) or repr(error))
            waiting, living = False, []
        _await_death(living, 1.0 if waiting else LOOK_SECONDS)


def keep_once(cloud: Cloud, patience: Patience) -> tuple[bool, list[int]]:
    """Runs again what is dead and due. Whether anything was dead, and the first processes of all that lived before."""
    seen, now = cloud.seen(), time.monotonic()
    dead = [thing for thing in cloud.running() if is_dead(seen.get(thing.container))]
    due = [thing for thing in dead if patience.allows(thing.container, now)]
    with cloud.keeper.free() as free:
        for thing, error in cloud.revive(due) if due and free else []:
            patience.tried(thing.container, time.monotonic())
            _write(cloud.keeper.log, thing.label, "failed" if error else "run again", str(error or ""))
    return bool(dead), [container.process for container in seen.values() if container.alive]


def is_dead(seen: Seen | None) -> bool:
    """Its container is there and no process in it: what is not there was removed, and that is no death."""
    return seen is not None and not seen.alive


def _write(log: Path, thing: str, result: str, error: str = "") -> None:
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "thing": thing, "result": result}
    with log.open("a") as file:
        file.write(json.dumps(entry | ({"error": error} if error else {}), ensure_ascii=False) + "\n")


def _await_death(processes: list[int], seconds: float) -> None:
    """Returns when one of the processes ends, or after some seconds."""
    poll, opened = select.poll(), []
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            opened.append(os.pidfd_open(process))
            poll.register(opened[-1], select.POLLIN)
    try:
        poll.poll(seconds * 1000)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def main() -> None:
    root, environment = sys.argv[1:3]
    cloud = Cloud(Path(root), environment)
    with cloud.keeper.alone() as alone:
        if alone:
            keep(cloud)


if __name__ == "__main__":
    main()
