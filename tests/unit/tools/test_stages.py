"""Stages: progress, a log, the cause and the way out."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from infra.errors import ExpectedError
from tools.stages import Run, StageError, with_way_out


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


def test_stages_side_by_side_share_a_terminal(tmp_path: Path) -> None:
    """A terminal has place for one line that moves; the other stage tells of itself in lines."""
    written = io.StringIO()
    run = Run("up", tmp_path, Console(file=written, width=200, force_terminal=True))
    together = threading.Barrier(2)

    def work(title: str) -> None:
        with run.stage(title) as stage:
            together.wait(10)
            stage.say("done")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, ["cell-a", "cell-b"]))
    assert sorted(title for title, *_ in run.rows) == ["cell-a", "cell-b"]


def test_what_knows_no_way_out_is_given_what_it_lacks() -> None:
    with pytest.raises(StageError) as told, with_way_out("name another"):
        raise ExpectedError("no scenario 'festival'")
    assert (told.value.cause, told.value.way_out) == ("no scenario 'festival'", "name another")
    own = StageError("a host is silent", "make up")
    with pytest.raises(StageError) as told, with_way_out("name another"):
        raise own
    assert told.value is own


def test_a_stage_of_parts_says_which_it_is_at_how_many_are_left_and_what_each_took(tmp_path: Path) -> None:
    said = io.StringIO()
    with Run("up", tmp_path, Console(file=said)).stage("machine") as stage:
        stage.parts_left = 4
        assert stage.progress == ""
        with stage.part("engine"), stage.part("Debian image"):
            assert stage.progress == "engine, Debian image; then 2 more"
        with stage.part("image of hosts"):
            assert stage.progress == "image of hosts; then 1 more"
        with pytest.raises(ZeroDivisionError), stage.part("last"):
            assert stage.progress == "last"
            raise ZeroDivisionError
    assert list(stage.seconds_by_part) == ["Debian image", "engine", "image of hosts", "last"]
    assert (stage.progress, stage.parts_left) == ("", 0)
