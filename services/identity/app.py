"""The identity service's application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.responses import Response

from services.identity.invitations import api as invitations_api
from services.identity.invitations import pages as invitations_pages
from services.identity.parts import Identity, assemble
from services.identity.people import api as people_api
from services.identity.people import pages as people_pages
from services.identity.protocol import api as protocol
from services.identity.sessions import pages as sessions_pages
from services.identity.settings import IdentitySettings
from services.identity.store import EXPIRED
from services.identity.telephones import pages as telephones_pages
from services.kernel.housekeeping import keep_house
from services.kernel.http import Service, as_problem, create_app, problem_response
from services.kernel.readiness import own_database
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
    telephones_pages.router,
)

EVERY_SECONDS = 600.0


def create(settings: ServiceSettings, own_settings: IdentitySettings | None = None) -> Service:
    identity = assemble(settings, own_settings)

    @asynccontextmanager
    async def run(kernel: Kernel) -> AsyncIterator[None]:
        house = asyncio.create_task(keep_house(kernel.doors, EXPIRED, EVERY_SECONDS))
        await kernel.verifier.refresh()
        yield
        house.cancel()
        identity.passwords.close()

    service = create_app(
        settings,
        title="一网 · identity",
        routers=ROUTERS,
        lean={("POST", "/token"): protocol.lean_token(identity)},
        lifespan=run,
        checks={"database": own_database},
        kernel=identity.kernel,
        parts=identity,
    )
    service.api.router.routes.append(identity.site.pages.assets.route())
    for status in (404, 405):
        service.api.add_exception_handler(status, _no_such_page)
    return service


async def _no_such_page(request: Request, error: Exception) -> Response:
    """An address that nobody knows, or not for this, or that is no text. People get a page, programs a document."""
    if request.url.path.startswith("/api/"):
        return problem_response(error)
    identity: Identity = request.app.state.parts
    return identity.site.problem(request, as_problem(error))
