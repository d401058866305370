"""The affairs service: its parts, and how they hang together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from socket import gethostname

from services.affairs import store
from services.affairs.cases import Cases
from services.affairs.catalogue import Catalogue
from services.affairs.filing import Filing
from services.affairs.materials import Materials
from services.affairs.messages import Links, handlers
from services.affairs.schema import LARGEST_MATERIAL
from services.kernel import telemetry
from services.kernel.courier import Courier
from services.kernel.http import Service, create_app
from services.kernel.inbox import Inbox
from services.kernel.outbox import Relay
from services.kernel.readiness import tenant_databases
from services.kernel.runtime import Kernel
from services.kernel.settings import ServiceSettings

PREFIX = "/api/affairs"


@dataclass(frozen=True)
class Affairs:
    """What the routes work with."""

    kernel: Kernel
    relay: Relay
    courier: Courier
    catalogue: Catalogue
    filing: Filing
    cases: Cases
    inbox: Inbox
    materials: Materials


def assemble(kernel: Kernel) -> Affairs:
    materials = Materials(kernel)
    directory, doors = kernel.directory, kernel.doors
    courier = Courier(kernel, Links(directory, materials).sign)
    name = f"{gethostname()}:{kernel.settings.port}"
    relay = Relay(store.SCHEMA, doors, lambda: [tenant.code for tenant in directory.own_cell()], courier.post, name)
    catalogue = Catalogue(directory, doors, relay)
    cases = Cases(directory, doors, relay)
    return Affairs(
        kernel=kernel,
        relay=relay,
        courier=courier,
        catalogue=catalogue,
        filing=Filing(kernel, catalogue, relay),
        cases=cases,
        inbox=Inbox(store.SCHEMA, doors, handlers(directory, catalogue, cases, materials)),
        materials=materials,
    )


def create(settings: ServiceSettings) -> Service:
    from services.affairs.api import router  # the routes' dependencies name `Affairs`

    kernel = Kernel(settings)
    affairs = assemble(kernel)

    def expect_senders() -> None:
        telemetry.expect_senders(tenant.code for tenant in kernel.directory.own_cell())

    @asynccontextmanager
    async def run(_: Kernel) -> AsyncIterator[None]:
        expect_senders()
        kernel.directory.changed.append(expect_senders)
        affairs.relay.start()
        yield
        await affairs.relay.close()
        await affairs.courier.close()
        await affairs.materials.close()

    service = create_app(
        settings,
        title="Affairs",
        kernel=kernel,
        routers=[router],
        lean={("POST", f"{PREFIX}/cases"): affairs.filing.answer},
        lifespan=run,
        checks={"database": tenant_databases},
        larger_bodies={"/materials": LARGEST_MATERIAL + 64 * 1024},
    )
    service.api.state.affairs = affairs
    return service
