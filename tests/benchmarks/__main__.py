"""`make bench`: every benchmark, one after another; each prints its figures as JSON lines.

What watching costs is read from the environment `local`, where one is up.
"""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    "tests.benchmarks.filing",
    "tests.benchmarks.journey",
    "tests.benchmarks.identity",
    "tests.benchmarks.generator",
    "tests.benchmarks.monitoring",
)


def main() -> int:
    codes = [subprocess.run([sys.executable, "-m", name], check=False).returncode for name in BENCHMARKS]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
