"""The affairs service of a tenant, asked on behalf of whoever visits. Refusals and outages are `Problem`s."""

from __future__ import annotations

from typing import TypeVar

import httpx
from pydantic import BaseModel

from services.affairs.schema import (
    AcceptanceRequest,
    CaseView,
    Desk,
    DeskList,
    FilingReceipt,
    FilingRequest,
    HandOverRequest,
    ImplementationRequest,
    Item,
    Items,
    OutcomeRequest,
    Snapshot,
)
from services.kernel.http import api_prefix
from services.kernel.tenancy import Tenant
from services.portal.upstream import call

Answer = TypeVar("Answer", bound=BaseModel)


class Affairs:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def items(self, tenant: Tenant, words: str = "") -> list[Item]:
        """What the tenant offers; with words, what matches all of them."""
        return (await self._call(tenant, "GET", "/items", Items, params={"q": words})).items

    async def every_item(self, tenant: Tenant) -> list[Item]:
        """Also what is not offered."""
        return (await self._call(tenant, "GET", "/items", Items, params={"every": "true"})).items

    async def item(self, tenant: Tenant, code: str) -> Item:
        return await self._call(tenant, "GET", f"/items/{code}", Item)

    async def implement(self, tenant: Tenant, code: str, request: ImplementationRequest, token: str) -> Item:
        return await self._call(tenant, "PUT", f"/implementations/{code}", Item, token, request)

    async def file(self, tenant: Tenant, key: str, request: FilingRequest, token: str) -> FilingReceipt:
        """The receipt; the same for the same key, however often it is sent."""
        headers = {"idempotency-key": key}
        return await self._call(tenant, "POST", "/cases", FilingReceipt, token, request, headers=headers)

    async def case(self, tenant: Tenant, number: str, token: str) -> CaseView:
        return await self._call(tenant, "GET", f"/cases/{number}", CaseView, token)

    async def desk(self, tenant: Tenant, name: DeskList, cursor: str, token: str) -> Desk:
        """A page of a list of the tenant's cases, and figures of all its open ones."""
        params = {"status": name} | ({"cursor": cursor} if cursor else {})
        return await self._call(tenant, "GET", "/desk", Desk, token, params=params)

    async def accept(self, tenant: Tenant, number: str, request: AcceptanceRequest, token: str) -> Snapshot:
        return await self._call(tenant, "POST", f"/cases/{number}/acceptance", Snapshot, token, request)

    async def hand_over(self, tenant: Tenant, number: str, request: HandOverRequest, token: str) -> Snapshot:
        return await self._call(tenant, "POST", f"/cases/{number}/hand-over", Snapshot, token, request)

    async def give_outcome(self, tenant: Tenant, number: str, request: OutcomeRequest, token: str) -> Snapshot:
        return await self._call(tenant, "POST", f"/cases/{number}/outcome", Snapshot, token, request)

    async def _call(
        self,
        tenant: Tenant,
        method: str,
        path: str,
        answer: type[Answer],
        token: str | None = None,
        body: BaseModel | None = None,
        *,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        json = body.model_dump(mode="json") if body else None
        url = tenant.url + api_prefix("affairs") + path
        return await call(
            self._http, "affairs", method, url, answer, token=token, headers=headers, params=params, json=json
        )
