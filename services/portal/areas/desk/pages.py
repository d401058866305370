"""The clerk's desk: what waits, how long it may wait, and the acts that the law knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import get_args
from urllib.parse import urlencode

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.responses import HTMLResponse, Response

from services.affairs.schema import (
    AcceptanceRequest,
    CaseView,
    Desk,
    DeskCase,
    DeskFigures,
    DeskList,
    HandOverRequest,
    OutcomeRequest,
    Trace,
)
from services.kernel.problems import Problem
from services.kernel.tenancy import Tenant
from services.portal.addresses import NumberInPath
from services.portal.cases import case_facts, own_form, place_name, timeline, where, words_at_the_end
from services.portal.store.drafts import Draft
from services.portal.visit import ClerkVisit, Errors, Visit, go
from services.portal.words import OPEN_STATUSES, Due, day, due, lasted, moment

router = APIRouter(tags=["desk"], default_response_class=HTMLResponse)

# The list's name is part of the address.
LISTS: dict[DeskList, str] = {
    "open": "在本级办理",
    "filed": "待受理",
    "accepted": "办理中",
    "moved": "已流转",
    "closed": "已办结",
}
ACTIONS = {"filed": "提交", "accepted": "受理", "declined": "不予受理", "hand-over": "流转", "received": "接收"}
ACTIONS |= {"granted": "准予", "refused": "不予批准"}
NO_LONGER = "办件状态已经变化，可能有人刚刚办理过。请看最新情况后再办。"
# What a form must have, by the panel in which it stands: field → what to say when it is not as it should be.
NEEDED: dict[str, Errors] = {
    "acceptance": {},
    "decline": {"reason": "请写明不予受理的理由"},
    "outcome": {"result": "请选择决定", "text": "请写明决定内容"},
    "hand-over": {"to": "请选择流转至哪里", "reason": "请写明流转的事由"},
}


@dataclass(frozen=True)
class Attempt:
    """An act that was not done: what was typed into which panel, and what was wrong with it."""

    panel: str = ""
    typed: Mapping[str, str] = field(default_factory=dict)
    errors: Errors = field(default_factory=dict)
    restored: bool = False
    """Not refused: it could not be taken when it was sent, and waits to be sent again."""


@dataclass(frozen=True)
class Row:
    number: str
    item_name: str
    applicant: str
    filed: str
    due: Due | None
    elsewhere: str
    status: str


@dataclass(frozen=True)
class Figure:
    name: str
    value: int
    bad: bool = False


@dataclass(frozen=True)
class Record:
    """An exercise of power as its trace tells it: who, on what basis, how long after the one before."""

    title: str
    place: str
    when: str
    note: str
    state: str = "done"


@router.get("/desk")
async def desk(visit: ClerkVisit, status: str = "open", after: str = "") -> HTMLResponse:
    name: DeskList = next((list_name for list_name in get_args(DeskList) if list_name == status), "open")
    desk_page = await visit.portal.affairs.desk(visit.tenant, name, after, visit.token)
    counts = _counts(desk_page.figures)
    return visit.page(
        "desk/desk.html",
        office=visit.office("clerk"),
        figures=_figures(desk_page.figures),
        filters=[(list_name, words, list_name == name, counts.get(list_name)) for list_name, words in LISTS.items()],
        cases=[_row(visit, case) for case in desk_page.cases],
        total=counts.get(name),
        first=f"/desk?status={name}" if after else None,
        following=_following(name, desk_page),
    )


def _following(name: DeskList, desk_page: Desk) -> str | None:
    return f"/desk?{urlencode({'status': name, 'after': desk_page.next})}" if desk_page.next else None


@router.get("/desk/{number}")
async def desk_case(visit: ClerkVisit, number: NumberInPath) -> HTMLResponse:
    draft = await visit.draft()
    return await _case_page(visit, number, _restored(draft) if draft else Attempt())


@router.post("/desk/{number}/acceptance")
async def accept(visit: ClerkVisit, number: NumberInPath) -> Response:
    typed = await visit.read_form()
    panel = _panel(visit.request.url.path, typed)
    try:
        request = AcceptanceRequest(accepted=panel == "acceptance", reason=typed.get("reason", ""))
        await visit.portal.affairs.accept(visit.tenant, number, request, visit.token)
    except (ValidationError, Problem) as error:
        return await _not_done(visit, number, error, panel, typed)
    return go(f"/desk/{number}")


@router.post("/desk/{number}/hand-over")
async def hand_over(visit: ClerkVisit, number: NumberInPath) -> Response:
    typed = await visit.read_form()
    try:
        request = HandOverRequest(to=typed.get("to", ""), reason=typed.get("reason", ""))
        await visit.portal.affairs.hand_over(visit.tenant, number, request, visit.token)
    except (ValidationError, Problem) as error:
        return await _not_done(visit, number, error, "hand-over", typed)
    return go(f"/desk/{number}")


@router.post("/desk/{number}/outcome")
async def give_outcome(visit: ClerkVisit, number: NumberInPath) -> Response:
    typed = await visit.read_form()
    try:
        request = OutcomeRequest.model_validate({"result": typed.get("result", ""), "text": typed.get("text", "")})
        await visit.portal.affairs.give_outcome(visit.tenant, number, request, visit.token)
    except (ValidationError, Problem) as error:
        return await _not_done(visit, number, error, "outcome", typed)
    return go(f"/desk/{number}")


def _panel(sent_to: str, typed: Mapping[str, str]) -> str:
    """The panel of a form, by where it is sent; two stand for acceptance."""
    act = sent_to.rpartition("/")[2]
    return "decline" if act == "acceptance" and typed.get("accepted") != "true" else act


def _restored(draft: Draft) -> Attempt:
    return Attempt(_panel(draft.sent_to, draft.fields), draft.fields, restored=True)


async def _not_done(visit: Visit, number: str, error: Exception, panel: str, typed: Mapping[str, str]) -> Response:
    """The case again, with the reason at its place; an outage and the like go on to their own page."""
    if isinstance(error, Problem) and error.status not in (409, 422):
        raise error
    conflict = isinstance(error, Problem) and error.status == 409
    errors = {"": NO_LONGER} if conflict else _wrong(error, panel)
    return await _case_page(visit, number, Attempt(panel, typed, errors), 409 if conflict else 422)


def _wrong(error: Exception, panel: str) -> Errors:
    """What to say at which field of a form that was not taken."""
    places = {"to"}  # affairs refuses a place that is not in the case's way by a problem of its own
    if isinstance(error, ValidationError):
        places = {str(fault["loc"][-1]) if fault["loc"] else "reason" for fault in error.errors()}
    elif isinstance(error, Problem) and error.errors:
        places = {fault["where"].rpartition(".")[2] for fault in error.errors}
    wrong = {name: words for name, words in NEEDED[panel].items() if name in places}
    return wrong or {"": "填写的内容不符合要求，请核对后再试。"}


async def _case_page(visit: Visit, number: str, attempt: Attempt, status: int = 200) -> HTMLResponse:
    directory = visit.portal.kernel.directory
    case = await visit.portal.affairs.case(visit.tenant, number, visit.token)
    facts = case_facts(directory, case, in_transit_to=case.in_transit_to)
    if case.due:
        facts.append(("办结期限", day(case.due)))
    return visit.page(
        "desk/desk_case.html",
        case=case,
        limit=_limit(visit.tenant, case),
        facts=facts,
        own_form=await own_form(visit, case),
        steps=timeline(directory, case.steps),
        records=[_record(visit.tenant, trace) for trace in case.traces],
        acts=case.actions,
        idle=_idle(visit.tenant, case, where(directory, case.holder, case.in_transit_to)),
        brought=_brought(visit, case),
        receivers=[(tenant.code, name) for tenant, name in _receivers(visit, case)],
        outcome=words_at_the_end(case),
        attempt=attempt,
        panel=attempt.panel or ("acceptance" if "acceptance" in case.actions else "outcome"),
        status=status,
    )


def _brought(visit: Visit, case: CaseView) -> tuple[str, str] | None:
    """Who handed the case over to be done here, and why; None where nobody did, or it waits here no longer."""
    if not case.actions or len(case.steps) < 2 or case.steps[-2].status != "in_transit":
        return None
    sent = case.steps[-2]
    return (place_name(visit.portal.kernel.directory, sent.tenant), sent.reason) if sent.reason else None


def _receivers(visit: Visit, case: CaseView) -> list[tuple[Tenant, str]]:
    """Where the case may go: up to the parent, back in its way, down to a division below."""
    here, receivers = visit.tenant, []
    for tenant in visit.portal.kernel.directory.tenants():
        if tenant.code == here.code:
            continue
        if tenant.code == here.parent:
            receivers.append((tenant, f"{tenant.name}（上级）"))
        elif tenant.code in case.path:
            receivers.append((tenant, f"{tenant.name}（退回）"))
        elif tenant.parent == here.code:
            receivers.append((tenant, f"{tenant.name}（下级）"))
    return receivers


def _idle(tenant: Tenant, case: CaseView, now_at: str) -> str:
    if case.status not in OPEN_STATUSES:
        return "办件已经办结。"
    if case.status == "in_transit":
        return f"正在流转：{now_at}。对方接收后由其办理。"
    return f"现由{now_at}办理，{tenant.name}可查看进度。" if case.holder != tenant.code else "现在没有需要办理的。"


def _limit(tenant: Tenant, case: CaseView | DeskCase) -> Due | None:
    """The limit that runs now: for acceptance, then for the outcome; none where somebody else holds the case."""
    limit: date | None = case.accept_by if case.status == "filed" else case.due
    if limit is None or case.status not in OPEN_STATUSES or case.holder != tenant.code:
        return None
    return due(limit)


def _row(visit: Visit, case: DeskCase) -> Row:
    filed = moment(case.filed_at)
    limit = _limit(visit.tenant, case)
    elsewhere = "" if case.holder == visit.tenant.code else place_name(visit.portal.kernel.directory, case.holder)
    words = f"由{elsewhere}办理" if elsewhere and case.status in OPEN_STATUSES else "—"
    return Row(case.number, case.item_name, case.applicant_name, filed, limit, words, case.status)


def _counts(figures: DeskFigures) -> dict[DeskList, int]:
    """How long each list is; what has closed is not counted, for it grows for ever."""
    open_here = figures.filed + figures.accepted
    return {"open": open_here, "filed": figures.filed, "accepted": figures.accepted, "moved": figures.moved}


def _figures(figures: DeskFigures) -> list[Figure]:
    return [
        Figure("待受理", figures.filed),
        Figure("办理中", figures.accepted),
        Figure("即将到期", figures.due_soon),
        Figure("已超期", figures.overdue, bad=figures.overdue > 0),
    ]


def _record(tenant: Tenant, trace: Trace) -> Record:
    who = f"{trace.department} {trace.actor_name}".strip()
    lines = [trace.details.rstrip("。；"), f"依据：{trace.basis}" if trace.basis else ""]
    if trace.action == "received":  # its actor is the tenant that brought the case: what is done here is to take it
        who, lines = tenant.name, [f"由{trace.actor_name}移送", *lines]
    if trace.action != "filed":
        lines.append(f"距上一步 {lasted(trace.seconds_since_change)}")
    note = "；".join(line for line in lines if line)
    return Record(ACTIONS.get(trace.action, trace.action), who or tenant.name, moment(trace.at), note)
