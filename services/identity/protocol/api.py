"""The protocol's endpoints. What is right is for Authlib's core to say; here HTTP and the database meet it."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from authlib.oauth2.base import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidScopeError
from fastapi import APIRouter, Depends, Request
from fastapi.openapi.models import OAuthFlowClientCredentials, OAuthFlows
from fastapi.security import OAuth2
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from services.identity.errors import PageRoute
from services.identity.parts import CurrentIdentity, Identity
from services.identity.protocol.discovery import metadata
from services.identity.protocol.parameters import AUTHORIZATION, Wish, check_token_request, read_wish
from services.identity.protocol.requests import Answer, ProtocolRequest
from services.identity.protocol.store import WiderScope
from services.identity.sessions.store import Session
from services.kernel.http import as_problem
from services.kernel.lean import LeanRoute, read_body
from services.kernel.problems import NotAuthenticated, Problem
from services.kernel.runtime import Kernel

router = APIRouter(tags=["OpenID Connect"])
pages = APIRouter(route_class=PageRoute)

# For the description alone: the core reads the client's secret itself.
CLIENTS = OAuth2(
    scheme_name="clients",
    flows=OAuthFlows(
        clientCredentials=OAuthFlowClientCredentials(
            tokenUrl="/token", scopes={"relay": "a tenant's messages", "operator": "the operator's API"}
        )
    ),
    auto_error=False,
)
PUBLIC = {"cache-control": "public, max-age=300"}
LARGEST_FORM = 16 * 1024
FORM = "application/x-www-form-urlencoded"
UNREADABLE = b""
"""A body that is too large or no text: as if nothing had come, which is `invalid_request` to a client."""
TOKEN_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["grant_type"],
                    "properties": {
                        "grant_type": {"enum": ["authorization_code", "refresh_token", "client_credentials"]},
                        "code": {"type": "string"},
                        "redirect_uri": {"type": "string"},
                        "code_verifier": {"type": "string"},
                        "refresh_token": {"type": "string"},
                        "scope": {"type": "string"},
                    },
                }
            }
        },
    },
}


@router.get("/.well-known/openid-configuration")
async def discovery(identity: CurrentIdentity) -> Response:
    return JSONResponse(metadata(identity.directory.issuer), headers=PUBLIC)


@router.get("/jwks")
async def jwks(identity: CurrentIdentity) -> Response:
    return JSONResponse(identity.keys.published(), headers=PUBLIC)


@router.get("/userinfo", operation_id="userinfo")
@router.post("/userinfo", include_in_schema=False)
async def userinfo(request: Request, identity: CurrentIdentity) -> Response:
    """The person of an access token as they are now. 401 as soon as their session has ended, before the token does."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    claims = identity.tokens.read(token) if scheme.lower() == "bearer" else {}
    subject = await identity.grants.subject(claims["sid"]) if claims.get("sid") else None
    if subject is None:
        raise NotAuthenticated()
    return JSONResponse(subject.claims(claims.get("scope", "")), headers={"cache-control": "no-store"})


# ---- authorization ----


@pages.get("/authorize", include_in_schema=False)
async def authorize(request: Request, identity: CurrentIdentity) -> Response:
    wanted = ProtocolRequest("GET", f"{identity.directory.issuer}/authorize", {}, request.query_params.multi_items())
    try:
        wish = read_wish(wanted, identity.clients.find)
        try:
            return await _fulfil(request, identity, wanted, wish)
        except Exception as error:
            if wish.quiet and as_problem(error).status == 503:  # no page may be shown, not even this one
                raise wish.asker.refusal("temporarily_unavailable", "Please ask again soon.") from error
            raise
    except OAuth2Error as error:
        return _refused(identity, wanted, error)


@pages.post("/authorize", include_in_schema=False)
async def authorize_by_form(request: Request, identity: CurrentIdentity) -> Response:
    """The standard allows the request as a form; it goes on as an address, where the session's cookie is sent."""
    async with request.form(max_files=0, max_fields=50) as form:
        pairs = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    wanted = ProtocolRequest("POST", f"{identity.directory.issuer}/authorize", {}, pairs)
    try:
        read_wish(wanted, identity.clients.find)
    except OAuth2Error as error:
        return _refused(identity, wanted, error)
    kept = [(name, value) for name, value in pairs if name in AUTHORIZATION]
    return RedirectResponse(f"/authorize?{urlencode(kept)}", status_code=303)


async def _fulfil(request: Request, identity: Identity, wanted: ProtocolRequest, wish: Wish) -> Response:
    """A code for the site, or the log-in page first. Raises OAuth2Error."""
    browser_session = await identity.session(request)
    session = browser_session if browser_session and wish.is_content_with(browser_session) else None
    grant = identity.provider.get_consent_grant(wanted, session.subject() if session else None)
    hinted = identity.tokens.hinted(wish.hint, wanted.client) if wish.hint else None
    if wish.hint and hinted is None:
        raise wish.asker.refusal("invalid_request", "The 'id_token_hint' is no ID token of this site.")
    if session is None:
        to = {"next": wish.onward, **({"again": "1"} if browser_session else {})}
        return RedirectResponse(f"/login?{urlencode(to)}", status_code=303, headers={"cache-control": "no-store"})
    if hinted not in (None, str(session.person)):
        raise wish.asker.refusal("login_required", "Somebody else has logged in.")
    answer: Answer = identity.provider.create_authorization_response(wanted, wanted.user, grant=grant)
    if wanted.granted_code:
        await _keep_code(identity, wanted, session)
    return _told(identity, answer)


def _refused(identity: Identity, wanted: ProtocolRequest, error: OAuth2Error) -> Response:
    return _told(identity, identity.provider.handle_error_response(wanted, error))


def _told(identity: Identity, answer: Answer) -> Response:
    """The site is told. Raises Problem where there is no address to which the browser may be sent."""
    if answer.status != 302:
        raise Problem(400, "not-a-site", str(answer.body))
    return _with_issuer(answer, identity.directory.issuer)


async def _keep_code(identity: Identity, wanted: ProtocolRequest, session: Session) -> None:
    await identity.grants.keep_code(
        wanted.granted_code,
        wanted.client.client_id,
        str(session.id),
        wanted.args,
        wanted.scope,
        identity.settings.code,
    )


def _with_issuer(answer: Answer, issuer: str) -> Response:
    """Name the issuer in the answer, against mix-up (RFC 9207)."""
    location = urlsplit(dict(answer.headers)["Location"])
    query = urlencode([*parse_qsl(location.query, keep_blank_values=True), ("iss", issuer)])
    headers = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
    return RedirectResponse(urlunsplit(location._replace(query=query)), status_code=302, headers=headers)


# ---- tokens ----


async def token_answer(identity: Identity, request: ProtocolRequest) -> Answer:
    """The token endpoint: the client proves itself, the database says what it was given, the core judges."""
    provider = identity.provider
    try:
        check_token_request(request)
        client = provider.client_of(request)
        form = request.form
        if request.payload.grant_type == "refresh_token" and form.get("refresh_token"):
            request.rotation = await identity.grants.rotate(
                form["refresh_token"], client.client_id, request.payload.scope or ""
            )
        elif request.payload.grant_type == "authorization_code" and form.get("code"):
            request.code = await identity.grants.read_code(form["code"], client.client_id)
        answer: Answer = provider.create_token_response(request)
        if request.code and answer.status == 200:
            await _redeem(identity, form["code"], request.issued_refresh_token)
        return answer
    except WiderScope:
        answer = provider.handle_error_response(request, InvalidScopeError())
    except OAuth2Error as error:
        answer = provider.handle_error_response(request, error)
    return answer


async def _redeem(identity: Identity, code: str, refresh_token: str) -> None:
    """Spend the code. Of two requests that both found it good, the second fails here, and ends what the first got."""
    if not await identity.grants.redeem_code(code, refresh_token):
        raise InvalidGrantError("Invalid 'code' in request.")


@router.post("/token", openapi_extra=TOKEN_FORM, operation_id="token", dependencies=[Depends(CLIENTS)])
async def token(request: Request, identity: CurrentIdentity) -> Response:
    try:
        body = await request.body()
    except HTTPException:
        body = UNREADABLE
    answer = await token_answer(identity, _token_request(identity, dict(request.headers), body))
    return answer.response()


def lean_token(identity: Identity) -> LeanRoute:
    """`/token` without FastAPI's machinery: sites refresh, and relays ask, all day long."""

    async def answer_token(_: Kernel, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            body = await read_body(receive)
        except HTTPException:
            body = UNREADABLE
        answer = await token_answer(identity, _token_request(identity, headers, body))
        await answer.response()(scope, receive, send)

    return answer_token


def _token_request(identity: Identity, headers: dict[str, str], body: bytes) -> ProtocolRequest:
    pairs: list[tuple[str, str]] = []
    if headers.get("content-type", "").partition(";")[0].strip().lower() == FORM and len(body) <= LARGEST_FORM:
        with suppress(ValueError):  # too many fields
            pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=50)
    authorization = headers.get("authorization")
    kept = {"Authorization": authorization} if authorization else {}
    return ProtocolRequest("POST", f"{identity.directory.issuer}/token", kept, pairs)
