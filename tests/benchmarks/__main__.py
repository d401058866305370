"""`make bench`: every benchmark, one after another; each prints its figures as JSON lines."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = ("tests.benchmarks.filing", "tests.benchmarks.identity", "tests.benchmarks.generator")


def main() -> int:
    codes = [subprocess.run([sys.executable, "-m", name], check=False).returncode for name in BENCHMARKS]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
