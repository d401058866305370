"""Pages of a person's cases: filing, receipt, all my cases, one case, and progress for anybody with the check code."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Protocol
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from services.affairs.schema import CaseView, FilingRequest, Item
from services.affairs.schema import Step as StepInAffairs
from services.kernel.problems import Problem, Unavailable
from services.kernel.tenancy import Directory, Tenant
from services.kernel.typed import CASE_NUMBER, CHECK_CODE, case_number
from services.kernel.typed import check_code as check_code_of
from services.pages.cases import CASE_WORDS
from services.pages.forms import read_anybodys_form
from services.portal import forms
from services.portal.addresses import CodeInPath, NumberInPath
from services.portal.visit import AnyVisit, PersonVisit, Visit, go
from services.portal.words import OPEN_STATUSES, day, grouped, moment
from services.query.schema import CaseDetail

router = APIRouter(tags=["cases"], default_response_class=HTMLResponse)
log = structlog.get_logger(__name__)

# While the case cannot be read where it was filed, or when the key of the codes has been changed since.
CHECK_CODE_OUT = "暂时读取不到，请稍后再看"
CHECK_CODE_GONE = "请查看当时的收件回执"

FORM_KEY = re.compile(r"[A-Za-z0-9_-]{24}")
NO_KEY = "页面的信息不完整，这次没有提交。填写的内容都还在，请核对后再提交一次。"
UNFIT = "提交的内容不符合要求，请检查后再试。"


@dataclass(frozen=True)
class Row:
    """A case in a list."""

    number: str
    item_name: str
    place: str
    status: str
    when: str


@dataclass(frozen=True)
class Mark:
    """A step on a timeline."""

    title: str
    state: str
    place: str = ""
    when: str = ""
    note: str = ""


@dataclass(frozen=True)
class Filed:
    """The case that was filed with a form before; its number is empty where affairs does not tell it."""

    number: str

    @property
    def shown(self) -> str:
        return grouped(self.number)


# --- filing ------------------------------------------------------------------------------------------------------


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
    errors: forms.Errors,
    *,
    status: int = 200,
    restored: bool = False,
    filed: Filed | None = None,
) -> HTMLResponse:
    options = {field.name: [(option, option) for option in field.options] for field in item.fields}
    return visit.page(
        "filing.html",
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
        "receipt.html",
        place=place,
        number=number,
        shown=grouped(number),
        check_code=case.check_code or "",
        facts=facts,
        item=case.item,
        again=again,
    )


# --- my cases ----------------------------------------------------------------------------------------------------


@router.get("/cases")
async def my_cases(visit: PersonVisit, after: str = "") -> HTMLResponse:
    """All over the network, the latest change first."""
    directory = visit.portal.kernel.directory
    case_page = await visit.portal.query.my_cases(visit.token, after)
    rows = [
        Row(case.number, case.item_name, place_name(directory, case.holder), case.status, moment(case.changed_at))
        for case in case_page.cases
    ]
    following = f"/cases?{urlencode({'after': case_page.next})}" if case_page.next else None
    return visit.page("cases.html", cases=rows, first="/cases" if after else None, following=following)


@router.get("/cases/{number}")
async def my_case(visit: PersonVisit, number: NumberInPath) -> HTMLResponse:
    """Steps from the index, or while it lags or is out from the first tenant; what was written from there."""
    directory = visit.portal.kernel.directory
    details = await _details(visit, number)
    try:
        case: CaseDetail | CaseView = await visit.portal.query.my_case(number, visit.token)
    except Problem:
        if details is None:
            raise
        case = details
    facts = case_facts(directory, case)
    if case.status == "filed" and details:
        facts.append(("受理期限", day(details.accept_by)))
    if case.due and case.status in OPEN_STATUSES:
        facts.append(("办结期限", day(case.due)))
    facts.append(("查询码", (details.check_code or CHECK_CODE_GONE) if details else CHECK_CODE_OUT))
    return visit.page(
        "case.html",
        case=case,
        steps=timeline(directory, case.steps),
        facts=facts,
        outcome=words_at_the_end(details) if details else "",
        own_form=await own_form(visit, details) if details else [],
    )


async def _details(visit: Visit, number: str) -> CaseView | None:
    """The case as its first tenant keeps it; None when that does not answer, or knows no such case of this person."""
    try:
        return await visit.portal.affairs.case(first_tenant(visit, number), number, visit.token)
    except Problem as problem:
        log.info("case.details_missing", kind=problem.kind)
        return None


# --- progress, for anybody ---------------------------------------------------------------------------------------


@router.get("/progress")
async def progress_form(visit: AnyVisit, number: str = "") -> HTMLResponse:
    return visit.page(
        "progress.html", values={"number": number[:40], "check_code": ""}, errors={}, found=None, steps=[]
    )


@router.post("/progress")
async def progress(visit: AnyVisit) -> HTMLResponse:
    typed = await read_anybodys_form(visit.request)
    number, check_code = case_number(typed.get("number", ""))[:40], check_code_of(typed.get("check_code", ""))[:20]
    errors: forms.Errors = {}
    if not re.fullmatch(CASE_NUMBER, number):
        errors["number"] = "办件编号是 22 位数字，见收件回执"
    if not re.fullmatch(CHECK_CODE, check_code):
        errors["check_code"] = "查询码是 12 位字母和数字（不含 0、1、I、O），见收件回执"
    case_progress, status = None, 422 if errors else 200
    if not errors:
        try:
            case_progress = await visit.portal.query.progress(visit.tenant, number, check_code, visit.address)
        except Problem as problem:
            errors, status = _not_shown(problem), problem.status
    return visit.page(
        "progress.html",
        values={"number": number, "check_code": check_code},
        errors=errors,
        found=case_progress,
        steps=timeline(visit.portal.kernel.directory, case_progress.steps) if case_progress else [],
        status=status,
    )


def _not_shown(problem: Problem) -> forms.Errors:
    if isinstance(problem, Unavailable):
        raise problem
    if problem.status == 429:
        return {"": "从您的网络输错的次数过多，最迟一小时后恢复。申请人登录后在“我的办件”中查看不受限制。"}
    return {"": "没有找到。请核对办件编号和查询码。"}


# --- how a case reads --------------------------------------------------------------------------------------------


REASONS = {"in_transit": "事由", "declined": "理由"}


class Step(Protocol):
    """A step as affairs and as the index tell it. The reason is affairs' alone."""

    @property
    def tenant(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def at(self) -> datetime: ...


def timeline(directory: Directory, steps: Sequence[Step]) -> list[Mark]:
    """What was done, where it stands, and while it is open the end that is to come."""
    marks = []
    for position, step in enumerate(steps):
        last = position == len(steps) - 1
        state = "done"
        if step.status in ("declined", "refused"):
            state = "stopped"
        elif last and step.status in OPEN_STATUSES:
            state = "current"
        marks.append(
            Mark(
                _title(directory, steps, position),
                state,
                place_name(directory, step.tenant),
                moment(step.at),
                f"{REASONS.get(step.status, '说明')}：{step.reason}"
                if isinstance(step, StepInAffairs) and step.reason
                else "",
            )
        )
    if steps and steps[-1].status in OPEN_STATUSES:
        marks.append(Mark("办结", "todo"))
    return marks


def _title(directory: Directory, steps: Sequence[Step], position: int) -> str:
    step = steps[position]
    before, after = steps[position - 1 : position], steps[position + 1 : position + 2]
    if step.status == "filed":
        return "已提交"
    if step.status == "in_transit":
        return f"移送{place_name(directory, after[0].tenant)}办理" if after else "正在移送"
    if step.status == "accepted" and before and before[0].status == "in_transit":
        return "已接收，办理中"
    return CASE_WORDS[step.status][0]


async def own_form(visit: Visit, case: CaseView) -> list[tuple[str, str]]:
    """What the person wrote, under the labels of the item's form; without the catalogue under the fields' names."""
    labels: dict[str, str] = {}
    try:
        item = await visit.portal.affairs.item(first_tenant(visit, case.number), case.item)
        labels = {field.name: field.label for field in item.fields}
    except Problem as problem:
        log.info("case.labels_missing", kind=problem.kind)
    in_order = [name for name in labels if name in case.form] + [name for name in case.form if name not in labels]
    people = [("申请人", case.applicant_name), ("联系电话", case.applicant_phone)]
    return people + [(labels.get(name, name), str(case.form[name])) for name in in_order]


def case_facts(
    directory: Directory, case: CaseDetail | CaseView, in_transit_to: str | None = None
) -> list[tuple[str, str]]:
    """Where a case began, where it has been, and where it is, or who closed it."""
    facts = [("办件编号", grouped(case.number)), ("受理单位", place_name(directory, case.number[:6]))]
    way = [place_name(directory, code) for code, _ in groupby(step.tenant for step in case.steps)]
    if len(way) > 1:
        facts.append(("流转路径", " → ".join(way)))
    facts.append(("提交时间", moment(case.filed_at)))
    if case.status in OPEN_STATUSES:
        return [*facts, ("现在由谁办理", where(directory, case.holder, in_transit_to))]
    return [*facts, ("决定单位", place_name(directory, case.holder)), ("决定时间", moment(case.changed_at))]


def words_at_the_end(case: CaseView) -> str:
    """What was decided, in the words of whoever decided it: the outcome's, or why it was not accepted."""
    if case.outcome:
        return case.outcome.text
    return next((step.reason for step in case.steps if step.status == "declined"), "")


def where(directory: Directory, holder: str, in_transit_to: str | None = None) -> str:
    """Who holds a case, and while it is on its way, who is to get it."""
    name = place_name(directory, holder)
    return f"{name} → {place_name(directory, in_transit_to)}" if in_transit_to else name


def place_name(directory: Directory, code: str) -> str:
    tenant = directory.by_code(code)
    return tenant.name if tenant else code


def first_tenant(visit: Visit, number: str) -> Tenant:
    """A case number begins with the code of the tenant where it was filed."""
    tenant = visit.portal.kernel.directory.by_code(number[:6])
    if tenant is None:
        raise Problem(404, "not-found")
    return tenant
