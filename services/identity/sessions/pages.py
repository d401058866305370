"""Pages of the session: log-in, the account with its sessions, log-out (RP-initiated and our own)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from math import ceil
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from authlib.oauth2.base import OAuth2Error
from authlib.oidc.rpinitiated import EndSessionRequest
from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from services.identity.errors import PageRoute
from services.identity.parts import CurrentIdentity, Identity
from services.identity.protocol.requests import ProtocolRequest
from services.identity.sessions.browser import forget_session, keep_session, safe_next
from services.identity.sessions.log_in import Refused, log_in
from services.kernel.calendar import SHANGHAI
from services.pages.forms import SESSION_COOKIE, read_anybodys_form, read_form

router = APIRouter(route_class=PageRoute, include_in_schema=False)

HINTED = ("id_token_hint", "client_id", "post_logout_redirect_uri", "state")


@router.get("/login")
async def log_in_page(request: Request, identity: CurrentIdentity) -> Response:
    onward = safe_next(request.query_params.get("next", "/"))
    session = await identity.session(request)
    if session and not request.query_params.get("again"):
        return RedirectResponse(onward, status_code=303)
    return _show_log_in(request, identity, onward, login=session.username if session else "")


@router.post("/login")
async def log_in_by_form(request: Request, identity: CurrentIdentity) -> Response:
    fields = await read_anybodys_form(request)
    onward = safe_next(fields.get("next", "/"))
    browser = identity.browser(request)
    result = await log_in(
        identity.sessions,
        identity.passwords,
        fields.get("login", ""),
        fields.get("password", ""),
        browser,
        request.cookies.get(SESSION_COOKIE, ""),
    )
    if isinstance(result, Refused):
        return _refuse(request, identity, onward, fields.get("login", ""), result)
    response = RedirectResponse(onward, status_code=303)
    keep_session(response, result.token, browser.device)
    return response


def _refuse(request: Request, identity: Identity, onward: str, login: str, refused: Refused) -> Response:
    if not refused.wait:
        errors = {"": "用户名或密码不正确，请重新输入"}
        return _show_log_in(request, identity, onward, login=login[:64], errors=errors, status=401)
    minutes = -(-refused.wait // 60)
    errors = {"": f"尝试次数过多，请 {minutes} 分钟后再试"}
    response = _show_log_in(request, identity, onward, login=login[:64], errors=errors, status=429)
    response.headers["retry-after"] = str(refused.wait)
    return response


def _show_log_in(request: Request, identity: Identity, onward: str, **words: Any) -> Response:
    words = {"errors": {}, "status": 200, **words}
    register = f"/register?{urlencode({'next': onward})}"
    return identity.site.page(
        request, "login.html", next=onward, register=register, to=site_name(identity, onward), **words
    )


def site_name(identity: Identity, onward: str) -> str:
    """The name of the site to which the log-in leads, if it leads to one."""
    parts = urlsplit(onward)
    code = parse_qs(parts.query).get("client_id", [""])[0] if parts.path == "/authorize" else ""
    tenant = identity.directory.by_code(code)
    return f"{tenant.name}政务服务" if tenant else ""


# ---- the account ----


@router.get("/")
async def account(request: Request, identity: CurrentIdentity, after: str = "") -> Response:
    session = await identity.session(request)
    if session is None:
        return RedirectResponse("/login", status_code=303)
    subject = await identity.grants.subject(str(session.id))
    names = {tenant.code: tenant.name for tenant in identity.directory.tenants()}
    roles = subject.roles if subject else []
    open_sessions = await identity.sessions.of_person(session.person, after)
    return identity.site.page(
        request,
        "account.html",
        person=session.name,
        session=session,
        offices=[(names.get(role["tenant"], role["tenant"]), role["department"], role["role"]) for role in roles],
        sessions=[
            (open_session, open_session.began_at.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M"))
            for open_session in open_sessions.shown
        ],
        total=open_sessions.total,
        first="/" if after else None,
        following=f"/?{urlencode({'after': open_sessions.next})}" if open_sessions.next else None,
    )


@router.post("/sessions/end")
async def end_one(request: Request, identity: CurrentIdentity) -> Response:
    """Log out one browser, or all of them with `session=all`."""
    fields = await read_form(request)
    session = await identity.session(request)
    if session is None:
        return RedirectResponse("/login", status_code=303)
    chosen = fields.get("session", "")
    try:
        which = None if chosen == "all" else uuid.UUID(chosen)
    except ValueError:
        return RedirectResponse("/", status_code=303)
    await identity.sessions.end(session.person, which, str(session.person))
    if which in (None, session.id):
        return _logged_out(request, identity)
    return RedirectResponse("/", status_code=303)


@router.post("/log-out")
async def log_out(request: Request, identity: CurrentIdentity) -> Response:
    await read_anybodys_form(request)
    session = await identity.session(request)
    if session:
        await identity.sessions.end(session.person, session.id, str(session.person))
    return _logged_out(request, identity)


# ---- RP-initiated logout ----


@router.get("/end-session")
async def end_session(request: Request, identity: CurrentIdentity) -> Response:
    return await _end_session(request, identity, _once(request.query_params.multi_items()))


@router.post("/end-session")
async def end_session_by_form(request: Request, identity: CurrentIdentity) -> Response:
    """From a site, as the standard allows; or from our own question, which must prove that it is ours."""
    async with request.form(max_files=0, max_fields=20) as form:
        fields = _once([(name, value) for name, value in form.multi_items() if isinstance(value, str)])
    confirmed = "csrf" in fields
    if confirmed:
        fields = await read_anybodys_form(request)
    return await _end_session(request, identity, fields, confirmed=confirmed)


def _once(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """The parameters; none when one is there twice, since then they prove nothing."""
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else {}


async def _end_session(
    request: Request, identity: Identity, fields: dict[str, str], confirmed: bool = False
) -> Response:
    """End the session that the ID token names, and the browser's own. Without proof that the person wants it, ask."""
    wanted = ProtocolRequest(request.method, f"{identity.directory.issuer}/end-session", {}, fields.items())
    session = await identity.session(request)
    try:
        asked: EndSessionRequest = identity.provider.validate_endpoint_request("end_session", wanted)
    except OAuth2Error:
        # a token that is none of ours proves nothing: no redirection, and the person is asked (section 4)
        asked, fields = EndSessionRequest(request=wanted), {}
    # an access token is signed by the same key, but its audience is no site
    claims = (asked.id_token_claims or {}) if asked.client else {}
    strange = session is not None and claims.get("sub") != str(session.person)
    if strange and not confirmed:
        kept = {name: fields[name] for name in HINTED if fields.get(name)}
        person = session.name if session else ""
        return identity.site.page(request, "end_session.html", person=person, fields=kept, minutes=_lag(identity))
    if claims.get("sid"):
        await identity.sessions.end(uuid.UUID(claims["sub"]), uuid.UUID(claims["sid"]), claims["sub"])
    if session:
        await identity.sessions.end(session.person, session.id, str(session.person))
    return _logged_out(request, identity, asked.redirect_uri)


def _logged_out(request: Request, identity: Identity, onward: str | None = None) -> Response:
    response: Response = (
        RedirectResponse(onward, status_code=303)
        if onward
        else identity.site.page(request, "logged_out.html", minutes=_lag(identity))
    )
    forget_session(response)
    return response


def _lag(identity: Identity) -> int:
    """After so many minutes the last site has noticed a log-out: it asks when its access token has ended."""
    return ceil(identity.settings.access_token / timedelta(minutes=1))
