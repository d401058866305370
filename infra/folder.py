"""An environment as a value: its name, its kind, and where its state lives, one folder for each, outside any clone.

Nothing else compares an environment's name: what may be done to it follows from its kind.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MADE_HERE = r"local|test-[a-z0-9]{1,12}"
NAME = rf"{MADE_HERE}|[a-z][a-z0-9]{{1,11}}"
SETTINGS = Path(__file__).parent / "stacks"

Kind = Literal["local", "test", "production"]


def kind_of(name: str) -> Kind:
    """`local` and `test-…` are made by our tools; any other name is a production environment's."""
    if name == "local":
        return "local"
    return "test" if name.startswith("test-") else "production"


def production_environments() -> list[str]:
    """Those whose foundation has settings in `infra/stacks`."""
    names = {path.name.split(".")[1] for path in SETTINGS.glob("Pulumi.*.foundation.yaml")}
    return sorted(name for name in names if kind_of(name) == "production")


def home() -> Path:
    """The folder that holds every environment: `$YIWANG_HOME`, else the user's data folder."""
    configured = os.environ.get("YIWANG_HOME")
    if configured:
        return Path(configured)
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "yiwang"


def cache() -> Path:
    """The folder of built tools and images, shared by environments: `$YIWANG_CACHE`, else the user's cache folder."""
    configured = os.environ.get("YIWANG_CACHE")
    if configured:
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yiwang"


@dataclass(frozen=True)
class EnvironmentFolder:
    """All paths of one environment.

    Raises:
        ValueError: the name is neither `local` nor `test-…` (lower-case letters and digits, 12 at most), nor that of a
            production environment.
    """

    environment: str

    def __post_init__(self) -> None:
        if re.fullmatch(NAME, self.environment) and (self.made_here or self.environment in production_environments()):
            return
        names = ", ".join(["local", *production_environments()])
        raise ValueError(f"environment {self.environment!r}: expected {names} or test-<letters and digits>")

    @property
    def kind(self) -> Kind:
        return kind_of(self.environment)

    @property
    def made_here(self) -> bool:
        """Whether our tools make, heal and remove it on this machine, with its state and keys in this folder. What is
        production's is done by its operators, and its state is where they logged in to."""
        return self.kind != "production"

    @property
    def root(self) -> Path:
        return home() / self.environment

    @property
    def pulumi_backend(self) -> Path:
        return self.root / "pulumi" / "backend"

    @property
    def pulumi_home(self) -> Path:
        return self.root / "pulumi" / "home"

    @property
    def passphrase(self) -> Path:
        return self.root / "pulumi" / "passphrase"

    @property
    def cloud(self) -> Path:
        """The local cloud's own store and the data of what it runs."""
        return self.root / "cloud"

    @property
    def authority(self) -> Path:
        """The environment's certificate authority: `authority.pem`, `authority.key`, `site.pem`, `site.key`."""
        return self.root / "authority"

    @property
    def ssh_key(self) -> Path:
        return self.root / "ssh" / "id_ed25519"

    @property
    def stacks(self) -> Path:
        """Stack settings (`Pulumi.<stack>.yaml`) that must not be tracked."""
        return self.root / "stacks"

    @property
    def plan(self) -> Path:
        """Written by `yiwang plan` alone; where there is none the tracked plan rules."""
        return self.root / "plan.json"

    @property
    def registry_overlay(self) -> Path:
        return self.root / "registry.yaml"

    @property
    def locks(self) -> Path:
        """Who is changing what of it: a file a cell, and one for the whole."""
        return self.root / "locks"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def previews(self) -> Path:
        """What production's next update is held to, between its preview and the update."""
        return self.root / "previews"

    @property
    def demo(self) -> Path:
        """Log-ins of the seeded people, mode 0600; exists in local and test environments only."""
        return self.root / "demo.json"

    @property
    def rehearsal(self) -> Path:
        """The kit of load runs: people made for them with their passwords, sites with their secrets; mode 0600."""
        return self.root / "rehearsal.json"
