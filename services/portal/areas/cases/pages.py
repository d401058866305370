"""Pages of a person's cases: all of them over the network, and each."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter
from starlette.responses import HTMLResponse

from services.affairs.schema import CaseView
from services.kernel.problems import Problem
from services.portal.addresses import NumberInPath
from services.portal.cases import case_facts, first_tenant, own_form, place_name, timeline, words_at_the_end
from services.portal.visit import PersonVisit, Visit
from services.portal.words import OPEN_STATUSES, day, moment
from services.query.schema import CaseDetail

router = APIRouter(tags=["cases"], default_response_class=HTMLResponse)
log = structlog.get_logger(__name__)

# While the case cannot be read where it was filed, or when the key of the codes has been changed since.
CHECK_CODE_OUT = "暂时读取不到，请稍后再看"
CHECK_CODE_GONE = "请查看当时的收件回执"


@dataclass(frozen=True)
class Row:
    """A case in a list."""

    number: str
    item_name: str
    place: str
    status: str
    when: str


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
    return visit.page("cases/cases.html", cases=rows, first="/cases" if after else None, following=following)


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
        "cases/case.html",
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
