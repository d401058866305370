"""Materials of a case, in the tenant's prefix of the object store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import import_module
from types import ModuleType
from typing import Any

import structlog

from services.affairs import store
from services.affairs.schema import Case, Material
from services.kernel.problems import NotFound, Problem, Unavailable
from services.kernel.runtime import Kernel
from services.kernel.tenancy import Tenant
from services.kernel.tokens import Principal

log = structlog.get_logger(__name__)

LARGEST = 20 * 1024 * 1024
MOST = 50

ADD = """
INSERT INTO affairs.materials (number, name, object_key, size, sha256, uploaded_by, uploaded_at)
SELECT $1, $2, $3, $4, $5, $6, $7 WHERE (SELECT count(*) FROM affairs.materials WHERE number = $1) < $8
ON CONFLICT (number, name) DO NOTHING RETURNING true"""


class Materials:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._loading = asyncio.Lock()

    async def add(self, tenant: Tenant, number: str, caller: Principal, name: str, content: bytes) -> Material:
        """Keep a material: the object first, then its row, so that no row points to nothing.

        Raises:
            Problem: not the caller's case, or the case is not open here.
            Unavailable: the object store does not answer; filing and everything else goes on without it.
        """
        await self._check_open(tenant, number, caller)
        digest = hashlib.sha256(content).digest()
        key = f"{tenant.prefix}cases/{number}/{digest.hex()}"
        await self._put(tenant, key, content)
        now = datetime.now(UTC)
        async with self._kernel.doors.connection(tenant.code) as connection:
            kept = await connection.fetchval(ADD, number, name, key, len(content), digest, caller.sub, now, MOST)
        if not kept:
            raise Problem(409, "material-not-added", f"A material of this name is there, or there are {MOST} already.")
        return Material(name=name, size=len(content), uploaded_at=now)

    async def _check_open(self, tenant: Tenant, number: str, caller: Principal) -> Case:
        async with self._kernel.doors.connection(tenant.code) as connection:
            case = await store.case(connection, number)
        if case is None or (case.applicant != caller.sub and caller.office(tenant.code, "clerk") is None):
            raise NotFound("No such case.")
        if case.holder != tenant.code or case.status not in ("filed", "accepted"):
            raise Problem(409, "not-possible-now", f"The case is {case.status} at {case.holder}.")
        return case

    async def _put(self, tenant: Tenant, key: str, content: bytes) -> None:
        client_library = await self._library()
        try:
            async with self._client(client_library, tenant) as client:
                await client.put_object(Bucket=tenant.bucket, Key=key, Body=content)
        except (*client_library.errors, OSError, TimeoutError) as error:
            log.warning("materials.not_stored", error=repr(error))
            raise Unavailable("objects") from error

    async def _library(self) -> ModuleType:
        """The S3 client, loaded at the first material: it takes two thirds of a start and a third of the memory."""
        async with self._loading:
            return await asyncio.to_thread(import_module, "services.affairs.object_client")

    @asynccontextmanager
    async def _client(self, library: ModuleType, tenant: Tenant) -> AsyncIterator[Any]:
        """A client under the tenant's own key, which reaches the tenant's prefix alone."""
        network = self._kernel.directory.network
        secrets = self._kernel.directory.secrets_of(tenant.code)
        async with library.open_client(
            endpoint=network.object_endpoint,
            region=network.object_region,
            key_id=secrets.object_access_key_id,
            key_secret=secrets.object_access_key_secret.get_secret_value(),
            ca_file=network.ca_file,
        ) as client:
            yield client
