"""Messages between tenants: what becomes of each kind where it arrives, and what is done when it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.affairs.cases import Cases
from services.affairs.catalogue import Catalogue
from services.affairs.materials import Materials
from services.affairs.schema import Case, MaterialOffer, Snapshot, Standard
from services.kernel.database import Connection
from services.kernel.inbox import Handler
from services.kernel.outbox import Envelope, Rejected
from services.kernel.tenancy import Directory, Tenant


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


def handlers(
    directory: Directory, catalogue: Catalogue, cases: Cases, materials: Materials
) -> Mapping[str, Handler[Any]]:
    """By the kind of message."""

    async def publish(connection: Connection, tenant: Tenant, sender: str, standard: Standard) -> None:
        publisher = directory.by_code(sender)
        if tenant.code == sender or publisher is None or publisher.level != "province":
            raise Rejected("only the province publishes standards")
        await catalogue.keep(connection, tenant, standard)

    async def copy_materials(tenant: Tenant, case: Case) -> None:
        await materials.copy(tenant, case.number, case.materials)

    return {
        "publication": Handler(Standard, publish),
        "hand-over": Handler(Case, cases.receive, prepare=copy_materials, after=cases.wake),
        "progress": Handler(Snapshot, cases.follow),
        "outcome": Handler(Snapshot, cases.follow),
    }
