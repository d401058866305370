"""Errors as pages: what happened, what still works, what to do."""

from __future__ import annotations

from contextlib import suppress

import structlog
from fastapi import Request
from starlette.responses import Response

from services.kernel import telemetry
from services.kernel.http import as_problem
from services.kernel.problems import Problem, Unavailable
from services.pages.forms import ForgedForm
from services.pages.frame import Frame
from services.portal.log_in import send_to_identity
from services.portal.visit import Visit, portal_of, visit_of

log = structlog.get_logger(__name__)

# kind → (heading, advice)
WORDS: dict[str, tuple[str, str]] = {
    "identity-unavailable": (
        "统一身份认证暂时无法使用",
        "现在不能登录或续期登录。浏览和搜索办事事项、凭编号和查询码查进度仍可正常使用，请稍后再登录。",
    ),
    "affairs-unavailable": (
        "办事服务暂时无法使用",
        "事项和受理服务正在恢复。查看“我的办件”、凭编号和查询码查进度仍可正常使用。已经显示受理编号的申请不会丢失。",
    ),
    "query-unavailable": (
        "办件查询暂时无法使用",
        "查询服务正在恢复。浏览事项、提交申请不受影响，已提交的申请不会丢失，请稍后再查。",
    ),
    "database-unavailable": ("服务正在恢复", "本站数据暂时无法读取，已提交的申请不会丢失。请稍后刷新页面。"),
    "log-in-failed": ("登录没有完成", "可能是等待时间过长，或在另一个窗口里已经登录。请返回首页重新登录。"),
    "unknown-host": ("没有这个站点", "请检查网址，或从所在省、市的政务服务网进入。"),
    "forged-form": ("页面已过期", "为了您的安全，表单停留太久或从别处提交时不会被接受。请返回后重新填写。"),
    "too-many": ("操作过于频繁", "请稍等片刻再试。"),
}
BY_STATUS: dict[int, tuple[str, str]] = {
    403: ("没有访问权限", "您的账号没有使用这个页面的权限。如需开通，请联系本单位管理员。"),
    404: ("没有找到这个页面", "网址可能有误，或内容已经调整。可以从首页搜索需要的事项。"),
    405: ("页面已过期", "请返回后重新打开页面。"),
    413: ("内容太多", "提交的内容超过了限制，请精简后再试。"),
    421: ("没有这个站点", "请检查网址，或从所在省、市的政务服务网进入。"),
    422: ("提交的内容有误", "请返回检查填写的内容。"),
    429: ("操作过于频繁", "请稍等片刻再试。"),
    503: ("服务正在恢复", "请稍后刷新页面。已提交的申请不会丢失。"),
}
OTHERWISE = ("服务出了点问题", "我们已经记录下来。请稍后再试，已提交的申请不会丢失。")


async def log_in_first(request: Request, _: Exception) -> Response:
    portal = portal_of(request)
    visit = Visit(portal, request, portal.kernel.tenant_of(request.headers.get("host", "")))
    try:
        return await send_to_identity(visit, visit.here())
    except Unavailable as out:
        return await show(request, out)


async def show(request: Request, error: Exception) -> Response:
    """Any error as a page; programs' paths (`/api/…`, health) are not here."""
    problem = Problem(403, "forged-form", str(error)) if isinstance(error, ForgedForm) else as_problem(error)
    if problem.status >= 500:
        log.error("request.problem", kind=problem.kind, exc_info=error)
    heading, advice = WORDS.get(problem.kind) or BY_STATUS.get(problem.status, OTHERWISE)
    response = portal_of(request).pages.error(
        request,
        await _frame(request, known=problem.status < 500),
        problem.status,
        heading,
        advice,
        request_id=telemetry.request_id.get(),
    )
    response.headers.update(problem.headers)
    return response


async def _frame(request: Request, known: bool) -> Frame:
    """The site's frame. Who visits is asked only where the error does not mean that something is out."""
    portal = portal_of(request)
    tenant = portal.kernel.directory.by_host(request.headers.get("host", ""))
    if tenant is None:
        return Frame("政务服务网", "一网")
    visit = Visit(portal, request, tenant)
    if known:
        with suppress(Problem):
            visit = await visit_of(request, tenant)
    return visit.frame()
