"""Number and check code in, the case's steps out: no log-in, nothing of the person."""

from __future__ import annotations

import re

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from services.kernel.problems import Problem, Unavailable
from services.kernel.typed import CASE_NUMBER, CHECK_CODE, case_number
from services.kernel.typed import check_code as check_code_of
from services.pages.forms import read_anybodys_form
from services.portal.cases import timeline
from services.portal.visit import AnyVisit, Errors

router = APIRouter(tags=["cases"], default_response_class=HTMLResponse)


@router.get("/progress")
async def progress_form(visit: AnyVisit, number: str = "") -> HTMLResponse:
    return visit.page(
        "progress/progress.html", values={"number": number[:40], "check_code": ""}, errors={}, found=None, steps=[]
    )


@router.post("/progress")
async def progress(visit: AnyVisit) -> HTMLResponse:
    typed = await read_anybodys_form(visit.request)
    number, check_code = case_number(typed.get("number", ""))[:40], check_code_of(typed.get("check_code", ""))[:20]
    errors: Errors = {}
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
        "progress/progress.html",
        values={"number": number, "check_code": check_code},
        errors=errors,
        found=case_progress,
        steps=timeline(visit.portal.kernel.directory, case_progress.steps) if case_progress else [],
        status=status,
    )


def _not_shown(problem: Problem) -> Errors:
    if isinstance(problem, Unavailable):
        raise problem
    if problem.status == 429:
        return {"": "从您的网络输错的次数过多，最迟一小时后恢复。申请人登录后在“我的办件”中查看不受限制。"}
    return {"": "没有找到。请核对办件编号和查询码。"}
