"""Nothing is left of a purged environment, also of one whose state or cloud somebody has changed by hand."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from infra.engine import Engine, EngineError
from infra.folder import EnvironmentFolder
from infra.registry import RegistryError
from tests.support.life import Life
from tools.environment import choice_path
from tools.recovering import Recovering
from tools.scopes import registry_of
from tools.stages import StageError

SCOPES = ["foundation", "cell-core", "zhejiang"]


class Cloud:
    def __init__(self, left: list[Any]) -> None:
        self.left, self.destroyed = left, False

    def start(self) -> list[str]:
        return []

    def inventory(self) -> list[Any]:
        return self.left

    def destroy(self) -> None:
        self.destroyed = True


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Life:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path))
    made = Life(EnvironmentFolder("test-purged"))
    choice_path(made.folder).parent.mkdir(parents=True)
    choice_path(made.folder).write_text("{}")
    monkeypatch.setattr(Engine, "stacks", lambda self: sorted(SCOPES))
    monkeypatch.setattr(Engine, "unlink_settings", lambda self: None)
    return made


def purge(life: Life, monkeypatch: pytest.MonkeyPatch, cloud: Cloud, refusing: str = "") -> list[str]:
    """Purges; the scopes that the engine was asked to destroy."""
    asked: list[str] = []

    def take_down(engine: Engine, scope: str, log: object) -> None:
        asked.append(scope)
        if scope == refusing:
            raise EngineError(f"{scope}: DependencyViolation")

    monkeypatch.setattr("tools.verbs.down.take_down", take_down)
    monkeypatch.setattr(Recovering, "cloud", cloud)
    life.down(purge=True, console=Console(file=io.StringIO()))
    return asked


def test_a_purge_leaves_nothing(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud([])
    assert purge(life, monkeypatch, cloud) == SCOPES[::-1]
    assert cloud.destroyed
    assert not life.folder.root.exists()


def test_a_purge_asks_no_registry(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that is refused, nor one that has forgotten a stack, keeps anything from going."""
    life.folder.registry_overlay.write_text("statuses: {'999999': live}")
    with pytest.raises(RegistryError):
        registry_of(life.folder)
    monkeypatch.setattr(Engine, "stacks", lambda self: ["cell-forgotten", *sorted(SCOPES)])
    assert purge(life, monkeypatch, Cloud([])) == ["zhejiang", "cell-forgotten", "cell-core", "foundation"]


@pytest.mark.parametrize(
    ("refusing", "left", "said"),
    [("foundation", [], "foundation was not destroyed by the engine: foundation: DependencyViolation"),
     ("", [SimpleNamespace(kind="ZoneRecord", owner=SimpleNamespace(name="t330300-site"))], "ZoneRecord t330300-site")],
)  # fmt: skip
def test_what_the_engine_cannot_destroy_or_does_not_know_is_removed_and_told(
    life: Life, monkeypatch: pytest.MonkeyPatch, refusing: str, left: list[Any], said: str
) -> None:
    cloud = Cloud(left)
    with pytest.raises(StageError, match=said):
        purge(life, monkeypatch, cloud, refusing)
    assert cloud.destroyed
    assert not life.folder.root.exists()


def test_nothing_is_taken_away_beneath_an_engine_that_is_at_work(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(engine: Engine, scope: str, log: object) -> None:
        if scope == "zhejiang":
            raise EngineError("stack test-purged.zhejiang is being updated by process 7")

    monkeypatch.setattr("tools.verbs.down.cancel_stale_lock", refuse)
    cloud = Cloud([])
    with pytest.raises(StageError, match="being updated by process 7"):
        purge(life, monkeypatch, cloud)
    assert not cloud.destroyed
    assert life.folder.root.exists()
