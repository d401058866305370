"""Stages: progress, a log, the cause and the way out."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tools.stages import Run, StageError


def run_at(folder: Path) -> tuple[Run, io.StringIO]:
    written = io.StringIO()
    return Run("up", folder, Console(file=written, width=200, highlight=False)), written


def test_the_table_says_what_each_stage_did(tmp_path: Path) -> None:
    run, written = run_at(tmp_path)
    with run.stage("machine") as stage:
        stage.say("nothing to do", changed=False)
    with run.stage("cloud") as stage:
        stage.say("11 hosts started")
    run.console.print(run.table())
    assert "nothing to do" in written.getvalue()
    assert "11 hosts started" in written.getvalue()
    assert run.changed


def test_a_run_in_which_no_stage_changed_anything_says_so(tmp_path: Path) -> None:
    run, written = run_at(tmp_path)
    with run.stage("machine") as stage:
        stage.say("nothing to do", changed=False)
    run.console.print(run.table())
    assert not run.changed
    assert "changed nothing" in written.getvalue()


def test_a_failed_stage_shows_the_logs_tail_the_cause_and_the_way_out(tmp_path: Path) -> None:
    run, written = run_at(tmp_path)
    with pytest.raises(StageError), run.stage("cloud") as stage:
        for number in range(60):
            print(f"line {number}", file=stage.log)
        raise StageError("network 10.0.0.0/8 overlaps", "choose another")
    shown = written.getvalue()
    assert "line 59" in shown
    assert "line 10" not in shown
    assert "network 10.0.0.0/8 overlaps" in shown
    assert "choose another" in shown
    assert str(next(tmp_path.glob("*.log"))) in shown


def test_an_unforeseen_error_still_ends_as_a_stage_error(tmp_path: Path) -> None:
    run, _ = run_at(tmp_path)
    with pytest.raises(StageError, match="machine: no such thing"), run.stage("machine"):
        raise OSError("no such thing")
