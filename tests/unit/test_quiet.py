"""Load tests begin when the other suite has ended, however it ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import quiet


@pytest.mark.parametrize("end", ["kill", "close"])
def test_the_machine_is_busy_as_long_as_the_other_suite_lives(tmp_path: Path, end: str) -> None:
    busy = tmp_path / "busy"
    with quiet.held(busy) as descriptor:
        suite = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=[descriptor]
        )
    assert not quiet.is_free(busy)
    suite.kill() if end == "kill" else suite.communicate()
    suite.wait()
    assert quiet.is_free(busy)


def test_alone_a_test_runs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(quiet.VARIABLE, raising=False)
    quiet.await_quiet()
