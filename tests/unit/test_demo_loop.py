"""The demonstration's own judgement: what contradicts itself is repeated once, and then ends it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tools.demo_loop import Contradiction, Demonstration
from tools.lifecycle import Lifecycle
from tools.stages import StageError


def demonstration(said: io.StringIO) -> Demonstration:
    return Demonstration(Lifecycle("test-demo"), Console(file=said, width=200))


def ending(*endings: StageError | str) -> Callable[[], str]:
    """A step that ends as it is told, one time after another."""
    left = list(endings)

    def step() -> str:
        end = left.pop(0)
        if isinstance(end, StageError):
            raise end
        return end

    return step


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path))


def test_a_contradiction_is_repeated_once_with_a_word() -> None:
    said = io.StringIO()
    step = ending(Contradiction("the gate says GO where NO-GO was due", ""), "NO-GO")
    assert demonstration(said)._once_more(step) == "NO-GO"
    assert "UNSURE, once more: the gate says GO where NO-GO was due" in said.getvalue()


def test_a_second_contradiction_ends_it() -> None:
    step = ending(Contradiction("first", ""), Contradiction("second", ""), "GO")
    with pytest.raises(Contradiction, match="second"):
        demonstration(io.StringIO())._once_more(step)


def test_what_is_no_contradiction_is_not_repeated() -> None:
    step = ending(StageError("there is no such environment", ""), "GO")
    with pytest.raises(StageError, match="no such environment"):
        demonstration(io.StringIO())._once_more(step)
