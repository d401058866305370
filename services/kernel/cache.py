"""The cell's cache. It holds only what may be lost; everything here goes on without it."""

from __future__ import annotations

import time

import redis.asyncio as redis
import structlog
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)


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
        except (RedisError, OSError, TimeoutError) as error:
            self._rest_until = time.monotonic() + self.REST_SECONDS
            log.warning("cache.out", error=repr(error))
            return True
        return int(uses) <= limit

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
