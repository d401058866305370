"""What a tenant decides about the items by itself, for its administrators."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from services.affairs.schema import Item
from services.kernel.problems import Problem
from services.portal.addresses import CodeInPath
from services.portal.areas.administration import forms
from services.portal.visit import AdministratorVisit, Errors, Visit, go

router = APIRouter(tags=["administration"], default_response_class=HTMLResponse)


@router.get("/administration")
async def administration(visit: AdministratorVisit, saved: bool = False) -> HTMLResponse:
    items = await visit.portal.affairs.every_item(visit.tenant)
    return visit.page("administration/administration.html", items=items, saved=saved)


@router.get("/administration/{code}")
async def implementation(visit: AdministratorVisit, code: CodeInPath) -> HTMLResponse:
    item = await visit.portal.affairs.item(visit.tenant, code)
    values = {
        "department": item.department,
        "promised_working_days": _own_promise(item),
        "materials_note": item.materials_note,
        "fee_note": item.fee_note,
        "offered": "yes" if item.offered else "no",
    }
    draft = await visit.draft()
    return _page(visit, item, values | dict(draft.fields if draft else {}), {}, restored=draft is not None)


@router.post("/administration/{code}")
async def implement(visit: AdministratorVisit, code: CodeInPath) -> Response:
    typed = await visit.read_form()
    item = await visit.portal.affairs.item(visit.tenant, code)
    request, errors = forms.implementation(item, typed)
    if request is not None:
        try:
            await visit.portal.affairs.implement(visit.tenant, code, request, visit.token)
            return go("/administration?saved=1")
        except Problem as problem:
            if problem.status != 422:
                raise
            errors = {"": f"{visit.tenant.name}不能这样实施该事项，请核对层级和期限。"}
    values = {"department": "", "promised_working_days": "", "materials_note": "", "fee_note": "", "offered": "yes"}
    return _page(visit, item, values | typed, errors, status=422)


def _own_promise(item: Item) -> str:
    same = item.promised_working_days == item.standard_promised_working_days
    return "" if same else str(item.promised_working_days)


def _page(
    visit: Visit,
    item: Item,
    values: Mapping[str, str],
    errors: Errors,
    *,
    status: int = 200,
    restored: bool = False,
) -> HTMLResponse:
    words = {"item": item, "values": dict(values), "errors": errors, "restored": restored}
    return visit.page("administration/implementation.html", status=status, **words)
