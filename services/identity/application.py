"""The identity application, wired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Request

from services.identity.errors import PageRoute
from services.identity.housekeeping import keep_house
from services.identity.invitations import api as invitations_api
from services.identity.invitations import pages as invitations_pages
from services.identity.people import api as people_api
from services.identity.people import pages as people_pages
from services.identity.protocol import api as protocol
from services.identity.runtime import Identity
from services.identity.sessions import pages as sessions_pages
from services.identity.settings import IdentitySettings
from services.kernel.http import Check, Service, create_app
from services.kernel.problems import NotFound
from services.kernel.runtime import Kernel
from services.kernel.settings import ServiceSettings

ROUTERS = (
    protocol.router,
    protocol.pages,
    sessions_pages.router,
    people_pages.router,
    people_api.router,
    invitations_pages.router,
    invitations_api.router,
)


def create(service_settings: ServiceSettings, settings: IdentitySettings | None = None) -> Service:
    identity = Identity.build(service_settings, settings)

    @asynccontextmanager
    async def run(kernel: Kernel) -> AsyncIterator[None]:
        house = asyncio.create_task(keep_house(kernel.doors))
        await kernel.verifier.refresh()
        yield
        house.cancel()
        identity.passwords.close()

    service = create_app(
        service_settings,
        title="一网 · identity",
        routers=ROUTERS,
        lean={("POST", "/token"): protocol.lean_token(identity)},
        lifespan=run,
        checks={"database": _database_answers},
        kernel=identity.kernel,
    )
    service.api.state.identity = identity
    service.api.router.routes.append(identity.site.pages.assets.route())
    service.api.include_router(_otherwise())
    return service


def _database_answers(kernel: Kernel) -> Check:
    async def database() -> bool:
        async with kernel.doors.own_connection() as connection:
            return bool(await connection.fetchval("SELECT 1"))

    return database


def _otherwise() -> APIRouter:
    """Last of all: an address that nobody knows is a page, too."""
    router = APIRouter(route_class=PageRoute, include_in_schema=False)

    @router.get("/{path:path}")
    async def unknown(path: str, request: Request) -> None:
        raise NotFound()

    return router
