"""The affairs service's application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.affairs.api import router
from services.affairs.parts import assemble
from services.affairs.schema import LARGEST_MATERIAL
from services.kernel.http import Service, create_app
from services.kernel.readiness import tenant_databases
from services.kernel.runtime import Kernel
from services.kernel.settings import ServiceSettings


def create(settings: ServiceSettings) -> Service:
    kernel = Kernel(settings)
    affairs = assemble(kernel)

    @asynccontextmanager
    async def run(_: Kernel) -> AsyncIterator[None]:
        async with affairs.post.running():
            yield
        await affairs.materials.close()

    return create_app(
        settings,
        title="Affairs",
        kernel=kernel,
        parts=affairs,
        routers=[router],
        lean={("POST", f"{router.prefix}/cases"): affairs.filing.answer},
        lifespan=run,
        checks={"database": tenant_databases},
        larger_bodies={"/materials": LARGEST_MATERIAL + 64 * 1024},
    )
