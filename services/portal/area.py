"""An area of the site: what a folder of `areas/` adds to it, told by the `AREA` of its `area.py`.

The frame takes its links from here, the home page its doors, the pages of errors their words. Templates in the area's
`templates/` are called by its name: `desk/desk.html`. A folder that is there is on the site; nothing lists them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from fastapi import APIRouter

from services.pages.errors import Words

Value = TypeVar("Value")


@dataclass(frozen=True)
class Door:
    """An entry's tile on the home page: its picture in `signs.html`, and what is behind it."""

    sign: str
    note: str


@dataclass(frozen=True)
class Entry:
    """A link in the site's frame. `place` orders the entries of all areas; leave room between two.

    `office`: only people who hold such an office in this tenant see it. `at_foot`: it stands at the foot of pages, too.
    """

    label: str
    path: str
    place: int
    office: str = ""
    door: Door | None = None
    at_foot: bool = False

    def is_above(self, path: str) -> bool:
        """Whether the page of a path is this one or beneath it. Home is above no page but itself."""
        return path == self.path or (self.path != "/" and path.startswith(f"{self.path}/"))


@dataclass(frozen=True)
class Missing:
    """What to say where a page is not there, and where to go on from it."""

    heading: str
    advice: str
    back: str
    back_label: str


@dataclass(frozen=True)
class Area:
    """`words`: by kind of problem. `missing` and `keeps_forms` go by the first part of an address: what to say where a
    page beneath it is not there; whose pages show again what was typed into their forms."""

    router: APIRouter
    entries: tuple[Entry, ...] = ()
    words: Mapping[str, Words] = field(default_factory=dict)
    missing: Mapping[str, Missing] = field(default_factory=dict)
    keeps_forms: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Areas:
    """All of them, by name."""

    by_name: Mapping[str, Area]
    templates: Mapping[str, Path]

    @cached_property
    def routers(self) -> tuple[APIRouter, ...]:
        return tuple(area.router for area in self.by_name.values())

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        entries = chain.from_iterable(area.entries for area in self.by_name.values())
        return tuple(sorted(entries, key=lambda entry: entry.place))

    @cached_property
    def words(self) -> Mapping[str, Words]:
        return merged({name: area.words for name, area in self.by_name.items()})

    @cached_property
    def missing(self) -> Mapping[str, Missing]:
        return merged({name: area.missing for name, area in self.by_name.items()})

    @cached_property
    def keeps_forms(self) -> frozenset[str]:
        return frozenset(chain.from_iterable(area.keeps_forms for area in self.by_name.values()))


def merged(by_area: Mapping[str, Mapping[str, Value]]) -> Mapping[str, Value]:
    """What all areas say. Raises ValueError where two speak of the same."""
    speaker: dict[str, str] = {}
    for name, said in by_area.items():
        for key in said:
            if key in speaker:
                raise ValueError(f"the areas {speaker[key]} and {name} both speak of {key!r}")
            speaker[key] = name
    return {key: by_area[name][key] for key, name in speaker.items()}


def discover(package: ModuleType) -> Areas:
    """The areas in a package's folders.

    Raises:
        ModuleNotFoundError, AttributeError: a folder has no `area.py` with an `AREA`.
    """
    by_name: dict[str, Area] = {}
    templates: dict[str, Path] = {}
    for place, name, _ in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{name}.area")
        by_name[name] = module.AREA
        templates[name] = Path(place.path) / name / "templates"  # type: ignore[union-attr]
    return Areas(by_name, templates)
