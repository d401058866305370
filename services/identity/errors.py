"""Errors on the identity site as pages: what happened, what to do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from services.kernel.http import as_problem, log_problem
from services.pages.errors import ErrorWords, Words

# By kind of problem.
WORDS: Mapping[str, Words] = {
    "forged-form": ("页面已过期", "为了您的安全，表单停留太久或从别处提交时不会被接受。请返回重新填写。"),
    "strange-form": (
        "登录的人已经变了",
        "打开这个页面以后，登录已经更换或结束，这一步没有执行。请返回并刷新页面，看清登录的是谁再操作。",
    ),
    "busy": ("登录的人太多", "系统正忙，请稍等几秒后再试。"),
    "too-many": ("操作过于频繁", "请稍等片刻再试。"),
    "database-unavailable": ("服务正在恢复", "现在暂时不能登录。已经登录的网站不受影响，请稍后再试。"),
    "invitation-gone": ("邀请链接已失效", "链接可能已被使用或超过有效期。请联系发出邀请的管理员重新发送。"),
    "not-a-site": (
        "无法从这里登录",
        "登录请求不是由省内政务服务网站发出的，或者该网站尚未开通。请从所在市、县的政务服务网进入。",
    ),
}
BY_STATUS: Mapping[int, Words] = {
    404: ("没有找到这个页面", "网址可能有误，请从政务服务网进入。"),
    405: ("页面已过期", "请返回后重新打开页面。"),
    413: ("内容太多", "提交的内容超过了限制。"),
    422: ("有一项内容没有被接受", "请用浏览器的“后退”回到填写的页面，改好后再提交。"),
    503: ("服务正在恢复", "请稍后刷新页面。"),
}
SITE = ErrorWords(
    WORDS,
    BY_STATUS,
    broken_link=("这个链接打不开", "网址不完整或已经失效，可能是复制时缺了一段。请从政务服务网重新进入。"),
    refused=("这个请求没有被接受", "请返回上一页，或从政务服务网重新进入。"),
    otherwise=("服务出了点问题", "我们已经记录下来，请稍后再试。"),
)


class PageRoute(APIRoute):
    """A route for a browser: what goes wrong is a page, not a document for programs."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_with_pages(request: Request) -> Response:
            try:
                return await answer(request)
            except Exception as error:
                problem = as_problem(error)
                log_problem(problem, error)
                response: Response = request.app.state.parts.site.problem(request, problem)
                return response

        return answer_with_pages
