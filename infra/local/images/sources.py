"""The machine's own Debian mirror, read at run time, so that images come from where the machine itself updates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_ONE_LINE = re.compile(r"^deb\s+(?:\[[^\]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)$")


@dataclass(frozen=True)
class Source:
    uri: str
    suites: tuple[str, ...]

    def as_deb822(self) -> str:
        return (
            f"Types: deb\nURIs: {self.uri}\nSuites: {' '.join(self.suites)}\nComponents: main\n"
            f"Signed-By: {DEBIAN_KEYRING}\n"
        )


def debian_sources(codename: str, apt_folder: Path = Path("/etc/apt")) -> list[Source]:
    """Sources of the release and its updates, the one with the release itself first."""
    wanted = (codename, f"{codename}-updates", f"{codename}-security")
    sources = [
        Source(source.uri, tuple(suite for suite in source.suites if suite in wanted))
        for source in _all_sources(apt_folder)
    ]
    return sorted((source for source in sources if source.suites), key=lambda source: codename not in source.suites)


def _all_sources(apt_folder: Path) -> Iterator[Source]:
    for path in [apt_folder / "sources.list", *sorted((apt_folder / "sources.list.d").glob("*"))]:
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".sources":
            yield from _deb822(text)
        elif path.suffix == ".list":
            yield from _one_line(text)


def _deb822(text: str) -> Iterator[Source]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t]+.*)*)", stanza, flags=re.MULTILINE))
        enabled = fields.get("Enabled", "yes").strip().lower() not in ("no", "false", "0")
        if enabled and "deb" in fields.get("Types", "").split() and "main" in fields.get("Components", "").split():
            for uri in fields.get("URIs", "").split():
                yield Source(uri, tuple(fields.get("Suites", "").split()))


def _one_line(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        match = _ONE_LINE.match(line.strip())
        if match and "main" in match["components"].split():
            yield Source(match["uri"], (match["suite"],))
