"""The registry, read once for tests that are not about its files: a hundred of them take half a second each time."""

from __future__ import annotations

from functools import cache

import pytest

from infra.registry import ROOT, Division, _Loader, load_registry


@cache
def divisions() -> dict[str, Division]:
    return load_registry().divisions


def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loads the registry meanwhile gets what was read; an overlay is read each time."""
    read, loaded = divisions(), _Loader.load
    monkeypatch.setattr(_Loader, "load", lambda self: dict(read) if self.root == ROOT else loaded(self))
