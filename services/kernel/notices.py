"""A message to a person's telephone: what is said, and the one port by which it goes.

    await kernel.carrier.send("13800000000", Registered(site="浙江省统一身份认证", username="lilei"))

A module writes its kinds beside what they tell of; whoever carries them knows a kind by its name and words, as an
operator of telephones registers them, and the parameters by their types. Nothing leaves the network yet: elsewhere than
in an environment made on one machine a message goes nowhere, and there it can be read from the telephone's screen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from string import Formatter
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from services.kernel.cache import Cache
from services.kernel.settings import ServiceSettings
from services.kernel.tenancy import Directory


class Notice(BaseModel):
    """One kind of message: each of its fields stands in its words, and nothing else does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    words: ClassVar[str]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        spoken = {field for _, field, _, _ in Formatter().parse(cls.words) if field}
        if spoken != cls.model_fields.keys():
            raise TypeError(f"{cls.__name__} says {sorted(spoken)} and has {sorted(cls.model_fields)}")

    def text(self) -> str:
        return self.words.format_map(self.model_dump())


class Carrier(Protocol):
    """Whoever brings messages to telephones."""

    async def send(self, telephone: str, notice: Notice) -> None:
        """Hand a message over. Never raises: what it tells of has happened, whether or not the message arrives."""


class NoCarrier:
    """There is nobody to hand a message to."""

    async def send(self, telephone: str, notice: Notice) -> None:
        pass


@dataclass(frozen=True)
class Received:
    at: datetime
    text: str


class LocalCarrier:
    """Keeps the newest messages of each telephone for a while, in the cell's cache. Without the cache they are lost."""

    MOST = 20
    SECONDS = 6 * 3600

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def send(self, telephone: str, notice: Notice) -> None:
        message = {"at": datetime.now(UTC).isoformat(), "kind": notice.kind, "text": notice.text()}
        await self._cache.note(f"telephone:{telephone}", json.dumps(message), self.MOST, self.SECONDS)

    async def received(self, telephone: str) -> list[Received]:
        """What this telephone got, the oldest first. Raises what the cache raises when it is out."""
        messages = [json.loads(text) for text in await self._cache.noted(f"telephone:{telephone}")]
        return [Received(datetime.fromisoformat(message["at"]), message["text"]) for message in messages]


class ShownElsewhere(Exception):
    """Telephones were to be shown where people's real ones may be."""


def carrier_of(settings: ServiceSettings, directory: Directory, cache: Cache) -> Carrier:
    """
    Raises:
        ShownElsewhere: the settings ask to show telephones, and the network is not on one machine alone.
    """
    if not settings.show_telephones:
        return NoCarrier()
    host = urlsplit(directory.issuer).hostname or ""
    if not f".{host}".endswith(".localhost"):  # names that lead nowhere but to the machine itself (RFC 6761)
        raise ShownElsewhere(f"YIWANG_SHOW_TELEPHONES is for networks under .localhost; this one is at {host}")
    return LocalCarrier(cache)
