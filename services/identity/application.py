"""The identity application, wired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.routing import Match

from services.identity.housekeeping import keep_house
from services.identity.invitations import api as invitations_api
from services.identity.invitations import pages as invitations_pages
from services.identity.people import api as people_api
from services.identity.people import pages as people_pages
from services.identity.protocol import api as protocol
from services.identity.runtime import CurrentIdentity, Identity
from services.identity.sessions import pages as sessions_pages
from services.identity.settings import IdentitySettings
from services.kernel.http import Check, Service, create_app
from services.kernel.problems import NotFound, Problem
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
    """Last of all: an address that nobody knows, or not for reading. People get a page, programs a document."""
    router = APIRouter(include_in_schema=False)

    @router.get("/{path:path}")
    async def unknown(path: str, request: Request, identity: CurrentIdentity) -> Response:
        others = [route for route in request.app.router.routes if route.matches(request.scope)[0] == Match.PARTIAL]
        problem = Problem(405, "http", "Method Not Allowed") if others else NotFound()
        if path.startswith("api/"):
            raise problem
        return identity.site.problem(request, problem)

    return router
