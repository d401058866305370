"""The query service: the index and its routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from pydantic import Field

from services.kernel.http import Service, create_app
from services.kernel.runtime import Kernel
from services.kernel.settings import ServiceSettings
from services.query.api import my_cases_lean, router
from services.query.index import Index

PREFIX = "/api/query"


class QuerySettings(ServiceSettings):
    trusted_proxies: int = Field(
        default=1, description="proxies that append to X-Forwarded-For: the balancer does, the gateway passes it on"
    )


def create(settings: QuerySettings) -> Service:
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
        lean={("GET", f"{PREFIX}/cases"): my_cases_lean(index)},
        lifespan=run,
        checks={"database": database_check},
    )
    service.api.state.index = index
    service.api.state.trusted_proxies = settings.trusted_proxies
    return service


def database_check(kernel: Kernel) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        async with kernel.doors.own_connection() as connection:
            return bool(await connection.fetchval("SELECT true"))

    return check
