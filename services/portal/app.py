"""The portal's application: its pages, and what they need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from services.kernel.http import UNKEEPABLE, Service, create_app
from services.kernel.outages import OUTAGES
from services.kernel.problems import Problem
from services.kernel.readiness import tenant_databases
from services.kernel.runtime import Kernel
from services.kernel.settings import ServiceSettings
from services.pages.assets import Assets
from services.pages.forms import StrangeForm
from services.pages.render import Pages
from services.portal import administration, cases, catalogue, desk, errors, log_in
from services.portal.affairs import Affairs
from services.portal.drafts import Drafts
from services.portal.query import Query
from services.portal.relying_party import RelyingParty
from services.portal.renewal import Renewals
from services.portal.sessions import Sessions
from services.portal.visit import LogInNeeded, Portal

HERE = Path(__file__).parent
ROUTERS = (catalogue.router, cases.router, desk.router, administration.router, log_in.router)
SHOWN_AS_PAGES = (
    Problem,
    HTTPException,
    RequestValidationError,
    Exception,
    *UNKEEPABLE,
    *OUTAGES,
)


def create(settings: ServiceSettings, kernel: Kernel | None = None) -> Service:
    kernel = kernel or Kernel(settings)
    pages = Pages(HERE / "templates", Assets(HERE / "static"))
    sessions, relying_party = Sessions(kernel.doors), RelyingParty(kernel)
    renewals = Renewals(sessions, relying_party)

    @asynccontextmanager
    async def run(_: Kernel) -> AsyncIterator[None]:
        yield
        await renewals.close()

    checks = {"database": tenant_databases}
    service = create_app(settings, title="Portal", routers=ROUTERS, kernel=kernel, checks=checks, lifespan=run)
    service.api.router.routes.append(pages.assets.route())
    service.api.state.portal = Portal(
        kernel=kernel,
        pages=pages,
        sessions=sessions,
        drafts=Drafts(kernel.doors),
        relying_party=relying_party,
        renewals=renewals,
        affairs=Affairs(kernel.http),
        query=Query(kernel),
    )
    for error in SHOWN_AS_PAGES:
        service.api.add_exception_handler(error, errors.show)
    service.api.add_exception_handler(LogInNeeded, errors.log_in_first)
    service.api.add_exception_handler(StrangeForm, errors.strange_form)
    return service
