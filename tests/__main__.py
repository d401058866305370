"""`make test`: every suite. What runs on hosts waits more than it computes, so the suites run side by side.

The hosts of the living environment have a fraction of a core each; the other suites use what is left of the machine.
Tests that judge an environment under load come last and wait until the other suites are through (`tests/quiet.py`).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TextIO

from tests import quiet

SUITES = {
    "parts": ["tests/unit", "tests/contract", "tests/integration"],
    "stacks": ["tests/stacks"],
    "living": ["tests/e2e"],
}


COUNT = re.compile(r"(\d+) (passed|failed|errors?)\b")
FAILURE = re.compile(r"(FAILED|ERROR) \S+::")


def follow(name: str, output: TextIO, lock: threading.Lock, counts: Counter[str], failures: list[str]) -> None:
    """Prints a suite's lines as they come, each behind the suite's name, and keeps what its closing lines say."""
    last = ""
    for line in output:
        last = line
        with lock:
            print(f"[{name}] {line}", end="", flush=True)
        if FAILURE.match(line):
            failures.append(line)
    with lock:
        for number, what in COUNT.findall(last):
            counts["passed" if what == "passed" else "failed"] += int(number)


def main(more: list[str]) -> int:
    lock, counts, failures = threading.Lock(), Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        busy = Path(folder) / "busy"
        os.environ[quiet.VARIABLE] = str(busy)
        running = []
        for name, folders in SUITES.items():
            command = [sys.executable, "-m", "pytest", "-v", "--durations=15", *folders, *more]
            # the load tests, which are in `living`, wait for all others: each holds the lock as long as it lives
            with quiet.held(busy) if name != "living" else nullcontext() as descriptor:
                suite = subprocess.Popen(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    pass_fds=[descriptor] if descriptor is not None else [],
                )
            assert suite.stdout is not None
            reader = threading.Thread(target=follow, args=(name, suite.stdout, lock, counts, failures))
            reader.start()
            running.append((name, suite, reader))
        codes = {}
        for name, suite, reader in running:
            reader.join()
            codes[name] = suite.wait()
    failed = [name for name, code in codes.items() if code != 0]
    if failed:
        print(f"failed suites: {', '.join(failed)}")
    print(*failures, sep="", end="")
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
