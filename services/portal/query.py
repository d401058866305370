"""The query service, asked on behalf of a person, or of anybody who has a case's check code."""

from __future__ import annotations

from contextlib import suppress
from typing import TypeVar

from pydantic import BaseModel

from services.kernel.http import api_prefix
from services.kernel.problems import Unavailable
from services.kernel.runtime import Kernel
from services.kernel.tenancy import Tenant
from services.portal.upstream import call
from services.query.schema import CaseDetail, CasePage, Progress

Answer = TypeVar("Answer", bound=BaseModel)


class Query:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def my_cases(self, token: str, cursor: str) -> CasePage:
        return await self._get("/cases", CasePage, token, params={"cursor": cursor} if cursor else {})

    async def my_case(self, number: str, token: str) -> CaseDetail:
        return await self._get(f"/cases/{number}", CaseDetail, token)

    async def progress(self, tenant: Tenant, number: str, check_code: str, address: str) -> Progress:
        """What anybody with the check code may see.

        Wrong attempts are counted by the visitor's address, which only a tenant's own token may tell; while identity
        gives none, all visitors of this host share one count.
        """
        token = None
        with suppress(Unavailable):
            token = await self._kernel.machine(tenant.code).token()
        params = {"number": number, "check_code": check_code}
        return await self._get("/progress", Progress, token, params=params, headers={"x-visitor-address": address})

    async def _get(
        self,
        path: str,
        answer: type[Answer],
        token: str | None,
        *,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        url = self._kernel.directory.network.query + api_prefix("query") + path
        return await call(self._kernel.http, "query", "GET", url, answer, token=token, headers=headers, params=params)
