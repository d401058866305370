"""Load tests begin when the other suites have ended, however they ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import quiet


@pytest.mark.parametrize("end", ["kill", "close"])
def test_the_machine_is_busy_as_long_as_one_other_suite_lives(tmp_path: Path, end: str) -> None:
    busy = tmp_path / "busy"
    suites = []
    for _ in range(2):
        with quiet.held(busy) as descriptor:
            command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
            suites.append(subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[descriptor]))
    for suite in suites:
        assert not quiet.is_free(busy)
        suite.kill() if end == "kill" else suite.communicate()
        suite.wait()
    assert quiet.is_free(busy)


def test_alone_a_test_runs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(quiet.VARIABLE, raising=False)
    quiet.await_quiet()
