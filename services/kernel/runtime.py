"""`Kernel`: what one service process holds, built without touching the network and closed in one place."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from services.kernel.cache import Cache
from services.kernel.machine import MachineTokens, http_client
from services.kernel.notices import Carrier, carrier_of
from services.kernel.problems import Problem
from services.kernel.settings import ServiceSettings
from services.kernel.tenancy import Directory, Doors, Tenant
from services.kernel.tokens import Verifier


class Kernel:
    def __init__(self, settings: ServiceSettings, http: httpx.AsyncClient | None = None) -> None:
        self.settings = settings
        self.directory = Directory(settings.tenants_file, settings.secrets_file, settings.cell)
        self.doors = Doors(settings, self.directory)
        self.http = http or http_client(self.directory.network.ca_file)
        password = self.directory.secrets.cache_password
        self.cache = Cache(settings.cache_url, password.get_secret_value() if password else None, settings.service)
        self.carrier: Carrier = carrier_of(settings, self.directory, self.cache)
        self.verifier = Verifier(lambda: self.directory.issuer, self._fetch_keys)
        self._machines: dict[str, MachineTokens] = {}
        self._watching: asyncio.Task[None] | None = None

    def tenant_of(self, host: str) -> Tenant:
        """The tenant whose site was called. A host that is nobody's here is misdirected, whatever the path."""
        tenant = self.directory.by_host(host)
        if tenant is None:
            raise Problem(421, "unknown-host", "No site of this name is served here.")
        return tenant

    def machine(self, code: str) -> MachineTokens:
        """Tokens with which the tenant `code` speaks to other services (scope relay)."""
        if code not in self._machines:
            self._machines[code] = MachineTokens(
                self.http,
                lambda: self.directory.issuer,
                code,
                lambda: self.directory.secret(code, "client_secret"),
                "relay",
            )
        return self._machines[code]

    async def _fetch_keys(self) -> dict[str, Any]:
        answer = await self.http.get(f"{self.directory.issuer}/jwks")
        answer.raise_for_status()
        document: dict[str, Any] = answer.json()
        return document

    def start(self) -> None:
        self._watching = asyncio.create_task(self.directory.watch())

    async def close(self) -> None:
        if self._watching:
            self._watching.cancel()
        await self.http.aclose()
        await self.cache.close()
        await self.doors.close()
