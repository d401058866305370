"""The routes of the index, on the query site."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Query, Request
from starlette.types import Receive, Scope, Send

from services.kernel.cursors import LONGEST_CURSOR
from services.kernel.http import api_prefix, invalid
from services.kernel.lean import LeanRoute, answer_json, bearer
from services.kernel.outbox import Answer, Envelope
from services.kernel.runtime import Kernel
from services.kernel.tokens import OptionalCaller, Person, Principal, RelayCaller, person
from services.kernel.typed import CaseNumber, CheckCode
from services.kernel.visitors import visitor_address
from services.query.index import Index
from services.query.parts import CurrentQuery
from services.query.schema import CaseDetail, CasePage, Progress

router = APIRouter(prefix=api_prefix("query"))


async def caller_address(request: Request, caller: OptionalCaller) -> str:
    """Whose attempts are counted: the address that the outermost proxy of ours saw, for what stands before it in the
    header anybody can write. A tenant's portal, which asks for many visitors, tells the visitor's address itself.
    """
    if caller is not None and "relay" in caller.scope and (told := request.headers.get("x-visitor-address")):
        return told[:64]
    return visitor_address(request)


@router.post("/inbox", tags=["between services"])
async def receive_messages(query: CurrentQuery, caller: RelayCaller, body: Envelope) -> Answer:
    """News of cases from a tenant's relay."""
    return await query.news.receive(caller, body)


@router.get("/cases", tags=["cases"])
async def list_my_cases(
    query: CurrentQuery, caller: Person, cursor: Annotated[str | None, Query(max_length=LONGEST_CURSOR)] = None
) -> CasePage:
    """My cases over all tenants, the latest change first. Served by `my_cases_lean` ahead of this route."""
    return await query.index.page(caller.sub, cursor)


@router.get("/cases/{number}", tags=["cases"])
async def show_my_case(query: CurrentQuery, caller: Person, number: CaseNumber) -> CaseDetail:
    return await query.index.detail(caller.sub, number)


@router.get("/progress", tags=["cases"])
async def show_progress(
    query: CurrentQuery,
    address: Annotated[str, Depends(caller_address)],
    number: CaseNumber,
    check_code: CheckCode,
) -> Progress:
    """Progress for whoever holds number and check code. Attempts are limited."""
    return await query.index.progress(number, check_code, address)


def my_cases_lean(index: Index) -> LeanRoute:
    """The lean route for `GET /api/query/cases`."""

    async def answer(kernel: Kernel, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Principal = await person(await bearer(kernel, scope))
        cursor = parse_qs(scope["query_string"].decode("latin-1")).get("cursor", [None])[-1]
        if cursor is not None and len(cursor) > LONGEST_CURSOR:
            raise invalid([{"loc": ("query", "cursor"), "msg": f"at most {LONGEST_CURSOR} characters"}])
        page = await index.page(caller.sub, cursor)
        await answer_json(send, 200, page.model_dump_json().encode())

    return answer
