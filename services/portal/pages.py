"""The way to identity and back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import RedirectResponse, Response

from services.pages.cookies import drop_cookie, keep_cookie
from services.pages.forms import SESSION_COOKIE, read_anybodys_form
from services.portal.relying_party import ATTEMPT_SECONDS, CodeRefused, LogInFailed, attempt_cookie
from services.portal.store.sessions import LONGEST
from services.portal.visit import AnyVisit, Visit, local_path

router = APIRouter(tags=["log-in"])

# What identity answers to a quiet question when it would need the person, or is in trouble.
NOT_QUIETLY = frozenset(
    {
        "login_required",
        "interaction_required",
        "consent_required",
        "account_selection_required",
        "temporarily_unavailable",
    }
)


@router.get("/login", response_class=RedirectResponse, status_code=303)
async def log_in(
    visit: AnyVisit,
    next_path: Annotated[str, Query(alias="next")] = "/",
    quiet: bool = False,
) -> Response:
    """To identity; `quiet` comes back at once, logged in where the browser already has a session there."""
    return await send_to_identity(visit, local_path(next_path), quiet=quiet)


async def send_to_identity(visit: Visit, next_path: str, *, quiet: bool = False, again: bool = False) -> Response:
    """Raises Unavailable when identity is out: a page of ours says more than a browser's own error."""
    await visit.portal.relying_party.require_identity()
    departure = visit.portal.relying_party.depart(visit.tenant, next_path, quiet=quiet, again=again)
    response = RedirectResponse(departure.url, status_code=303, headers={"cache-control": "no-store"})
    keep_cookie(response, departure.cookie, departure.sealed, ATTEMPT_SECONDS)
    return response


@router.get("/callback", response_class=RedirectResponse, status_code=303)
async def come_back(visit: AnyVisit, state: str = "", code: str = "", error: str = "", iss: str = "") -> Response:
    """From identity, with a code or the reason why there is none."""
    cookie = attempt_cookie(state)
    attempt = visit.portal.relying_party.attempt(visit.tenant, state, visit.request.cookies.get(cookie))
    response = RedirectResponse(local_path(attempt["next"]), status_code=303, headers={"cache-control": "no-store"})
    drop_cookie(response, cookie)
    if iss and iss != visit.portal.kernel.directory.issuer:
        raise LogInFailed("the answer is another provider's")
    if error in NOT_QUIETLY:
        return response
    if error or not code:
        raise LogInFailed(f"identity answered {error or 'without a code'}")
    try:
        arrival = await visit.portal.relying_party.arrive(visit.tenant, attempt, code)
    except CodeRefused:
        # the page was loaded anew after an answer that was lost: identity knows the person by now
        if attempt.get("again"):
            raise
        return await send_to_identity(visit, local_path(attempt["next"]), quiet=bool(attempt.get("quiet")), again=True)
    if visit.session:
        await visit.portal.sessions.end(visit.tenant.code, visit.session)
    secret = await visit.portal.sessions.begin(visit.tenant.code, arrival.who, arrival.tokens)
    keep_cookie(response, SESSION_COOKIE, secret, int(LONGEST.total_seconds()))
    return response


@router.post("/logout", response_class=RedirectResponse, status_code=303)
async def log_out(visit: AnyVisit) -> Response:
    """Ends the session here, then at identity, so that the next log-in asks for the password."""
    await read_anybodys_form(visit.request)
    if visit.session is None:
        return RedirectResponse("/", status_code=303)
    await visit.portal.sessions.end(visit.tenant.code, visit.session)
    farewell = visit.portal.relying_party.farewell(visit.tenant, visit.session.tokens)
    response = RedirectResponse(farewell, status_code=303)
    drop_cookie(response, SESSION_COOKIE)
    return response
