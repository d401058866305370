"""S3 clients as Alibaba Cloud OSS wants them, one a credential. Loaded late, see `materials.py`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from aiohttp import ClientError as TransportError
from botocore.exceptions import BotoCoreError, ClientError

errors = (BotoCoreError, ClientError, TransportError)


@dataclass(frozen=True)
class Access:
    """Where the store is, and a key to it."""

    endpoint: str
    region: str
    key_id: str
    key_secret: str = field(repr=False)
    ca_file: str | None


@dataclass
class Opened:
    access: Access
    client: Any
    closing: AsyncExitStack
    users: int = 0


class Clients:
    """A client for each owner, kept from its first use until its credential changes or the process ends.

    Building one takes a tenth of a second of CPU and more, and loses the connections.
    """

    def __init__(self) -> None:
        self._session = get_session()
        self._opened: dict[str, Opened] = {}
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def client(self, owner: str, access: Access) -> AsyncIterator[Any]:
        opened = await self._current(owner, access)
        opened.users += 1
        try:
            yield opened.client
        finally:
            opened.users -= 1
            if self._opened.get(owner) is not opened and not opened.users:
                await opened.closing.aclose()

    async def _current(self, owner: str, access: Access) -> Opened:
        async with self._opening:
            opened_before = self._opened.get(owner)
            if opened_before is not None and opened_before.access == access:
                return opened_before
            closing = AsyncExitStack()
            client = await closing.enter_async_context(open_client(self._session, access))
            self._opened[owner] = opened = Opened(access, client, closing)
            if opened_before is not None and not opened_before.users:  # else whoever uses it last closes it
                await opened_before.closing.aclose()
            return opened

    async def close(self) -> None:
        while self._opened:
            _, opened = self._opened.popitem()
            await opened.closing.aclose()


def open_client(session: AioSession, access: Access) -> AbstractAsyncContextManager[Any]:
    """A client for one key.

    The store wants buckets by virtual host, and checksums only where an operation requires them: it refuses the
    chunked bodies that newer clients send otherwise.
    """
    config = AioConfig(
        s3={"addressing_style": "virtual"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=2,
        read_timeout=10,
        retries={"max_attempts": 2},
    )
    client: AbstractAsyncContextManager[Any] = session.create_client(
        "s3",
        region_name=access.region,
        endpoint_url=access.endpoint,
        aws_access_key_id=access.key_id,
        aws_secret_access_key=access.key_secret,
        verify=access.ca_file,
        config=config,
    )
    return client
