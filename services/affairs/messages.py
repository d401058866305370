"""Messages between tenants: where the relay posts them, and what an inbox does with them."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from services.affairs import store
from services.affairs.cases import Cases
from services.affairs.catalogue import Catalogue
from services.affairs.materials import Materials
from services.affairs.schema import Case, MaterialOffer, Snapshot, Standard
from services.kernel.database import Connection
from services.kernel.outbox import (
    Answer,
    Envelope,
    OutboxMessage,
    Receiver,
    Rejected,
)
from services.kernel.problems import Problem
from services.kernel.runtime import Kernel
from services.kernel.tenancy import Directory, Tenant
from services.kernel.tokens import Principal
from services.kernel.typed import KEPT

Content = TypeVar("Content", bound=BaseModel)


class Links:
    """Those to the materials of cases handed over, signed when they are sent, for they soon expire."""

    def __init__(self, directory: Directory, materials: Materials) -> None:
        self._directory = directory
        self._materials = materials

    async def sign(self, sender: str, envelope: Envelope) -> None:
        tenant = self._directory.by_code(sender)
        assert tenant is not None, "a relay sends for tenants of its cell alone"
        for message in envelope.messages:
            if message.kind == "hand-over" and message.body.get("materials"):
                offers = [MaterialOffer.model_validate(offer) for offer in message.body["materials"]]
                await self._materials.sign(tenant, message.key, offers)
                message.body["materials"] = [offer.model_dump() for offer in offers]


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
