"""Inputs against the SDK's own definition of their class: unknown, missing and mistyped ones, at every depth."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.plugin.classes import Property, Type
from infra.local.plugin.values import SIGNATURE, Secret, Unknown


@dataclass(frozen=True)
class Failure:
    """One refused input: where (`servers[0].port`), and why with the way out."""

    path: str
    reason: str


def check_object(values: Mapping[str, Any], members: Mapping[str, Property], within: str = "") -> Iterator[Failure]:
    """All failures of an object's properties."""
    for name, value in values.items():
        if name not in members:
            yield Failure(_join(within, name), _unknown(name, members))
        elif value is not None:
            yield from check_value(value, members[name].type, _join(within, name))
    for name, member in members.items():
        if member.required and values.get(name) is None:
            python = f" (`{member.python_name}` in Python)" if member.python_name != name else ""
            yield Failure(_join(within, name), f"is required{python}: give a {member.type}")


def check_value(value: Any, expected: Type, path: str) -> Iterator[Failure]:
    """All failures of one value; what is not known yet passes."""
    if isinstance(value, Secret):
        yield from check_value(value.value, expected, path)
    elif isinstance(value, Unknown) or expected.kind == "any":
        return
    elif expected.kind == "list" and isinstance(value, list):
        assert expected.element is not None
        for index, item in enumerate(value):
            yield from check_value(item, expected.element, f"{path}[{index}]")
    elif expected.kind == "map" and isinstance(value, Mapping):
        assert expected.element is not None
        for key, item in value.items():
            yield from check_value(item, expected.element, _join(path, key))
    elif expected.kind == "object" and isinstance(value, Mapping) and SIGNATURE not in value:
        yield from check_object(value, expected.members(), path)
    elif not _fits(value, expected.kind):
        yield Failure(path, f"must be a {expected}, not the {_said(value)}")


def _fits(value: Any, kind: str) -> bool:
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return kind == "number" and isinstance(value, int | float) and not isinstance(value, bool)


def _said(value: Any) -> str:
    """The value's type in words; the value itself could be a secret, and is not shown."""
    if value is None:
        return "absent value"
    if isinstance(value, Mapping):
        return "object"
    names = {str: "string", bool: "boolean", int: "integer", float: "number", list: "list"}
    return next(word for kind, word in names.items() if isinstance(value, kind) and not (kind is int and value is True))


def _unknown(name: str, members: Mapping[str, Property]) -> str:
    close = difflib.get_close_matches(name, members, n=1)
    return "is no input of this class" + (f": did you mean `{close[0]}`?" if close else "")


def _join(within: str, name: str) -> str:
    return f"{within}.{name}" if within else name
