"""What stands around a page's content: whose site it is, where its links lead, who is logged in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Link:
    label: str
    url: str
    current: bool = False


@dataclass(frozen=True)
class Frame:
    """One site's frame. `person`, `log_in` and `log_out` change with the request: `dataclasses.replace` them."""

    title: str
    sponsor: str
    subtitle: str = "一网"
    home: str = "/"
    phone: str = ""
    links: Sequence[Link] = field(default_factory=tuple)
    foot_links: Sequence[Link] = field(default_factory=tuple)
    person: str = ""
    log_in: str = ""
    log_out: str = ""
