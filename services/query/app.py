"""The query service: the index and its routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.kernel.http import Service, create_app
from services.kernel.readiness import own_database
from services.kernel.runtime import Kernel
from services.kernel.settings import ServiceSettings
from services.query.api import my_cases_lean, router
from services.query.index import Index


def create(settings: ServiceSettings) -> Service:
    kernel = Kernel(settings)
    index = Index(kernel)

    @asynccontextmanager
    async def run(_: Kernel) -> AsyncIterator[None]:
        forgetting = asyncio.create_task(index.forget_old_attempts())
        yield
        forgetting.cancel()

    service = create_app(
        settings,
        title="Query",
        kernel=kernel,
        routers=[router],
        lean={("GET", f"{router.prefix}/cases"): my_cases_lean(index)},
        lifespan=run,
        checks={"database": own_database},
    )
    service.api.state.index = index
    return service
