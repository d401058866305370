"""Pages for everybody: home, places, items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from services.affairs.schema import Item
from services.kernel.problems import Unavailable
from services.kernel.tenancy import Tenant
from services.portal.addresses import CodeInPath
from services.portal.visit import AnyVisit, Visit

router = APIRouter(tags=["catalogue"], default_response_class=HTMLResponse)

FEATURED = 6


@dataclass(frozen=True)
class Place:
    code: str
    name: str
    url: str


@dataclass(frozen=True)
class PlaceGroup:
    code: str
    name: str
    places: list[Place] = field(default_factory=list)


@dataclass(frozen=True)
class Compared:
    """A line of standard against local implementation."""

    name: str
    standard: str
    local: str
    changed: bool = False


@router.get("/")
async def home(visit: AnyVisit) -> HTMLResponse:
    """The home page stands also while the catalogue is out: it says so, and what still works."""
    items: list[Item] = []
    outage = False
    try:
        items = await visit.portal.affairs.items(visit.tenant)
    except Unavailable:
        outage = True
    return visit.page(
        "catalogue/home.html",
        featured=items[:FEATURED],
        total=len(items),
        kinds=kinds(items),
        near=[_place(visit, tenant) for tenant in _near(visit)],
        doors=[entry for entry in visit.entries() if entry.door],
        outage=outage,
        status=503 if outage else 200,
    )


@router.get("/places")
async def places(visit: AnyVisit) -> HTMLResponse:
    tenants = visit.portal.kernel.directory.tenants()
    groups = []
    for parent in (tenant for tenant in tenants if tenant.level != "county"):
        members = [parent]
        if parent.level == "city":
            members += [tenant for tenant in tenants if tenant.parent == parent.code]
        groups.append(PlaceGroup(parent.code, parent.name, [_place(visit, tenant) for tenant in members]))
    return visit.page("catalogue/places.html", groups=groups)


@router.get("/items")
async def items(visit: AnyVisit, q: str = "", kind: str = "") -> HTMLResponse:
    q = q.strip()[:60]
    matches = await visit.portal.affairs.items(visit.tenant, q)
    shown = [item for item in matches if not kind or item.kind == kind]
    return visit.page("catalogue/items.html", items=shown, query=q, kind=kind, kinds=kinds(matches))


@router.get("/items/{code}")
async def item(visit: AnyVisit, code: CodeInPath) -> HTMLResponse:
    shown_item = await visit.portal.affairs.item(visit.tenant, code)
    return visit.page("catalogue/item.html", item=shown_item, comparison=comparison(shown_item))


def kinds(items: Sequence[Item]) -> list[tuple[str, int]]:
    """Kinds of power and how many items of each, the most common first."""
    return Counter(item.kind for item in items).most_common()


def comparison(item: Item) -> list[Compared]:
    """What the tenant may set by itself, beside what the province set."""
    promise, standard_promise = (
        f"{item.promised_working_days} 个工作日",
        f"{item.standard_promised_working_days} 个工作日",
    )
    law = f"{item.legal_working_days} 个工作日"
    fee = item.fee_note or item.fee
    return [
        Compared("承诺期限", standard_promise, promise, changed=promise != standard_promise),
        Compared("法定期限", law, law),
        Compared("办理部门", "由各地确定", item.department or "政务服务窗口"),
        Compared("材料说明", "按标准", item.materials_note or "按标准", changed=bool(item.materials_note)),
        Compared("收费", item.fee, fee, changed=fee != item.fee),
    ]


def _near(visit: Visit) -> list[Tenant]:
    """The levels above, the neighbours, the divisions below."""
    here, tenants = visit.tenant, visit.portal.kernel.directory.tenants()
    above = [tenant for tenant in tenants if tenant.level != "county" and tenant.code != here.code]
    beside = [tenant for tenant in tenants if tenant.level == "county" and here.code in (tenant.parent, tenant.code)]
    if here.level == "county":
        beside = [tenant for tenant in tenants if tenant.parent == here.parent and tenant.code != here.code]
    return [*above, *beside][:18]


def _place(visit: Visit, tenant: Tenant) -> Place:
    """With a session here the way leads through identity, which knows the person: no second log-in."""
    if tenant.code == visit.tenant.code:
        return Place(tenant.code, tenant.name, "/")
    return Place(tenant.code, tenant.name, f"{tenant.url}/login?quiet=1" if visit.session else f"{tenant.url}/")
