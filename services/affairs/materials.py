"""Materials of a case, in the tenant's prefix of the object store.

An object's key is made of its content's hash, so that putting it twice is putting it once. Handing a case over, the
sender signs links for the receiver, who copies the objects to its own prefix before it takes the case.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import structlog

from services.affairs.schema import Material, MaterialOffer
from services.affairs.store import cases as store
from services.kernel.outbox import Rejected
from services.kernel.problems import NotFound, Problem, Unavailable
from services.kernel.runtime import Kernel
from services.kernel.tenancy import Tenant
from services.kernel.tokens import Principal

if TYPE_CHECKING:
    from services.affairs.object_client import Clients

log = structlog.get_logger(__name__)

LINK_SECONDS = 600


class Materials:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._loading = asyncio.Lock()
        self._library: tuple[ModuleType, Clients] | None = None
        self._copying: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def close(self) -> None:
        copies = list(self._copying.values())
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)
        if self._library:
            await self._library[1].close()

    async def add(
        self, tenant: Tenant, number: str, caller: Principal, name: str, content: bytes
    ) -> tuple[Material, bool]:
        """Keep a material: the object first, then its row, so that no row points to nothing.

        The same material sent again, perhaps after a lost answer, is the one that is there; the second value says
        whether it is new.

        Raises:
            Problem: not the caller's case, or the case is not open here.
            Unavailable: the object store does not answer; filing and everything else goes on without it.
        """
        offer = MaterialOffer(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        if same_material := await self._known(tenant, number, caller, offer):
            return same_material, False
        key = object_key(tenant, number, offer)
        async with self._client(tenant) as client:
            await client.put_object(Bucket=tenant.bucket, Key=key, Body=content)
        now = datetime.now(UTC)
        async with self._kernel.doors.connection(tenant.code) as connection:
            kept = await store.add_material(connection, number, offer, key, caller.sub, now)
            same_material = None if kept else await store.same_material(connection, number, offer)
        if same_material:
            return same_material, False
        if not kept:
            raise Problem(409, "material-not-added", "Another material of this name is there, or there are too many.")
        return Material(name=name, size=offer.size, uploaded_at=now), True

    async def sign(self, tenant: Tenant, number: str, offers: list[MaterialOffer]) -> None:
        """Sign a link for each material, good for ten minutes. Without materials the store is not asked."""
        if not offers:
            return
        async with self._client(tenant) as client:
            for offer in offers:
                place = {"Bucket": tenant.bucket, "Key": object_key(tenant, number, offer)}
                offer.url = await client.generate_presigned_url("get_object", Params=place, ExpiresIn=LINK_SECONDS)

    async def copy(self, tenant: Tenant, number: str, offers: list[MaterialOffer]) -> None:
        """Copy what is offered to this tenant's prefix, before the case is taken. What is there already is left.

        A copy goes on when whoever waits for it has no more time: the next one finds it further on, or done.

        Raises:
            Rejected: a link does not give what was offered, or the store is out; the sender tries again.
        """
        if not offers:
            return
        key = tenant.code, number
        if key not in self._copying:
            self._copying[key] = asyncio.create_task(self._copy(tenant, number, offers))
            self._copying[key].add_done_callback(partial(self._copied, key))
        await asyncio.shield(self._copying[key])

    def _copied(self, key: tuple[str, str], copy: asyncio.Task[None]) -> None:
        del self._copying[key]
        if not copy.cancelled() and (error := copy.exception()):
            log.info("materials.not_copied", tenant=key[0], error=repr(error))

    async def _copy(self, tenant: Tenant, number: str, offers: list[MaterialOffer]) -> None:
        try:
            async with self._client(tenant) as client:
                for offer in offers:
                    key = object_key(tenant, number, offer)
                    if not await self._is_there(client, tenant, key):
                        await client.put_object(Bucket=tenant.bucket, Key=key, Body=await self._fetch(offer))
        except (Unavailable, httpx.HTTPError) as error:
            raise Rejected("the materials could not be copied") from error

    async def _is_there(self, client: Any, tenant: Tenant, key: str) -> bool:
        """Whether an earlier attempt copied it. A key that may not list gets 403 for what is not there."""
        try:
            await client.head_object(Bucket=tenant.bucket, Key=key)
        except client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in ("404", "403", "NoSuchKey", "AccessDenied"):
                return False
            raise
        return True

    async def _fetch(self, offer: MaterialOffer) -> bytes:
        """The content behind a link, which must be in the network's own store: the sender's word is not enough."""
        store_host = urlsplit(self._kernel.directory.network.object_endpoint).hostname or ""
        if not f".{urlsplit(offer.url).hostname}".endswith(f".{store_host}"):
            raise Rejected(f"the link to {offer.name} does not lead to the object store")
        answer = await self._kernel.http.get(offer.url)
        if answer.status_code != 200 or hashlib.sha256(answer.content).hexdigest() != offer.sha256:
            raise Rejected(f"the link to {offer.name} does not give what was offered")
        return answer.content

    async def _known(self, tenant: Tenant, number: str, caller: Principal, offer: MaterialOffer) -> Material | None:
        """The same material if it is there already, else None for a case that takes more. Raises a Problem."""
        async with self._kernel.doors.connection(tenant.code) as connection:
            case = await store.case(connection, number)
            same_material = await store.same_material(connection, number, offer)
        if case is None or (case.applicant != caller.sub and caller.office(tenant.code, "clerk") is None):
            raise NotFound("No such case.")
        if same_material is None and (case.holder != tenant.code or case.status not in ("filed", "accepted")):
            raise Problem(409, "not-possible-now", f"The case is {case.status} at {case.holder}.")
        return same_material

    async def _loaded(self) -> tuple[ModuleType, Clients]:
        """The S3 client, loaded at the first material: it takes two thirds of a start and a third of the memory."""
        if self._library is None:
            async with self._loading:
                library = await asyncio.to_thread(import_module, "services.affairs.object_client")
                self._library = self._library or (library, library.Clients())
        return self._library

    @asynccontextmanager
    async def _client(self, tenant: Tenant) -> AsyncIterator[Any]:
        """The client under the tenant's own key, which reaches the tenant's prefix alone.

        The store out means Unavailable here; filing and everything else goes on without it.
        """
        library, clients = await self._loaded()
        directory = self._kernel.directory
        network = directory.network
        access = library.Access(
            endpoint=network.object_endpoint,
            region=network.object_region,
            key_id=directory.secret(tenant.code, "object_access_key_id"),
            key_secret=directory.secret(tenant.code, "object_access_key_secret"),
            ca_file=network.ca_file,
        )
        try:
            async with clients.client(tenant.code, access) as client:
                yield client
        except (*library.errors, OSError, TimeoutError) as error:
            log.warning("materials.store_out", error=repr(error))
            raise Unavailable("objects") from error


def object_key(tenant: Tenant, number: str, offer: MaterialOffer) -> str:
    return f"{tenant.prefix}cases/{number}/{offer.sha256}"
