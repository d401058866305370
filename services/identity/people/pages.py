"""Registration."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from services.identity.errors import PageRoute
from services.identity.parts import CurrentIdentity, Identity
from services.identity.passwords import weakness
from services.identity.people import store
from services.identity.people.notices import Registered
from services.identity.people.schema import person_fields, registration_errors
from services.identity.sessions.browser import keep_session, safe_next
from services.identity.sessions.pages import site_name
from services.kernel.problems import Problem
from services.pages.forms import SESSION_COOKIE, read_anybodys_form

router = APIRouter(route_class=PageRoute, include_in_schema=False)

TAKEN = {"username": "这个用户名已被使用，请换一个", "phone": "这个手机号已注册，请直接登录"}


@router.get("/register")
async def register_page(request: Request, identity: CurrentIdentity) -> Response:
    return _show(request, identity, safe_next(request.query_params.get("next", "/")))


@router.post("/register")
async def register(request: Request, identity: CurrentIdentity) -> Response:
    fields = person_fields(await read_anybodys_form(request))
    onward = safe_next(fields.get("next", "/"))
    errors = form_errors(fields)
    browser = identity.browser(request)
    if not errors:
        wait = await identity.sessions.count_registration(browser)
        if wait:
            raise Problem(429, "too-many", headers={"Retry-After": str(wait)})
        password_hash = await identity.passwords.hash(fields["password"])
        try:
            async with identity.kernel.doors.own_connection() as connection, connection.transaction():
                person = await store.add(
                    connection, fields["username"], fields["phone"], fields["name"], password_hash, ""
                )
        except store.Taken as taken:
            errors = {taken.field: TAKEN[taken.field]}
    if errors:
        return _show(request, identity, onward, values=fields, errors=errors, status=422)
    await tell_registered(identity, fields["phone"], fields["username"])
    token = secrets.token_urlsafe(32)
    await identity.sessions.begin(person, [], token, request.cookies.get(SESSION_COOKIE, ""), browser)
    response = RedirectResponse(onward, status_code=303)
    keep_session(response, token, browser.device)
    return response


def form_errors(fields: dict[str, str]) -> dict[str, str]:
    errors = registration_errors(fields)
    weak = weakness(fields["password"], fields["username"])
    if weak:
        errors["password"] = weak
    elif fields["password"] != fields["repeated"]:
        errors["repeated"] = "两次输入的密码不一致"
    return errors


async def tell_registered(identity: Identity, phone: str, username: str) -> None:
    """Whose telephone it is learns of the account that somebody opened with it."""
    frame = identity.site.frame()
    notice = Registered(site=frame.title, username=username, service_phone=frame.phone)
    await identity.kernel.carrier.send(phone, notice)


def _show(request: Request, identity: Identity, onward: str, **words: Any) -> Response:
    words = {"values": {}, "errors": {}, "status": 200, **words}
    log_in = f"/login?{urlencode({'next': onward})}"
    return identity.site.page(
        request, "register.html", next=onward, log_in=log_in, to=site_name(identity, onward), **words
    )
