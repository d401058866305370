"""`make test`: every suite. What runs on hosts waits more than it computes, so the suites run side by side.

The hosts of the living environment have a fraction of a core each; the other suites use what is left of the machine.
Tests that judge an environment under load come last and wait until the other suites are through (`support/quiet.py`).
What needs no hosts begins while the machine is still being prepared for those that do.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import quiet

FAST = ["tests/unit", "tests/contract"]
LIVING = "living"
WAITING = [f"tests/integration/{name}" for name in ("cloud", "test_load.py", "test_gate_evidence.py")]
"""Those of the parts that wait, for containers and for load runs, several times as long as they compute."""
ON_HOSTS = {LIVING: ["tests/e2e"], "parts": ["tests/integration", *(f"--ignore={path}" for path in WAITING)]}
AFTER_FAST = {"stacks": ["tests/stacks"], "waiting": WAITING}
PREPARE = [str(Path(sys.executable).parent / "yiwang"), "prepare"]

COUNT = re.compile(r"(\d+) (passed|failed|errors?)\b")
FAILURE = re.compile(r"(FAILED|ERROR) \S+::")
DURATION = re.compile(r"(?P<seconds>[\d.]+)s (?P<part>call|setup|teardown) +(?P<test>\S+::\S+)")
TOOK = re.compile(r" in ([\d.]+)s")
SLOWEST = 10


@dataclass
class Run:
    """Suites at work, and what their lines have said so far."""

    busy: Path
    more: list[str]
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    durations: list[tuple[float, str]] = field(default_factory=list)
    """Seconds of the slowest tests of each suite, and of what they needed."""
    took: dict[str, float] = field(default_factory=dict)
    """Seconds by suite."""
    suites: dict[str, tuple[subprocess.Popen[str], threading.Thread]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, name: str, folders: list[str]) -> None:
        command = [sys.executable, "-m", "pytest", "-v", f"--durations={SLOWEST}", *folders, *self.more]
        # the load tests, which are in `living`, wait for all others: each holds the lock as long as it lives
        with quiet.held(self.busy) if name != LIVING else nullcontext() as descriptor:
            suite = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                pass_fds=[descriptor] if descriptor is not None else [],
            )
        reader = threading.Thread(target=self._follow, args=(name, suite))
        reader.start()
        self.suites[name] = suite, reader

    def _follow(self, name: str, suite: subprocess.Popen[str]) -> None:
        """Prints a suite's lines as they come, each behind the suite's name, and keeps what its closing lines say."""
        assert suite.stdout is not None
        last = ""
        for line in suite.stdout:
            last = line
            with self._lock:
                print(f"[{name}] {line}", end="", flush=True)
                if FAILURE.match(line):
                    self.failures.append(line)
                if lasted := DURATION.match(line):
                    self.durations.append((float(lasted["seconds"]), f"{lasted['part']} of {lasted['test']}"))
        with self._lock:
            self.took[name] = sum(map(float, TOOK.findall(last)))
            for number, what in COUNT.findall(last):
                self.counts["passed" if what == "passed" else "failed"] += int(number)

    def ended(self, name: str) -> None:
        """Returns when a suite has ended."""
        self.suites[name][1].join()

    def wait(self) -> list[str]:
        """Names of the suites that failed, once all have ended."""
        for name in self.suites:
            self.ended(name)
        return [name for name, (suite, _) in self.suites.items() if suite.wait() != 0]


def times(run: Run) -> Iterator[str]:
    """The time of each suite, and the slowest tests of all."""
    for name, seconds in sorted(run.took.items(), key=lambda suite: -suite[1]):
        yield f"{seconds:7.1f} s  {name}"
    yield f"the slowest {SLOWEST}:"
    for seconds, what in sorted(run.durations, reverse=True)[:SLOWEST]:
        yield f"{seconds:7.1f} s  {what}"


def begin(run: Run) -> bool:
    """Starts every suite, four at a time; False when the machine could not be prepared for those on hosts."""
    with quiet.held(run.busy):  # until all that disturb have begun
        run.start("fast", FAST)
        if subprocess.run(PREPARE, check=False).returncode != 0:
            return False
        for name, folders in ON_HOSTS.items():
            run.start(name, folders)
        run.ended("fast")
        for name, folders in AFTER_FAST.items():
            run.start(name, folders)
    return True


def main(more: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "busy", more)
        os.environ[quiet.VARIABLE] = str(run.busy)
        prepared = begin(run)
        failed = run.wait()
    print(*times(run), sep="\n")
    if not prepared:
        print("the machine could not be prepared: nothing that needs hosts was tried")
    if failed:
        print(f"failed suites: {', '.join(failed)}")
    print(*run.failures, sep="", end="")
    print(f"{run.counts['passed']} passed, {run.counts['failed']} failed")
    return 0 if prepared and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
