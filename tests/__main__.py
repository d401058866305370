"""`make test`: every suite. What runs on hosts waits more than it computes, so the suites run side by side.

The hosts of the living environment have a fraction of a core each; the other suites use what is left of the machine.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections import Counter
from typing import TextIO

SUITES = {
    "parts": ["tests/unit", "tests/contract", "tests/integration"],
    "living": ["tests/e2e"],
}


COUNT = re.compile(r"(\d+) (passed|failed|errors?)\b")


def follow(name: str, output: TextIO, lock: threading.Lock, counts: Counter[str]) -> None:
    """Prints a suite's lines as they come, each behind the suite's name, and counts what its closing line says."""
    last = ""
    for line in output:
        last = line
        with lock:
            print(f"[{name}] {line}", end="", flush=True)
    with lock:
        for number, what in COUNT.findall(last):
            counts["passed" if what == "passed" else "failed"] += int(number)


def main(more: list[str]) -> int:
    lock, counts = threading.Lock(), Counter[str]()
    running = []
    for name, folders in SUITES.items():
        command = [sys.executable, "-m", "pytest", "-v", "--durations=10", *folders, *more]
        suite = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert suite.stdout is not None
        reader = threading.Thread(target=follow, args=(name, suite.stdout, lock, counts))
        reader.start()
        running.append((name, suite, reader))
    codes = {}
    for name, suite, reader in running:
        reader.join()
        codes[name] = suite.wait()
    failed = [name for name, code in codes.items() if code != 0]
    if failed:
        print(f"failed suites: {', '.join(failed)}")
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
