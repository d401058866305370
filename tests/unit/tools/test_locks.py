"""Who changes what: different cells shut nobody out, the same cell does, and the refusal says who holds it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.engine import REPOSITORY
from infra.folder import EnvironmentFolder
from tools.locks import holding, turn
from tools.stages import StageError

HOLDS = """
import sys
from infra.folder import EnvironmentFolder
from tools.locks import holding
cells = sys.argv[2].split(",") if sys.argv[2] else None
with holding(EnvironmentFolder("test-locks"), sys.argv[1], cells):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EnvironmentFolder:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path))
    return EnvironmentFolder("test-locks")


@contextmanager
def another(verb: str, *cells: str) -> Iterator[subprocess.Popen[str]]:
    """Another command at work, in a process of its own; without cells it holds everything."""
    command = [sys.executable, "-c", HOLDS, verb, ",".join(cells)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env={**os.environ}
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_commands_on_different_cells_do_not_shut_each_other_out(folder: EnvironmentFolder) -> None:
    with another("onboard 330127", "cell-a"), holding(folder, "resize cell-b", ["cell-b"]):
        pass


def test_a_second_command_on_a_cell_is_told_who_is_at_work(folder: EnvironmentFolder) -> None:
    with another("onboard 330127", "cell-a") as process:
        with pytest.raises(StageError) as refused, holding(folder, "resize cell-a", ["cell-b", "cell-a"]):
            pass
        since = r"since \d\d:\d\d"
        said = rf"another command \(onboard 330127, process {process.pid}, {since}\) is changing cell-a of test-locks"
        assert re.fullmatch(said, refused.value.cause)
        assert refused.value.way_out


def test_what_was_had_of_several_is_given_back_where_the_last_is_refused(folder: EnvironmentFolder) -> None:
    with another("onboard 330127", "cell-b"):
        with pytest.raises(StageError, match="cell-b"), holding(folder, "onboard 330203", ["cell-a", "cell-b"]):
            pass
        with holding(folder, "resize cell-a", ["cell-a"]):
            pass


@pytest.mark.parametrize("cells", [None, ["cell-z"]], ids=["everything", "a cell"])
def test_who_changes_everything_shuts_everybody_out(folder: EnvironmentFolder, cells: list[str] | None) -> None:
    said = r"another command \(up, process \d+, since \d\d:\d\d\) is changing test-locks"
    with another("up"), pytest.raises(StageError, match=said), holding(folder, "resize cell-z", cells):
        pass


def test_everything_is_not_to_be_had_while_one_cell_is_held(folder: EnvironmentFolder) -> None:
    with another("resize cell-b", "cell-b"), pytest.raises(StageError) as refused, holding(folder, "down"):
        pass
    assert "(resize cell-b, process " in refused.value.cause and "cell-b of test-locks" in refused.value.cause


@pytest.mark.parametrize("cells", [[], ["cell-a"]], ids=["everything", "a cell"])
def test_a_process_that_dies_frees_what_it_held(folder: EnvironmentFolder, cells: list[str]) -> None:
    with another("up", *cells) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with holding(folder, "up"):
            pass


def test_the_dead_are_not_named_for_the_living(folder: EnvironmentFolder) -> None:
    with another("onboard 330127", "cell-a") as killed:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert (folder.locks / "cell-a").read_text(), "its name is still there"
        with another("resize cell-b", "cell-b"), pytest.raises(StageError) as refused, holding(folder, "down"):
            pass
    assert "resize cell-b" in refused.value.cause


def test_a_turn_is_waited_for_with_a_word(folder: EnvironmentFolder) -> None:
    done, said = list[str](), list[str]()
    first_has_it, may_end = threading.Event(), threading.Event()

    def first() -> None:
        with turn(folder, "playbook", "onboard 330127", said.append):
            first_has_it.set()
            may_end.wait(10)
            done.append("first")

    def say(line: str) -> None:
        said.append(line)
        may_end.set()

    thread = threading.Thread(target=first)
    thread.start()
    assert first_has_it.wait(10)
    with turn(folder, "playbook", "resize cell-b", say):
        done.append("second")
    thread.join()
    assert done == ["first", "second"]
    (line,) = said
    holder = r"onboard 330127, process \d+, since \d\d:\d\d"
    assert re.fullmatch(rf"waits for {holder} \(playbook of test-locks\)", line)
