"""The page behind an invitation's link: choose a name and a password, or take the office up with one's account."""

from __future__ import annotations

import secrets
import uuid
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from services.identity.errors import PageRoute
from services.identity.invitations import store
from services.identity.invitations.store import Invitation
from services.identity.parts import CurrentIdentity, Identity
from services.identity.people import store as people
from services.identity.people.pages import TAKEN, form_errors, tell_registered
from services.identity.people.schema import person_fields
from services.identity.sessions.browser import keep_session
from services.kernel.calendar import SHANGHAI
from services.kernel.problems import Problem
from services.pages.forms import SESSION_COOKIE, StrangeForm, receive_form

router = APIRouter(route_class=PageRoute, include_in_schema=False)

GONE = Problem(410, "invitation-gone")


@router.get("/invitation/{token}")
async def invitation_page(token: str, request: Request, identity: CurrentIdentity) -> Response:
    """Looking at the page uses nothing up: mail programs look at links, too."""
    return await _show(request, identity, token, await _find(identity, token))


@router.post("/invitation/{token}")
async def accept(token: str, request: Request, identity: CurrentIdentity) -> Response:
    form = await receive_form(request)
    fields = person_fields(form.fields)
    invitation = await _find(identity, token)
    if fields.get("as") == "myself":
        if not form.of_this_log_in:
            raise StrangeForm(form)
        return await _accept_as_myself(request, identity, token)
    errors = form_errors(fields)
    if not errors:
        password_hash = await identity.passwords.hash(fields["password"])
        try:
            person = await _take_up(identity, token, fields, password_hash)
        except people.Taken as taken:
            errors = {taken.field: TAKEN[taken.field]}
    if errors:
        return await _show(request, identity, token, invitation, values=fields, errors=errors, status=422)
    await tell_registered(identity, fields["phone"], fields["username"])
    browser = identity.browser(request)
    session = secrets.token_urlsafe(32)
    await identity.sessions.begin(person, [], session, request.cookies.get(SESSION_COOKIE, ""), browser)
    response = _to_the_site(identity, invitation)
    keep_session(response, session, browser.device)
    return response


async def _accept_as_myself(request: Request, identity: Identity, token: str) -> Response:
    session = await identity.session(request)
    if session is None:
        return RedirectResponse(f"/login?next=/invitation/{token}", status_code=303)
    async with identity.kernel.doors.own_connection() as connection, connection.transaction():
        taken = await store.use(connection, token)
        if taken is None:
            raise GONE
        await store.take_office(connection, token, session.person, taken.office)
    return _to_the_site(identity, taken)


async def _take_up(identity: Identity, token: str, fields: dict[str, str], password_hash: str) -> uuid.UUID:
    """Use the invitation and make the person, both or neither."""
    async with identity.kernel.doors.own_connection() as connection, connection.transaction():
        taken = await store.use(connection, token)
        if taken is None:
            raise GONE
        person = await people.add(
            connection, fields["username"], fields["phone"], fields["name"], password_hash, "invitation"
        )
        await store.take_office(connection, token, person, taken.office)
    return person


async def _find(identity: Identity, token: str) -> Invitation:
    async with identity.kernel.doors.own_connection() as connection:
        invitation = await store.find(connection, token)
    if invitation is None:
        raise GONE
    return invitation


def _to_the_site(identity: Identity, invitation: Invitation) -> Response:
    tenant = identity.directory.by_code(invitation.office.tenant)
    return RedirectResponse(f"{tenant.url}/login" if tenant else "/", status_code=303)


async def _show(request: Request, identity: Identity, token: str, invitation: Invitation, **words: Any) -> Response:
    # no name is proposed: an invitation may name the office, which nobody should have as their own by oversight
    words = {"values": {}, "errors": {}, "status": 200, **words}
    tenant = identity.directory.by_code(invitation.office.tenant)
    session = await identity.session(request)
    response = identity.site.page(
        request,
        "invitation.html",
        token=token,
        invitation=invitation,
        place=tenant.name if tenant else invitation.office.tenant,
        until=invitation.expires_at.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M"),
        myself=session,
        **words,
    )
    # The address is a secret: it travels on as no referrer, not even to ourselves. The origin does, or a browser would
    # not say where the form comes from.
    response.headers["referrer-policy"] = "strict-origin"
    return response
