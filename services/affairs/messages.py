"""Messages between tenants: where the relay posts them, and what an inbox does with them."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from services.affairs import store
from services.affairs.cases import INDEX, Cases
from services.affairs.catalogue import Catalogue
from services.affairs.materials import Materials
from services.affairs.schema import Case, MaterialOffer, Snapshot, Standard
from services.kernel.database import Connection
from services.kernel.machine import trust
from services.kernel.outbox import (
    Answer,
    Envelope,
    OutboxMessage,
    Postponed,
    Receiver,
    Rejected,
    Relay,
)
from services.kernel.problems import Problem
from services.kernel.runtime import Kernel
from services.kernel.tenancy import Tenant
from services.kernel.tokens import Principal
from services.kernel.typed import KEPT

Content = TypeVar("Content", bound=BaseModel)


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

    def __init__(self, kernel: Kernel, materials: Materials) -> None:
        self._kernel = kernel
        self._materials = materials
        self._opened: aiohttp.ClientSession | None = None

    async def post(self, sender: str, destination: str, envelope: Envelope) -> Answer:
        """Hand over an envelope.

        Raises:
            Undelivered, Unavailable: they stay in the outbox; nothing is known of what the receiver did.
            Postponed: the receiver took none of them, since others' messages come first.
        """
        tokens = self._kernel.machine(sender)
        await self._sign_links(sender, envelope)
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

    async def _sign_links(self, sender: str, envelope: Envelope) -> None:
        """Links to the materials of cases handed over are signed when they are sent, for they soon expire."""
        tenant = self._kernel.directory.by_code(sender)
        assert tenant is not None, "a relay sends for tenants of its cell alone"
        for message in envelope.messages:
            if message.kind == "hand-over" and message.body.get("materials"):
                offers = [MaterialOffer.model_validate(offer) for offer in message.body["materials"]]
                await self._materials.sign(tenant, message.key, offers)
                message.body["materials"] = [offer.model_dump() for offer in offers]


def _inbox_url(kernel: Kernel, destination: str) -> str:
    if destination == INDEX:
        return f"{kernel.directory.network.query}/api/query/inbox"
    tenant = kernel.directory.by_code(destination)
    if tenant is None:
        raise Undelivered(f"no tenant {destination} on the network")
    return f"{tenant.url}/api/affairs/inbox"


class Inbox:
    """Applies what other tenants send to this one."""

    def __init__(self, kernel: Kernel, catalogue: Catalogue, cases: Cases, materials: Materials) -> None:
        self._kernel = kernel
        self._catalogue = catalogue
        self._cases = cases
        self._materials = materials

    async def receive(self, tenant: Tenant, caller: Principal, envelope: Envelope) -> Answer:
        """Apply each message once. A relay speaks for its own tenant alone."""
        if caller.client_id != envelope.sender or envelope.sender == tenant.code:
            raise Problem(403, "sender-mismatch", "The token is not the sender's.")
        received: list[Case] = []

        async def prepare(message: OutboxMessage) -> None:
            if message.kind == "hand-over":
                case = _read(Case, message)
                await self._materials.copy(tenant, case.number, case.materials)

        async def apply(connection: Connection, sender: str, message: OutboxMessage) -> None:
            if case := await self._apply(connection, tenant, sender, message):
                received.append(case)

        def connect() -> AbstractAsyncContextManager[Connection]:
            return self._kernel.doors.message_connection(tenant.code)

        answer = await Receiver(store.SCHEMA, connect, apply, prepare).receive(envelope)
        for case in received:
            self._cases.wake(tenant, case)
        return answer

    async def _apply(self, connection: Connection, tenant: Tenant, sender: str, message: OutboxMessage) -> Case | None:
        match message.kind:
            case "publication":
                if tenant.code == sender or not self._is_province(sender):
                    raise Rejected("only the province publishes standards")
                await self._catalogue.keep(connection, tenant, _read(Standard, message))
            case "hand-over":
                received = _read(Case, message)
                await self._cases.receive(connection, tenant, sender, received)
                return received
            case "progress" | "outcome":
                await self._cases.follow(connection, tenant, sender, _read(Snapshot, message))
            case _:
                raise Rejected(f"no such kind of message: {message.kind}")
        return None

    def _is_province(self, code: str) -> bool:
        tenant = self._kernel.directory.by_code(code)
        return tenant is not None and tenant.level == "province"


def _read(content: type[Content], message: OutboxMessage) -> Content:
    try:
        return content.model_validate(message.body, context=KEPT)
    except ValidationError as error:
        raise Rejected(f"{error.error_count()} fields do not fit a {message.kind}") from error
