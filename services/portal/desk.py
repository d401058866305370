"""The clerk's desk: what waits, how long it may wait, and the acts that the law knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.responses import HTMLResponse, Response

from services.affairs.schema import (
    AcceptanceRequest,
    CaseView,
    DeskCase,
    HandOverRequest,
    OutcomeRequest,
    Trace,
)
from services.kernel.calendar import SHANGHAI
from services.kernel.problems import Problem
from services.kernel.tenancy import Tenant
from services.pages.forms import read_form
from services.portal.cases import holder, own_form, place_name, timeline
from services.portal.visit import ClerkVisit, Visit, go
from services.portal.words import CLOSED_STATUSES, OPEN_STATUSES, Due, due, grouped, lasted, moment

router = APIRouter(tags=["desk"], default_response_class=HTMLResponse)

# The key is part of the address.
FILTERS = {"open": "在本级办理", "filed": "待受理", "accepted": "办理中", "moved": "已流转", "closed": "已办结"}
ACTIONS = {"filed": "提交", "accepted": "受理", "declined": "不予受理", "hand-over": "流转", "received": "接收"}
ACTIONS |= {"granted": "准予", "refused": "不予许可"}
NO_LONGER = "办件状态已经变化，可能有人刚刚办理过。请看最新情况后再办。"


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
async def desk(visit: ClerkVisit, status: str = "open") -> HTMLResponse:
    key = status if status in FILTERS else "open"
    waiting = await visit.portal.affairs.desk(visit.tenant, OPEN_STATUSES, visit.token)
    closed = await visit.portal.affairs.desk(visit.tenant, CLOSED_STATUSES, visit.token) if key == "closed" else []
    shown = sorted((case for case in [*waiting, *closed] if _belongs(visit.tenant, case, key)), key=_urgency)
    return visit.page(
        "desk.html",
        office=visit.office("clerk"),
        figures=_figures(visit.tenant, waiting),
        filters=[(name, words, name == key) for name, words in FILTERS.items()],
        cases=[_row(visit, case) for case in shown],
    )


@router.get("/desk/{number}")
async def desk_case(visit: ClerkVisit, number: str) -> HTMLResponse:
    return await _case_page(visit, number)


@router.post("/desk/{number}/acceptance")
async def accept(visit: ClerkVisit, number: str) -> Response:
    typed = await read_form(visit.request)
    try:
        request = AcceptanceRequest(accepted=typed.get("accepted") == "true", reason=typed.get("reason", "").strip())
        await visit.portal.affairs.accept(visit.tenant, number, request, visit.token)
    except (ValidationError, Problem) as error:
        return await _not_done(visit, number, error, "不予受理须写明理由。")
    return go(f"/desk/{number}")


@router.post("/desk/{number}/hand-over")
async def hand_over(visit: ClerkVisit, number: str) -> Response:
    typed = await read_form(visit.request)
    try:
        request = HandOverRequest(to=typed.get("to", ""), reason=typed.get("reason", "").strip())
        await visit.portal.affairs.hand_over(visit.tenant, number, request, visit.token)
    except (ValidationError, Problem) as error:
        return await _not_done(visit, number, error, "请选择流转至哪里，并写明事由。")
    return go(f"/desk/{number}")


@router.post("/desk/{number}/outcome")
async def give_outcome(visit: ClerkVisit, number: str) -> Response:
    typed = await read_form(visit.request)
    try:
        request = OutcomeRequest.model_validate(
            {"result": typed.get("result", ""), "text": typed.get("text", "").strip()}
        )
        await visit.portal.affairs.give_outcome(visit.tenant, number, request, visit.token)
    except (ValidationError, Problem) as error:
        return await _not_done(visit, number, error, "请选择决定，并写明决定内容。")
    return go(f"/desk/{number}")


async def _not_done(visit: Visit, number: str, error: Exception, incomplete: str) -> Response:
    """The case again, with the reason; an outage and the like go on to their own page."""
    if isinstance(error, Problem) and error.status not in (409, 422):
        raise error
    conflict = isinstance(error, Problem) and error.status == 409
    return await _case_page(visit, number, NO_LONGER if conflict else incomplete, 409 if conflict else 422)


async def _case_page(visit: Visit, number: str, error: str = "", status: int = 200) -> HTMLResponse:
    directory = visit.portal.kernel.directory
    case = await visit.portal.affairs.case(visit.tenant, number, visit.token)
    facts = [
        ("办件编号", grouped(number)),
        ("现在由谁办理", holder(directory, case)),
        ("流转路径", " → ".join(place_name(directory, code) for code in case.path)),
        ("提交时间", moment(case.filed_at)),
    ]
    if case.due:
        facts.append(
            (
                "办结期限",
                case.due.isoformat() + ("（次年假期未公布，暂按周一至周五计）" if case.due_provisional else ""),
            )
        )
    return visit.page(
        "desk_case.html",
        case=case,
        limit=_limit(visit.tenant, case),
        facts=facts,
        own_form=await own_form(visit, case),
        steps=timeline(directory, case.steps),
        records=[_record(visit.tenant, trace) for trace in case.traces],
        acts=case.actions,
        idle=_idle(visit.tenant, case, holder(directory, case)),
        receivers=[(tenant.code, name) for tenant, name in _receivers(visit, case)],
        outcome=case.outcome.text if case.outcome else "",
        error=error,
        status=status,
    )


def _receivers(visit: Visit, case: CaseView) -> list[tuple[Tenant, str]]:
    """Where the case may go: up to the parent, back in its way, down to a division below."""
    here, found = visit.tenant, []
    for tenant in visit.portal.kernel.directory.tenants():
        if tenant.code == here.code:
            continue
        if tenant.code == here.parent:
            found.append((tenant, f"{tenant.name}（上级）"))
        elif tenant.code in case.path:
            found.append((tenant, f"{tenant.name}（退回）"))
        elif tenant.parent == here.code:
            found.append((tenant, f"{tenant.name}（下级）"))
    return found


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


def _belongs(tenant: Tenant, case: DeskCase, key: str) -> bool:
    """Whether a case is shown under a filter: what waits here, what was handed on, what is closed."""
    if case.status in CLOSED_STATUSES:
        return key == "closed"
    if case.holder != tenant.code or case.status == "in_transit":
        return key == "moved"
    return key in ("open", case.status)


def _row(visit: Visit, case: DeskCase) -> Row:
    filed = case.filed_at.astimezone(SHANGHAI).strftime("%m-%d %H:%M")
    limit = _limit(visit.tenant, case)
    elsewhere = "" if case.holder == visit.tenant.code else place_name(visit.portal.kernel.directory, case.holder)
    words = f"由{elsewhere}办理" if elsewhere and case.status in OPEN_STATUSES else "—"
    return Row(case.number, case.item_name, case.applicant_name, filed, limit, words, case.status)


def _urgency(case: DeskCase) -> tuple[bool, date]:
    limit = case.accept_by if case.status == "filed" else case.due
    return limit is None, limit or date.max


def _figures(tenant: Tenant, cases: Sequence[DeskCase]) -> list[Figure]:
    limits = [limit for case in cases if (limit := _limit(tenant, case))]
    over = sum(limit.tone == "over" for limit in limits)
    return [
        Figure("待受理", sum(case.status == "filed" for case in cases)),
        Figure("办理中", sum(case.status == "accepted" and case.holder == tenant.code for case in cases)),
        Figure("即将到期", sum(limit.tone == "soon" for limit in limits)),
        Figure("已超期", over, bad=over > 0),
    ]


def _record(tenant: Tenant, trace: Trace) -> Record:
    who = f"{trace.department} {trace.actor_name}".strip()
    lines = [trace.details.rstrip("。；"), f"依据：{trace.basis}" if trace.basis else ""]
    if trace.action != "filed":
        lines.append(f"距上一步 {lasted(trace.seconds_since_change)}")
    note = "；".join(line for line in lines if line)
    return Record(ACTIONS.get(trace.action, trace.action), who or tenant.name, moment(trace.at), note)
