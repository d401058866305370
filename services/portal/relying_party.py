"""A site as a relying party of identity: OpenID Connect, authorization code with PKCE. One client for each tenant."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
import structlog
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError

from services.kernel.problems import Problem, Unavailable
from services.kernel.runtime import Kernel
from services.kernel.tenancy import Tenant
from services.kernel.tokens import ALGORITHMS
from services.portal.sealing import derive_key, seal_text, unseal_text
from services.portal.store.sessions import Tokens, Who

log = structlog.get_logger(__name__)

SCOPE = "openid profile phone roles"
ATTEMPT_SECONDS = 600
LONGEST_NEXT = 2400
SEEN_SECONDS = 10.0


class LogInFailed(Problem):
    """The way back from identity does not belong to a way out from here."""

    def __init__(self, detail: str) -> None:
        super().__init__(400, "log-in-failed", detail)


class CodeRefused(LogInFailed):
    """Identity takes the code no more: it is too old, or was redeemed before and the answer was lost."""


class SessionOver(Exception):
    """Identity no longer renews these tokens: the person logged out, or was away too long."""


@dataclass(frozen=True)
class Departure:
    """Where to send the browser, and what to remember of it until it comes back."""

    url: str
    cookie: str
    sealed: str


@dataclass(frozen=True)
class Arrival:
    who: Who
    tokens: Tokens


class RelyingParty:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._seen_until = 0.0

    async def require_identity(self) -> None:
        """Raises Unavailable when identity does not answer; an answer counts for some seconds."""
        if time.monotonic() < self._seen_until:
            return
        try:
            answer = await self._kernel.http.get(f"{self._kernel.directory.issuer}/.well-known/openid-configuration")
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise Unavailable("identity") from error
        self._seen_until = time.monotonic() + SEEN_SECONDS

    def depart(self, tenant: Tenant, next_path: str, *, quiet: bool = False, again: bool = False) -> Departure:
        """A log-in begins. `quiet` asks identity to answer at once, without a page, whether it knows the browser.

        `again` is remembered: the log-in has been begun anew by itself, which happens once.
        """
        state, nonce, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        parameters = {
            "response_type": "code",
            "client_id": tenant.code,
            "redirect_uri": f"{tenant.url}/callback",
            "scope": SCOPE,
            "state": state,
            "nonce": nonce,
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        if quiet:
            parameters["prompt"] = "none"
        attempt = {
            "state": state,
            "nonce": nonce,
            "verifier": verifier,
            "next": _short(next_path),
            "quiet": quiet,
            "again": again,
            "until": time.time() + ATTEMPT_SECONDS,
        }
        return Departure(
            f"{self._kernel.directory.issuer}/authorize?{urlencode(parameters)}",
            attempt_cookie(state),
            seal_text(self._key(tenant), attempt),
        )

    def attempt(self, tenant: Tenant, state: str, sealed: str | None) -> dict[str, Any]:
        """What was remembered of the way out. Raises LogInFailed when it is not this browser's, or too old."""
        attempt = unseal_text(self._key(tenant), sealed) if sealed else None
        if attempt is None or not secrets.compare_digest(attempt["state"].encode(), state.encode()):
            raise LogInFailed("the answer belongs to no log-in of this browser")
        if attempt["until"] < time.time():
            raise LogInFailed("the log-in took too long")
        return attempt

    async def arrive(self, tenant: Tenant, attempt: dict[str, Any], code: str) -> Arrival:
        """The code becomes tokens, and the ID token proves who came.

        Raises:
            CodeRefused: identity refuses the code.
            LogInFailed: the ID token is not for this log-in.
            Unavailable: identity does not answer.
        """
        answer = await self._token(
            tenant,
            grant_type="authorization_code",
            code=code,
            redirect_uri=f"{tenant.url}/callback",
            code_verifier=attempt["verifier"],
        )
        if answer.is_client_error:
            raise CodeRefused("identity refused the code")
        document = _document(answer)
        claims = await self._check(tenant, str(document.get("id_token", "")), attempt["nonce"])
        phone = str(claims.get("phone_number", "")).removeprefix("+86")
        who = Who(str(claims["sub"]), str(claims.get("name", "")), phone)
        return Arrival(who, _tokens(document, document["id_token"]))

    async def renew(self, tenant: Tenant, tokens: Tokens) -> Tokens:
        """Fresh tokens for old. Raises SessionOver, or Unavailable."""
        answer = await self._token(tenant, grant_type="refresh_token", refresh_token=tokens.refresh)
        if answer.is_client_error:
            raise SessionOver
        return _tokens(_document(answer), tokens.identity, tokens.refresh)

    def farewell(self, tenant: Tenant, tokens: Tokens) -> str:
        """The address at identity that ends the person's session there and comes back to the site."""
        parameters = {
            "id_token_hint": tokens.identity,
            "client_id": tenant.code,
            "post_logout_redirect_uri": f"{tenant.url}/",
        }
        return f"{self._kernel.directory.issuer}/end-session?{urlencode(parameters)}"

    async def _token(self, tenant: Tenant, **form: str) -> httpx.Response:
        secret = self._kernel.directory.secret(tenant.code, "client_secret")
        try:
            answer = await self._kernel.http.post(
                f"{self._kernel.directory.issuer}/token", data=form, auth=(tenant.code, secret)
            )
        except httpx.HTTPError as error:
            raise Unavailable("identity") from error
        if not answer.is_success and not _grant_refused(answer):
            # Also a client secret that this host does not know yet: nobody's session ends for that.
            log.warning("identity.token_refused", status=answer.status_code)
            raise Unavailable("identity")
        return answer

    async def _check(self, tenant: Tenant, id_token: str, nonce: str) -> dict[str, Any]:
        keys = await self._kernel.verifier.keys_for(id_token)
        expected = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": self._kernel.directory.issuer},
            aud={"essential": True, "value": tenant.code},
            nonce={"essential": True, "value": nonce},
            exp={"essential": True},
            sub={"essential": True},
        )
        try:
            decoded = jwt.decode(id_token, keys, algorithms=ALGORITHMS)
            expected.validate(decoded.claims)
        except (JoseError, ValueError) as error:
            raise LogInFailed("the ID token is not for this log-in") from error
        claims: dict[str, Any] = decoded.claims
        return claims

    def _key(self, tenant: Tenant) -> bytes:
        secret = self._kernel.directory.secret(tenant.code, "client_secret")
        return derive_key(secret.encode(), "log-in attempt")


def _grant_refused(answer: httpx.Response) -> bool:
    """Whether the code or refresh token is no good, and not we (RFC 6749, 5.2)."""
    try:
        return answer.is_client_error and bool(answer.json().get("error") == "invalid_grant")
    except (ValueError, AttributeError):
        return False


def _document(answer: httpx.Response) -> dict[str, Any]:
    """The tokens. Raises Unavailable when it is somebody else who answers in identity's place."""
    try:
        document: dict[str, Any] = answer.json()
        float(document["expires_in"]), document["access_token"].encode()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("identity.token_unreadable", status=answer.status_code)
        raise Unavailable("identity") from error
    return document


def _short(next_path: str) -> str:
    """The way back has room in a cookie, of which browsers keep 4 KiB: a longer one loses its query."""
    kept = (next_path, next_path.partition("?")[0], "/")
    return next(path for path in kept if len(json.dumps(path)) <= LONGEST_NEXT)


def attempt_cookie(state: str) -> str:
    """Log-ins in two tabs do not disturb each other: each has a cookie of its own."""
    return f"__Host-yiwang-login-{''.join(filter(str.isalnum, state))[:8]}"


def _tokens(document: dict[str, Any], identity: str, refresh: str = "") -> Tokens:
    return Tokens(
        access=document["access_token"],
        refresh=document.get("refresh_token", refresh),
        identity=identity,
        expires_at=time.time() + float(document["expires_in"]),
    )
