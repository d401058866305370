"""The machine is prepared side by side, and nothing waits for what it does not need."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tools import images, machine
from tools.stages import Stage, StageError


class Preparation:
    """Programs and images that are made by nothing; what was made, in its order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.made: list[str] = []
        self.engine_may_end = threading.Event()
        self.stage = Stage("machine", io.StringIO(), folder / "log")
        monkeypatch.setattr(machine, "settle", list)
        monkeypatch.setattr(machine, "lacks_engine", lambda: True)
        monkeypatch.setattr(machine, "lacks_object_store", lambda: True)
        monkeypatch.setattr(machine, "build_object_store", lambda log: self.make("object store"))
        monkeypatch.setattr(machine, "build_engine", self._engine)
        monkeypatch.setattr(images, "build_images", self._images)

    def make(self, what: str) -> None:
        self.made.append(what)

    def _engine(self, log: object) -> None:
        assert self.engine_may_end.wait(10), "the images wait for the engine"
        self.make("engine")

    def _images(
        self,
        cache: Path,
        log: object,
        doing: Callable[[str], AbstractContextManager[None]],
        object_store: Callable[[], object],
    ) -> None:
        with doing("Debian image"):
            self.make("Debian image")
        object_store()
        with doing("image of the cloud's services"):
            self.make("image of the cloud's services")
        self.engine_may_end.set()


def test_images_wait_for_the_object_store_and_not_for_the_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    preparation = Preparation(monkeypatch, tmp_path)
    images.prepare_machine(preparation.stage)
    assert preparation.made[-2:] == ["image of the cloud's services", "engine"]
    assert sorted(preparation.made[:2]) == ["Debian image", "object store"]
    assert "engine 3." in preparation.stage.result and "Debian image (0 s)" in preparation.stage.result


def test_an_object_store_that_cannot_be_built_ends_it_with_its_own_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    preparation = Preparation(monkeypatch, tmp_path)

    def fail(log: object) -> None:
        raise StageError("versitygw could not be built", "see the log")

    monkeypatch.setattr(machine, "build_object_store", fail)
    with pytest.raises(StageError, match="versitygw could not be built"):
        images.prepare_machine(preparation.stage)
    assert preparation.made == ["Debian image"]
