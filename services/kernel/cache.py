"""The cell's cache. It holds only what may be lost; everything here goes on without it."""

from __future__ import annotations

import time

import redis.asyncio as redis
import structlog
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

OUT = (RedisError, OSError, TimeoutError)


class Cache:
    """A connection to the cell's Redis with short time limits; keys begin with the service's name."""

    SECONDS = 0.25
    REST_SECONDS = 2.0

    def __init__(self, url: str | None, password: str | None, service: str) -> None:
        self._service = service
        self._client = (
            redis.from_url(
                url, password=password, socket_timeout=self.SECONDS, socket_connect_timeout=self.SECONDS, protocol=2
            )
            if url
            else None
        )
        self._rest_until = 0.0

    async def ping(self) -> bool:
        if self._client is None:
            return False
        return bool(await self._client.ping())

    async def allow(self, name: str, limit: int, seconds: int) -> bool:
        """Count one use of `name`; False when it was used more than `limit` times in this window.

        Redis out means allow: a limit protects the service from haste, and refusing everybody would be the
        greater harm. After a failure Redis is left alone for two seconds, so that requests do not queue on it.
        """
        if self._client is None or time.monotonic() < self._rest_until:
            return True
        key = f"{self._service}:limit:{name}:{int(time.time()) // seconds}"
        try:
            async with self._client.pipeline(transaction=True) as pipeline:
                await pipeline.incr(key)
                await pipeline.expire(key, seconds)
                uses, _ = await pipeline.execute()
        except OUT as error:
            self._rest(error)
            return True
        return int(uses) <= limit

    async def note(self, name: str, text: str, most: int, seconds: int) -> None:
        """Add to the notes of `name`, of which the newest are kept until none was added for so long.

        Redis out means that the note is lost.
        """
        if self._client is None or time.monotonic() < self._rest_until:
            return
        key = f"{self._service}:notes:{name}"
        try:
            async with self._client.pipeline(transaction=True) as pipeline:
                await pipeline.rpush(key, text)
                await pipeline.ltrim(key, -most, -1)
                await pipeline.expire(key, seconds)
                await pipeline.execute()
        except OUT as error:
            self._rest(error)

    async def noted(self, name: str) -> list[str]:
        """The notes of `name`, the oldest first. Redis out raises what it raises: there may be some."""
        if self._client is None:
            return []
        notes = await self._client.lrange(f"{self._service}:notes:{name}", 0, -1)
        return [note.decode() if isinstance(note, bytes) else note for note in notes]

    def _rest(self, error: Exception) -> None:
        self._rest_until = time.monotonic() + self.REST_SECONDS
        log.warning("cache.out", error=repr(error))

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
