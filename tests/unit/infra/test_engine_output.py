"""Reading what the engine prints, to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from infra.engine import CHANGE, changed_resources

DIFF = """
  pulumi:pulumi:Stack: (same)
    [urn=urn:pulumi:local.hangzhou::yiwang::pulumi:pulumi:Stack::yiwang-local.hangzhou]
    > pulumi:pulumi:StackReference: (read)
        [urn=urn:pulumi:local.hangzhou::yiwang::pulumi:pulumi:StackReference::cell-a]
    + alicloud:rds/database:Database: (create)
        [urn=urn:pulumi:local.hangzhou::yiwang::yiwang:tenant:Tenant$alicloud:rds/database:Database::t330127-cell-a]
Resources:
    + 12 to create
    171 unchanged
"""

ENGINE = """#!/bin/sh
trap 'sleep 0.5; touch "$YIWANG_HOME/ended-in-order"; exit 1' INT
echo begun
while :; do sleep 0.1; done
"""
CALLER = """
import sys
from infra.engine import Engine
from infra.folder import EnvironmentFolder
Engine(EnvironmentFolder("test-cut")).run(["up"], sys.stdout)
"""


@pytest.mark.timeout(30)
def test_an_engine_that_is_interrupted_with_us_ends_before_we_do(tmp_path: Path) -> None:
    """What takes back the run's beginnings finds the stack free."""
    program = tmp_path / "bin" / "pulumi"
    program.parent.mkdir()
    program.write_text(ENGINE)
    program.chmod(0o755)
    variables = {**os.environ, "YIWANG_HOME": str(tmp_path), "YIWANG_CACHE": str(tmp_path)}
    # what a shell runs in the background ignores the signal, and what it starts does too, unless told otherwise
    command = ["env", "--default-signal=INT", sys.executable, "-u", "-c", CALLER]
    with subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as caller:
        assert caller.stdout is not None
        assert "begun" in caller.stdout.readline() + caller.stdout.readline()
        os.killpg(caller.pid, signal.SIGINT)  # as a terminal does
        try:
            caller.wait(60)
        finally:  # whoever ignored it would be waited for without end
            with suppress(ProcessLookupError):
                os.killpg(caller.pid, signal.SIGKILL)
        assert (tmp_path / "ended-in-order").exists()


def test_a_diff_names_the_changed_resources_and_not_the_engines_own() -> None:
    assert changed_resources(DIFF) == ["alicloud:rds/database:Database t330127-cell-a"]


def test_changes_are_counted_by_kind() -> None:
    assert CHANGE.findall(DIFF) == [("12", "create")]
