"""The form of an item, and the receipt of what was filed with it."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from services.affairs.schema import FilingRequest, Item
from services.kernel.problems import Problem
from services.kernel.typed import CASE_NUMBER
from services.portal.addresses import CodeInPath, NumberInPath
from services.portal.areas.filing import forms
from services.portal.cases import first_tenant, place_name
from services.portal.visit import Errors, PersonVisit, Visit, go
from services.portal.words import day, grouped, moment

router = APIRouter(tags=["cases"], default_response_class=HTMLResponse)

FORM_KEY = re.compile(r"[A-Za-z0-9_-]{24}")
NO_KEY = "页面的信息不完整，这次没有提交。填写的内容都还在，请核对后再提交一次。"
UNFIT = "提交的内容不符合要求，请检查后再试。"


@dataclass(frozen=True)
class Filed:
    """The case that was filed with a form before; its number is empty where affairs does not tell it."""

    number: str

    @property
    def shown(self) -> str:
        return grouped(self.number)


@router.get("/items/{code}/filing")
async def filing_form(visit: PersonVisit, code: CodeInPath, form: str = "") -> Response:
    """The form's key is in its address: whoever goes back from the receipt finds the form with the key it had."""
    draft = await visit.draft()
    drafted = _form_key(draft.fields) if draft else ""
    if not FORM_KEY.fullmatch(form):
        # with its own key, what may have been filed all the same is not filed twice
        return go(_with_key(visit, code, drafted or _fresh_key()))
    item = await visit.portal.affairs.item(visit.tenant, code)
    if not item.offered:
        raise Problem(404, "item-not-offered")
    assert visit.session is not None
    who, restored = visit.session.who, draft is not None and drafted in ("", form)
    values = {"name": who.name, "phone": who.phone} | dict(draft.fields if draft and restored else {})
    return _filing_page(visit, item, form, values, {}, restored=restored)


def _with_key(visit: Visit, code: str, key: str) -> str:
    others = [(name, value) for name, value in visit.request.query_params.multi_items() if name != "form"]
    return f"/items/{code}/filing?{urlencode([*others, ('form', key)])}"


def _form_key(fields: Mapping[str, str]) -> str:
    """The idempotency key of a form that was sent, or nothing where it is none of ours."""
    key = fields.get("key", "")
    return key if FORM_KEY.fullmatch(key) else ""


def _fresh_key() -> str:
    return secrets.token_urlsafe(18)


def _following_key(key: str, request: FilingRequest) -> str:
    """The key for another content of a form whose key is used: the same one, however often that page is loaded."""
    digest = hashlib.sha256(f"{key} {request.model_dump_json()}".encode()).digest()
    return base64.urlsafe_b64encode(digest[:18]).decode()


@router.post("/items/{code}/filing")
async def file(visit: PersonVisit, code: CodeInPath) -> Response:
    """The form carries its idempotency key: sent twice, it is one case and the same receipt."""
    typed = await visit.read_form()
    item = await visit.portal.affairs.item(visit.tenant, code)
    key = _form_key(typed)
    request, errors = forms.filing(item, typed)
    if request is None or not key:
        return _filing_page(visit, item, key or _fresh_key(), typed, errors or {"": NO_KEY}, status=422)
    try:
        receipt = await visit.portal.affairs.file(visit.tenant, key, request, visit.token)
    except Problem as problem:
        if problem.status == 422:
            return _filing_page(visit, item, key, typed, {"": UNFIT}, status=422)
        if problem.status != 409:
            raise
        filed = Filed(problem.existing if re.fullmatch(CASE_NUMBER, problem.existing) else "")
        return _filing_page(visit, item, _following_key(key, request), typed, {}, filed=filed, status=409)
    return go(f"/cases/{receipt.number}/receipt{'?again=true' if receipt.duplicate else ''}")


def _filing_page(
    visit: Visit,
    item: Item,
    key: str,
    values: Mapping[str, str],
    errors: Errors,
    *,
    status: int = 200,
    restored: bool = False,
    filed: Filed | None = None,
) -> HTMLResponse:
    options = {field.name: [(option, option) for option in field.options] for field in item.fields}
    return visit.page(
        "filing/filing.html",
        item=item,
        key=key,
        fields=item.fields,
        options=options,
        values={"name": "", "phone": "", **values},
        errors=errors,
        restored=restored,
        filed=filed,
        status=status,
    )


@router.get("/cases/{number}/receipt")
async def receipt(visit: PersonVisit, number: NumberInPath, again: bool = False) -> HTMLResponse:
    """In any browser and at any time: the check code is derived again for the applicant who is logged in.

    `again`: the form was sent once more, and this is the receipt that it had.
    """
    directory = visit.portal.kernel.directory
    case = await visit.portal.affairs.case(first_tenant(visit, number), number, visit.token)
    place = place_name(directory, number[:6])
    facts = [
        ("申请事项", case.item_name),
        ("申请人", case.applicant_name),
        ("受理单位", place),
        ("提交时间", moment(case.filed_at)),
        ("决定是否受理", f"{day(case.accept_by)} 前"),
    ]
    return visit.page(
        "filing/receipt.html",
        place=place,
        number=number,
        shown=grouped(number),
        check_code=case.check_code or "",
        facts=facts,
        item=case.item,
        again=again,
    )
