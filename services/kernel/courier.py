"""The post between sites: what a relay sends goes to other tenants' inboxes and to the core's, in its sender's name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from socket import gethostname

import aiohttp

from services.kernel import telemetry
from services.kernel.http import api_prefix
from services.kernel.machine import trust
from services.kernel.outbox import INDEX, Answer, Envelope, Postponed, Relay
from services.kernel.runtime import Kernel

BeforePost = Callable[[str, Envelope], Awaitable[None]]


class Undelivered(Exception):
    """The receiver did not take the messages; they stay in the outbox."""


class Courier:
    """Hands messages to other tenants' sites and to the index, in the name of their senders.

    Over connections of its own, which are kept: people's calls never wait for one. A post costs a third of what it
    does with the client for everything else, and most of what a relay does is posts.
    """

    CONNECT_SECONDS = 2.0
    KEEP_SECONDS = 30.0
    CONNECTIONS = 64

    def __init__(self, kernel: Kernel, before: BeforePost | None = None) -> None:
        """`before` does what a sender's envelope needs at the moment when it is posted."""
        self._kernel = kernel
        self._before = before
        self._opened: aiohttp.ClientSession | None = None

    async def post(self, sender: str, destination: str, envelope: Envelope) -> Answer:
        """Hand over an envelope.

        Raises:
            Undelivered, Unavailable: they stay in the outbox; nothing is known of what the receiver did.
            Postponed: the receiver took none of them, since others' messages come first.
        """
        tokens = self._kernel.machine(sender)
        if self._before:
            await self._before(sender, envelope)
        status, content = await self._send(
            _inbox_url(self._kernel, destination), await tokens.token(), envelope.model_dump_json().encode()
        )
        if status == 401:
            tokens.forget()
        if status == 503 and b"urn:yiwang:messages-busy" in content:
            raise Postponed()
        if status != 200:
            raise Undelivered(f"{status} from {destination}")
        return Answer.model_validate_json(content)

    async def _send(self, url: str, token: str, content: bytes) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            async with self._session().post(url, data=content, headers=headers, allow_redirects=False) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            raise Undelivered(repr(error)) from error

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            connections = aiohttp.TCPConnector(
                ssl=trust(self._kernel.directory.network.ca_file),
                limit=self.CONNECTIONS,
                keepalive_timeout=self.KEEP_SECONDS,
            )
            limits = aiohttp.ClientTimeout(total=Relay.POST_SECONDS, sock_connect=self.CONNECT_SECONDS)
            self._opened = aiohttp.ClientSession(
                connector=connections, timeout=limits, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._opened

    async def close(self) -> None:
        if self._opened:
            await self._opened.close()


class Post:
    """What a module sends: the relay of its outboxes in this cell's databases, and the courier that delivers."""

    def __init__(self, kernel: Kernel, schema: str, before: BeforePost | None = None) -> None:
        self._directory = kernel.directory
        self._courier = Courier(kernel, before)
        name = f"{gethostname()}:{kernel.settings.port}"
        self.relay = Relay(schema, kernel.doors, self._senders, self._courier.post, name)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the module serves. Its senders' series are there before the first message."""
        self._expect()
        self._directory.changed.append(self._expect)
        self.relay.start()
        yield
        await self.relay.close()
        await self._courier.close()

    def _senders(self) -> list[str]:
        return [tenant.code for tenant in self._directory.own_cell()]

    def _expect(self) -> None:
        telemetry.expect_senders(self._senders())


def _inbox_url(kernel: Kernel, destination: str) -> str:
    """Of the index, or of the same module at a tenant's site."""
    if destination == INDEX:
        return f"{kernel.directory.network.query}{api_prefix(INDEX)}/inbox"
    tenant = kernel.directory.by_code(destination)
    if tenant is None:
        raise Undelivered(f"no tenant {destination} on the network")
    return f"{tenant.url}{api_prefix(kernel.settings.service)}/inbox"
