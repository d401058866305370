"""The query service's application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.kernel.housekeeping import keep_house
from services.kernel.http import Service, create_app
from services.kernel.readiness import own_database
from services.kernel.runtime import Kernel
from services.kernel.settings import ServiceSettings
from services.query.api import my_cases_lean, router
from services.query.parts import assemble
from services.query.store import EXPIRED

EVERY_SECONDS = 3600.0


def create(settings: ServiceSettings) -> Service:
    kernel = Kernel(settings)
    query = assemble(kernel)

    @asynccontextmanager
    async def run(kernel: Kernel) -> AsyncIterator[None]:
        house = asyncio.create_task(keep_house(kernel.doors, EXPIRED, EVERY_SECONDS))
        yield
        house.cancel()

    return create_app(
        settings,
        title="Query",
        kernel=kernel,
        parts=query,
        routers=[router],
        lean={("GET", f"{router.prefix}/cases"): my_cases_lean(query.index)},
        lifespan=run,
        checks={"database": own_database},
    )
