"""What changes between two sets of inputs: property paths with their kind, and whether a replacement follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from infra.local.plugin.values import has_unknown, plain


class Change(Enum):
    ADD = "add"
    DELETE = "delete"
    UPDATE = "update"


@dataclass(frozen=True)
class Difference:
    path: str
    change: Change
    replaces: bool

    @property
    def top(self) -> str:
        """The input that the path begins with."""
        return self.path.split(".")[0].split("[")[0]


def differences(old: Mapping[str, Any], new: Mapping[str, Any], replace: frozenset[str]) -> list[Difference]:
    """All differences, by path; secrets are compared by their value, an unknown value counts as a change."""
    return [
        Difference(path, change, replaces=_top(path) in replace)
        for path, change in _compare(plain(dict(old)), plain(dict(new)), "")
    ]


def _compare(old: Any, new: Any, path: str) -> Iterator[tuple[str, Change]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            here = f"{path}.{name}" if path and name.isidentifier() else f'{path}["{name}"]' if path else name
            yield from _members(old.get(name), new.get(name), here)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            before = old[index] if index < len(old) else None
            after = new[index] if index < len(new) else None
            yield from _members(before, after, f"{path}[{index}]")
    elif has_unknown(new) or type(old) is not type(new) or old != new:
        yield path, Change.UPDATE


def _members(old: Any, new: Any, path: str) -> Iterator[tuple[str, Change]]:
    if old is None and new is None:
        return
    if old is None:
        yield path, Change.ADD
    elif new is None:
        yield path, Change.DELETE
    else:
        yield from _compare(old, new, path)


def _top(path: str) -> str:
    return path.split(".")[0].split("[")[0]
