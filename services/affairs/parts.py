"""What an affairs process holds beside the kernel, wired in one place."""

from __future__ import annotations

from dataclasses import dataclass
from socket import gethostname
from typing import Annotated

from fastapi import Depends

from services.affairs.cases import Cases
from services.affairs.catalogue import Catalogue
from services.affairs.filing import Filing
from services.affairs.materials import Materials
from services.affairs.messages import Links, handlers
from services.affairs.store import SCHEMA
from services.kernel.courier import Courier
from services.kernel.http import parts_of
from services.kernel.inbox import Inbox
from services.kernel.outbox import Relay
from services.kernel.runtime import Kernel


@dataclass(frozen=True)
class Affairs:
    kernel: Kernel
    relay: Relay
    courier: Courier
    catalogue: Catalogue
    filing: Filing
    cases: Cases
    inbox: Inbox
    materials: Materials


CurrentAffairs = Annotated[Affairs, Depends(parts_of)]


def assemble(kernel: Kernel) -> Affairs:
    materials = Materials(kernel)
    directory, doors = kernel.directory, kernel.doors
    courier = Courier(kernel, Links(directory, materials).sign)
    name = f"{gethostname()}:{kernel.settings.port}"
    relay = Relay(SCHEMA, doors, lambda: [tenant.code for tenant in directory.own_cell()], courier.post, name)
    catalogue = Catalogue(directory, doors, relay)
    cases = Cases(directory, doors, relay)
    return Affairs(
        kernel=kernel,
        relay=relay,
        courier=courier,
        catalogue=catalogue,
        filing=Filing(kernel, catalogue, relay),
        cases=cases,
        inbox=Inbox(SCHEMA, doors, handlers(directory, catalogue, cases, materials)),
        materials=materials,
    )
