"""The portal's sites as a browser meets them: behind the deployed way in, with an identity that asks nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from services.kernel.server import GatheringProtocol
from services.kernel.settings import ServiceSettings
from tests.integration.backends import Postgres, free_port, listening
from tests.integration.front import Front
from tests.integration.portal_site import CITIZEN, ISSUER, PLACES, SUFFIX, Person, Sites, running
from tests.support.waiting import wait_until

DOMAIN = SUFFIX.partition(":")[0]


@dataclass
class ServedPortal:
    """`person` is who logs in next; `sites.world` says what the other services answer."""

    settings: ServiceSettings
    postgres: Postgres
    front: Front = field(init=False)
    sites: Sites = field(init=False)
    person: Person = field(default_factory=lambda: CITIZEN)
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        names = {f"{label}.{DOMAIN}": "tenant" for _, label in PLACES.values()} | {f"id.{DOMAIN}": "identity"}
        services = {"portal": self.port, "identity": self.port}
        self.front = Front(self.settings.tenants_file.parent / "portal-front", names, services)

    def start(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        wait_until(lambda: listening(self.port), 20, "the portal listens")
        self.front.start()

    def stop(self) -> None:
        self.front.stop()
        self._server.should_exit = True
        self._thread.join(timeout=20)

    async def _serve(self) -> None:
        async with running(self.settings, self.postgres) as self.sites:
            how: dict[str, Any] = {"interface": "asgi3", "http": GatheringProtocol, "ws": "none", "lifespan": "off"}
            quiet: dict[str, Any] = {"log_config": None, "access_log": False, "proxy_headers": False}
            self._server = uvicorn.Server(uvicorn.Config(self._answer, port=self.port, **how, **quiet))
            await self._server.serve()

    async def _answer(self, scope: Any, receive: Any, send: Callable[..., Any]) -> None:
        request = Request(scope, receive) if scope["type"] == "http" else None
        if request is not None and request.headers.get("host", "").startswith("id."):
            await self._identity(request)(scope, receive, send)
        else:
            await self.sites.app(scope, receive, send)

    def _identity(self, request: Request) -> Response:
        """Identity's pages, without a page: logged in at once, logged out at once."""
        if request.url.path == "/authorize":
            return RedirectResponse(self.sites.world.grant(f"{ISSUER}/authorize?{request.url.query}", self.person), 302)
        if request.url.path == "/end-session":
            return RedirectResponse(parse_qs(urlsplit(str(request.url)).query)["post_logout_redirect_uri"][0], 303)
        return PlainTextResponse("ready" if request.url.path == "/readyz" else "", 200)
