"""What people and editors leave in a folder that is read.

A file that somebody meant to be read, under a name by which nobody reads it, is refused by name: passed over in silence
it would be a tenant or a plan that is missing. What an editor leaves is told of and hinders nobody.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

MEANT = frozenset({".yaml", ".yml", ".json"})
LEFT = frozenset({".bak", ".old", ".orig", ".rej", ".save", ".swo", ".swp", ".swx", ".tmp"})


def is_left_over(path: Path) -> bool:
    """Whether the name is one that editors, file managers and `patch` give: `.xihu.yaml.swp`, `xihu.yaml~`."""
    return path.name.startswith((".", "#")) or path.name.endswith("~") or path.suffix.casefold() in LEFT


def is_meant(path: Path) -> bool:
    """Whether somebody meant it to be read: `xihu.yml`, `XIHU.YAML`, `xihu.yaml.txt`."""
    return not is_left_over(path) and not MEANT.isdisjoint(Path(_folded(path.name)).suffixes)


def mistaken_for(path: Path) -> list[Path]:
    """Files beside `path` that were meant to be it: for `registry.yaml` also `registry.yml` and `Registry.YAML`."""
    if not path.parent.is_dir():
        return []
    wanted = path.name.partition(".")[0]
    return sorted(
        other
        for other in path.parent.iterdir()
        if other.name != path.name and is_meant(other) and _folded(other.name).partition(".")[0] == wanted
    )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()
