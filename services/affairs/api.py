"""The routes of affairs, on a tenant's own site: the tenant comes from `Host`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Header, Query, Response, UploadFile

from services.affairs.filing import KEY_PATTERN
from services.affairs.parts import CurrentAffairs
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
    ItemCode,
    Items,
    Material,
    Name,
    OutcomeRequest,
    ReplayAnswer,
    ReplayRequest,
    Snapshot,
    Standard,
    StandardRequest,
    Words,
)
from services.kernel.cursors import LONGEST_CURSOR
from services.kernel.http import CurrentTenant, api_prefix
from services.kernel.outbox import Answer, Envelope
from services.kernel.problems import NotFound, Problem
from services.kernel.tenancy import Tenant
from services.kernel.tokens import Caller, Operator, Person, Principal, RelayCaller
from services.kernel.typed import CaseNumber

router = APIRouter(prefix=api_prefix("affairs"))

SEARCHES_A_MINUTE = 600


async def province_site(tenant: CurrentTenant) -> Tenant:
    if tenant.level != "province":
        raise NotFound("Standards are published on the province's site.")
    return tenant


ProvinceSite = Annotated[Tenant, Depends(province_site)]


@router.get("/items", tags=["catalogue"])
async def list_items(
    tenant: CurrentTenant,
    affairs: CurrentAffairs,
    q: Annotated[Words, Query(max_length=100, description="words that the item's name, code or basis must hold")] = "",
    every: Annotated[bool, Query(description="also the items that the tenant does not offer")] = False,
) -> Items:
    """The items that this tenant offers."""
    if not await affairs.kernel.cache.allow(f"items:{tenant.code}", SEARCHES_A_MINUTE * 60, 60):
        raise Problem(429, "too-many-searches", "Please try again in a minute.", headers={"Retry-After": "60"})
    return Items(items=await affairs.catalogue.items(tenant, q, every))


@router.get("/items/{code}", tags=["catalogue"])
async def show_item(tenant: CurrentTenant, affairs: CurrentAffairs, code: ItemCode) -> Item:
    return await affairs.catalogue.item(tenant, code)


@router.put("/standards/{code}", tags=["catalogue"])
async def publish_standard(
    province: ProvinceSite, affairs: CurrentAffairs, caller: Caller, code: ItemCode, body: StandardRequest
) -> Standard:
    """Publish a new version of a standard item; it travels to every city and county."""
    if not caller.is_operator:
        _administrator(province, caller)
    return await affairs.catalogue.publish(province, code, body)


@router.put("/implementations/{code}", tags=["catalogue"])
async def implement_item(
    tenant: CurrentTenant, affairs: CurrentAffairs, caller: Caller, code: ItemCode, body: ImplementationRequest
) -> Item:
    """Set what this tenant decides for an item by itself."""
    if not caller.is_operator:
        _administrator(tenant, caller)
    return await affairs.catalogue.implement(tenant, code, body, caller.sub)


@router.post("/catalogue/replay", tags=["catalogue"])
async def replay_catalogue(
    province: ProvinceSite, affairs: CurrentAffairs, _: Operator, body: ReplayRequest
) -> ReplayAnswer:
    """Send all publications to one tenant again, from the first."""
    tenant = affairs.kernel.directory.by_code(body.tenant)
    if tenant is None or tenant.code == province.code:
        raise NotFound("No such tenant to send to.")
    return ReplayAnswer(tenant=tenant.code, publications=await affairs.catalogue.replay(province, tenant.code))


@router.post(
    "/cases",
    tags=["cases"],
    status_code=201,
    responses={200: {"model": FilingReceipt, "description": "Filed before under this key"}},
)
async def file_case(
    tenant: CurrentTenant,
    affairs: CurrentAffairs,
    caller: Person,
    body: FilingRequest,
    response: Response,
    idempotency_key: Annotated[str, Header(pattern=KEY_PATTERN)],
) -> FilingReceipt:
    """File a case. Served by `Filing.answer` ahead of this route, which documents it."""
    receipt = await affairs.filing.file(tenant, caller, idempotency_key, body)
    response.status_code = 200 if receipt.duplicate else 201
    return receipt


@router.get("/cases/{number}", tags=["cases"])
async def show_case(tenant: CurrentTenant, affairs: CurrentAffairs, caller: Person, number: CaseNumber) -> CaseView:
    """The case for its applicant, or for a clerk of a tenant in its way."""
    return await affairs.cases.view(tenant, number, caller)


@router.get("/desk", tags=["cases"])
async def show_desk(
    tenant: CurrentTenant,
    affairs: CurrentAffairs,
    caller: Person,
    status: Annotated[DeskList, Query(description="the list that is asked for")] = "open",
    cursor: Annotated[str | None, Query(max_length=LONGEST_CURSOR)] = None,
) -> Desk:
    """The tenant's cases, for its clerks: a page of a list, and figures of all."""
    return await affairs.cases.desk(tenant, caller, status, cursor)


@router.post("/cases/{number}/acceptance", tags=["cases"])
async def accept_case(
    tenant: CurrentTenant, affairs: CurrentAffairs, caller: Person, number: CaseNumber, body: AcceptanceRequest
) -> Snapshot:
    return await affairs.cases.accept(tenant, number, caller, body)


@router.post("/cases/{number}/hand-over", tags=["cases"])
async def hand_over_case(
    tenant: CurrentTenant, affairs: CurrentAffairs, caller: Person, number: CaseNumber, body: HandOverRequest
) -> Snapshot:
    return await affairs.cases.hand_over(tenant, number, caller, body)


@router.post("/cases/{number}/outcome", tags=["cases"])
async def decide_case(
    tenant: CurrentTenant, affairs: CurrentAffairs, caller: Person, number: CaseNumber, body: OutcomeRequest
) -> Snapshot:
    return await affairs.cases.decide(tenant, number, caller, body)


@router.post(
    "/cases/{number}/materials",
    tags=["cases"],
    status_code=201,
    responses={200: {"model": Material, "description": "The same material was added before"}},
)
async def add_material(
    tenant: CurrentTenant,
    affairs: CurrentAffairs,
    caller: Person,
    number: CaseNumber,
    name: Annotated[Name, Form()],
    file: Annotated[UploadFile, File()],
    response: Response,
) -> Material:
    """Add a material to a case that is open here: by its applicant or a clerk."""
    material, fresh = await affairs.materials.add(tenant, number, caller, name, await file.read())
    response.status_code = 201 if fresh else 200
    return material


@router.post("/inbox", tags=["between tenants"])
async def receive_messages(
    tenant: CurrentTenant, affairs: CurrentAffairs, caller: RelayCaller, body: Envelope
) -> Answer:
    """What another tenant's relay sends; see `kernel/outbox.py`."""
    return await affairs.inbox.receive(tenant, caller, body)


def _administrator(tenant: Tenant, caller: Principal) -> None:
    if not caller.is_person or caller.office(tenant.code, "administrator") is None:
        raise Problem(403, "administrators-only", "Only administrators of this tenant may do this.")
