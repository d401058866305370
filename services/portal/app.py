"""The portal's application: the pages of all areas, and the way to identity and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.kernel.http import EVERY_ERROR, Service, create_app
from services.kernel.readiness import tenant_databases
from services.kernel.runtime import Kernel
from services.kernel.settings import ServiceSettings
from services.pages.forms import StrangeForm
from services.portal import errors, pages
from services.portal.parts import assemble
from services.portal.visit import LogInNeeded


def create(settings: ServiceSettings, kernel: Kernel | None = None) -> Service:
    kernel = kernel or Kernel(settings)
    portal = assemble(kernel)

    @asynccontextmanager
    async def run(_: Kernel) -> AsyncIterator[None]:
        yield
        await portal.renewals.close()

    service = create_app(
        settings,
        title="Portal",
        kernel=kernel,
        parts=portal,
        routers=(*portal.areas.routers, pages.router),
        lifespan=run,
        checks={"database": tenant_databases},
    )
    service.api.router.routes.append(portal.pages.assets.route())
    for error in EVERY_ERROR:
        service.api.add_exception_handler(error, errors.show)
    service.api.add_exception_handler(LogInNeeded, errors.log_in_first)
    service.api.add_exception_handler(StrangeForm, errors.strange_form)
    return service
