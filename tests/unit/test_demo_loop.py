"""The demonstration's own judgement: what contradicts itself is repeated once, and then ends it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from loadtests.scenario import Scenario, load
from tools.demo_loop import Contradiction, Demonstration
from tools.lifecycle import Lifecycle
from tools.stages import StageError

SCENARIO = load("cell")


class Told(Demonstration):
    """A demonstration whose measurement and gate end as they are told, one after another."""

    def __init__(self, *endings: StageError | None) -> None:
        self.said = io.StringIO()
        super().__init__(Lifecycle("test-demo"), Console(file=self.said, width=200))
        self.endings = list(endings)

    def _measured_and_refused(self, scenario: Scenario) -> Scenario:
        ending = self.endings.pop(0)
        if ending is not None:
            raise ending
        return scenario


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path))


def test_a_contradiction_is_repeated_once_with_a_word() -> None:
    demonstration = Told(Contradiction("the gate says GO where NO-GO was due", ""), None)
    assert demonstration._refused(SCENARIO) == SCENARIO
    assert "UNSURE, both once more: the gate says GO where NO-GO was due" in demonstration.said.getvalue()


def test_a_second_contradiction_ends_it() -> None:
    demonstration = Told(Contradiction("first", ""), Contradiction("second", ""), None)
    with pytest.raises(Contradiction, match="second"):
        demonstration._refused(SCENARIO)


def test_what_is_no_contradiction_is_not_repeated() -> None:
    demonstration = Told(StageError("there is no such environment", ""), None)
    with pytest.raises(StageError, match="no such environment"):
        demonstration._refused(SCENARIO)
