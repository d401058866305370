"""Errors as pages: what happened, what still works, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import structlog
from fastapi import Request
from starlette.responses import Response

from services.kernel import telemetry
from services.kernel.http import as_problem, log_problem
from services.kernel.problems import Problem, Unavailable
from services.pages.cookies import keep_cookie
from services.pages.errors import ErrorWords, Words
from services.pages.forms import SESSION_COOKIE, StrangeForm, receive_form
from services.pages.frame import Frame
from services.portal.pages import send_to_identity
from services.portal.store.drafts import DRAFT_COOKIE, KEPT
from services.portal.visit import Visit, address_of_form, go, page_of_form, portal_of, visit_of

log = structlog.get_logger(__name__)

DRAFTS, DRAFT_SECONDS = 60, 600
"""So many drafts may be left from one address in so many seconds."""
# By kind of problem, on every page; an area says its own.
WORDS: Mapping[str, Words] = {
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
    "not-authenticated": ("登录已经失效", "请退出后重新登录，再打开这个页面。"),
    "unknown-host": ("没有这个站点", "请检查网址，或从所在省、市的政务服务网进入。"),
    "forged-form": ("页面已过期", "为了您的安全，表单停留太久或从别处提交时不会被接受。请返回后重新填写。"),
    "strange-form": (
        "登录的人已经变了，这张表没有提交",
        "填写这张表以后，同一浏览器里换了登录，所以没有以现在登录的人的名义提交。请看清登录的是谁，再重新打开页面办理。",
    ),
    "too-many": ("操作过于频繁", "请稍等片刻再试。"),
}
BY_STATUS: Mapping[int, Words] = {
    403: ("没有访问权限", "您的账号没有使用这个页面的权限。如需开通，请联系本单位管理员。"),
    404: ("没有找到这个页面", "网址可能有误，或内容已经调整。可以从首页搜索需要的事项。"),
    405: ("页面已过期", "请返回后重新打开页面。"),
    413: ("内容太多", "提交的内容超过了限制，请精简后再试。"),
    421: ("没有这个站点", "请检查网址，或从所在省、市的政务服务网进入。"),
    422: (
        "有一项内容没有被接受",
        "这次没有提交成功。请用浏览器的“后退”回到填写的页面，改好后再提交；仍不成功的，请拨打服务电话并告知请求编号。",
    ),
    429: ("操作过于频繁", "请稍等片刻再试。"),
    503: ("服务正在恢复", "请稍后刷新页面。已提交的申请不会丢失。"),
}
SITE = ErrorWords(
    WORDS,
    BY_STATUS,
    broken_link=("这个链接打不开", "网址不完整或已经失效，可能是复制时缺了一段。请从列表里重新打开。"),
    refused=("这个请求没有被接受", "请返回上一页，或从首页重新进入。仍不成功的，请拨打服务电话并告知请求编号。"),
    otherwise=("服务出了点问题", "我们已经记录下来。请稍后再试，已提交的申请不会丢失。"),
)
KEPT_WORDS = "填写的内容为填写的人保留一小时：由本人登录、再打开填写的页面，就能接着办理。"


async def log_in_first(request: Request, _: Exception) -> Response:
    """To identity and back to the page; what was typed into its form will be there again."""
    portal = portal_of(request)
    visit = Visit(portal, request, portal.kernel.tenant_of(request.headers.get("host", "")))
    try:
        response = await send_to_identity(visit, visit.here())
    except Unavailable as out:
        return await show(request, out)
    return remind(response, await _keep_draft(request))


async def strange_form(request: Request, error: Exception) -> Response:
    """A form of another log-in acts for nobody. Its writer finds it again, at once if it is they who are here."""
    assert isinstance(error, StrangeForm)
    visit: Visit = request.state.visit
    kept = await _keep_draft(request)
    if kept and visit.session and error.form.written_by(visit.session.who.sub):
        return remind(go(visit.here()), kept)
    return await show(request, error, kept)


async def _keep_draft(request: Request) -> bool:
    """Keep what was typed into the form that cannot be taken now. Whether it is there again."""
    try:
        if request.method != "POST" or request.url.path.split("/")[1] not in portal_of(request).areas.keeps_forms:
            return False
        form = await receive_form(request)
        tenant = portal_of(request).kernel.directory.by_host(request.headers.get("host", ""))
        if tenant is None or form.written_by(""):
            return False
        place = Visit(portal_of(request), request, tenant)
        allowed = await place.portal.kernel.cache.allow(f"draft:{place.address}", DRAFTS, DRAFT_SECONDS)
        return allowed and await place.portal.drafts.keep(tenant.code, page_of_form(request), request.url.path, form)
    except Exception as error:  # a courtesy: without it, the answer is what it would have been
        log.warning("draft.not_kept", error=repr(error))
        return False


def remind(response: Response, kept: bool) -> Response:
    """The browser tells by a cookie that it has left a draft."""
    if kept:
        keep_cookie(response, DRAFT_COOKIE, "1", int(KEPT.total_seconds()))
    return response


async def show(request: Request, error: Exception, kept: bool = False) -> Response:
    """Any error as a page; programs' paths (`/api/…`, health) are not here. `kept`: what was typed is there again."""
    problem = as_problem(error)
    log_problem(problem, error)
    heading, advice, back, back_label = _words(request, problem)
    kept = (problem.status >= 500 and await _keep_draft(request)) or kept
    if kept:
        advice = f"{advice}{KEPT_WORDS}"
        back, back_label = address_of_form(request), "回到填写的页面"
    response = portal_of(request).pages.error(
        request,
        await _frame(request, may_ask=problem.status < 500),
        problem.status,
        heading,
        advice,
        request_id=telemetry.request_id.get(),
        back=back,
        back_label=back_label,
    )
    response.headers.update(problem.headers)
    return remind(response, kept)


def _words(request: Request, problem: Problem) -> tuple[str, str, str, str]:
    """What happened, what to do, and where to go on: back to the list in whose part of the site this happened."""
    areas = portal_of(request).areas
    words = replace(SITE, by_kind={**SITE.by_kind, **areas.words})
    part = areas.missing.get(request.url.path.split("/")[1])
    if part and problem.status == 404 and problem.kind not in words.by_kind:
        return part.heading, part.advice, part.back, part.back_label
    if part and words.is_broken_link(problem, request.method):
        return (*words.broken_link, part.back, part.back_label)
    return (*words.of(problem, request.method), "/", "返回首页")


async def _frame(request: Request, may_ask: bool) -> Frame:
    """The site's frame, which names the visitor, offers to log in, or where nobody can tell does neither.

    Who visits is known when the error came after it was asked; else it is asked where nothing seems to be out.
    """
    portal = portal_of(request)
    tenant = portal.kernel.directory.by_host(request.headers.get("host", ""))
    if tenant is None:
        return Frame("政务服务网", "一网")
    visit: Visit | None = getattr(request.state, "visit", None)
    if visit is None and SESSION_COOKIE not in request.cookies:
        visit = Visit(portal, request, tenant)
    if visit is None and may_ask:
        with suppress(Problem):
            visit = await visit_of(request, tenant)
    return visit.frame() if visit else replace(Visit(portal, request, tenant).frame(), log_in="")
