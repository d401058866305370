"""A site, identity and a PostgreSQL that stops while sessions are being renewed, and goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from services.kernel.machine import http_client
from services.kernel.problems import Unavailable
from services.kernel.runtime import Kernel
from services.kernel.settings import ServiceSettings
from services.portal import renewal
from services.portal.app import create
from services.portal.parts import Portal
from tests.integration.backends import Postgres
from tests.integration.identity_site import IdentitySite, log_in
from tests.integration.portal_site import prepare

SITE = "330106"
PEOPLE = 4
REUSED = "SELECT count(*) FROM identity.audit WHERE event = 'refresh_reused'"
BLOCKED = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = 'identity' AND wait_event_type = 'Lock' AND query LIKE '%rotate_refresh_tokens%'
"""


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits in the event loop in which the site runs."""
    waiting = AsyncRetrying(
        stop=stop_after_delay(30), wait=wait_fixed(0.02), retry=retry_if_result(lambda value: not value)
    )
    await waiting(condition)


@pytest.fixture(scope="module")
def settings(backend_folder: Path, postgres: Postgres, identity_site: IdentitySite) -> ServiceSettings:
    """A site of a tenant that this identity knows."""
    folder = backend_folder / "hang"
    folder.mkdir()
    network = json.loads((identity_site.folder / "tenants.json").read_text())
    network["tenants"] = [tenant | {"database": "hang"} for tenant in network["tenants"] if tenant["code"] == SITE]
    network["ca_file"] = str(identity_site.authority)
    return prepare(folder, postgres, network, identity_site.client_secrets)


@asynccontextmanager
async def running(settings: ServiceSettings) -> AsyncIterator[Any]:
    directory = json.loads(settings.tenants_file.read_text())
    kernel = Kernel(settings, http_client(directory["ca_file"], timeout=1.0))
    service = create(settings, kernel)
    yield service
    await service.api.state.parts.renewals.close()
    await kernel.close()


async def visitor(service: Any, identity: IdentitySite, username: str) -> httpx.AsyncClient:
    """A browser that has logged in at the site, by way of identity."""
    browser = httpx.AsyncClient(transport=httpx.ASGITransport(service), base_url=f"https://t{SITE}.test")
    departure = (await browser.get("/login")).headers["location"]
    with identity.client() as at_identity:
        assert log_in(at_identity, username).status_code == 303
        arrival = at_identity.get(departure).headers["location"]
    assert (await browser.get(arrival)).status_code == 303
    return browser


async def test_portal_sessions_outlive_a_hang(
    settings: ServiceSettings, identity_site: IdentitySite, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"hanging-{number}" for number in range(PEOPLE)]
    for name in names:
        identity_site.person(name, name=name)
    async with running(settings) as service:
        portal: Portal = service.api.state.parts
        asked: list[object] = []
        lost: list[object] = []
        renew = portal.relying_party.renew

        async def watched(*arguments: Any) -> Any:
            asked.append(arguments)
            try:
                return await renew(*arguments)
            except Unavailable as error:
                lost.append(error)
                raise

        browsers = [await visitor(service, identity_site, name) for name in names]
        monkeypatch.setattr(portal.relying_party, "renew", watched)
        monkeypatch.setattr(renewal, "EARLY_SECONDS", 3600.0)
        monkeypatch.setattr(renewal, "PAUSES", (0.05,))
        superuser = await asyncpg.connect(host="127.0.0.1", port=postgres.port, user="postgres", database="identity")
        locking = await asyncpg.connect(host="127.0.0.1", port=postgres.port, user="postgres", database="identity")

        reused = await superuser.fetchval(REUSED)

        async def blocked() -> bool:
            return len(asked) == PEOPLE and bool(await superuser.fetchval(BLOCKED))

        async def all_lost() -> bool:
            return len(lost) >= PEOPLE

        transaction = locking.transaction()
        await transaction.start()
        await locking.execute("SELECT FROM identity.refresh_family FOR UPDATE")
        visits = [asyncio.create_task(browser.get("/")) for browser in browsers]
        await until(blocked)  # a refresh is within the database, the others wait in identity behind it
        with postgres.held():
            await until(all_lost)
        await transaction.rollback()
        for name, visit in zip(names, visits, strict=True):
            assert name in (await visit).text, "the tokens at hand are good for a while"
        await asyncio.wait_for(portal.renewals.settled(), 30)
        assert await superuser.fetchval(REUSED) == reused
        for name, browser in zip(names, browsers, strict=True):
            assert name in (await browser.get("/")).text, "renewed once more, and still logged in"
            await browser.aclose()
        await superuser.close()
        await locking.close()
