"""A copy of what hosts get, so that a test makes another release of it and leaves the clone alone."""

from __future__ import annotations

import shutil
from pathlib import Path

from tools import release


def copy_sources(folder: Path) -> Path:
    """The folders that a release is built of, copied into `folder`, which `release.build` takes as its source."""
    for package in release.SHIPPED:
        shutil.copytree(release.SOURCE / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder
