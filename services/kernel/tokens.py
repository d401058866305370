"""Access tokens: checked against the identity service's keys, remembered until they expire."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, KeySetSerialization
from pydantic import BaseModel, ValidationError

from services.kernel.problems import NotAuthenticated, Problem, Unavailable

log = structlog.get_logger(__name__)

AUDIENCE = "yiwang"
ALGORITHMS = ["ES256"]


@dataclass(frozen=True, slots=True)
class Role:
    """A person's office: `role` is clerk or administrator of a tenant's department."""

    tenant: str
    department: str
    role: str


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: a person, a tenant's relay, or the operator."""

    sub: str
    client_id: str
    scope: frozenset[str]
    expires_at: float
    name: str = ""
    roles: tuple[Role, ...] = ()

    @property
    def is_person(self) -> bool:
        return not self.scope & {"relay", "operator"}

    @property
    def is_operator(self) -> bool:
        return "operator" in self.scope

    def office(self, tenant: str, role: str) -> Role | None:
        """The person's first office of this kind in the tenant, or none."""
        return next((office for office in self.roles if office.tenant == tenant and office.role == role), None)


class _RoleClaim(BaseModel):
    tenant: str
    department: str
    role: str


class _Claims(BaseModel):
    sub: str
    client_id: str
    exp: float
    scope: str = ""
    name: str = ""
    roles: list[_RoleClaim] = []


FetchKeys = Callable[[], Awaitable[dict[str, Any]]]


class Verifier:
    """Checks tokens. When identity is out, the keys fetched last go on serving."""

    REFETCH_SECONDS = 5.0
    REFRESH_SECONDS = 300.0
    REMEMBERED = 20_000

    def __init__(self, issuer: Callable[[], str], fetch_keys: FetchKeys, now: Callable[[], float] = time.time) -> None:
        self._issuer = issuer
        self._fetch_keys = fetch_keys
        self._now = now
        self._keys: KeySet | None = None
        self._kids: frozenset[str] = frozenset()
        self._tried_at = 0.0
        self._fetching = asyncio.Lock()
        self._known: dict[bytes, Principal] = {}

    @property
    def has_keys(self) -> bool:
        return self._keys is not None

    @property
    def was_asked(self) -> bool:
        """Whether keys were ever needed: a service without a visitor yet has none, and misses none."""
        return self._tried_at > 0

    async def finds_keys(self) -> bool:
        """Whether tokens can be checked now. Keys that were needed and not to be had are asked for again: otherwise
        they would be missed until the next visitor, however well identity is by then."""
        if self._keys is None and self.was_asked and self._now() - self._tried_at > self.REFETCH_SECONDS:
            await self.refresh()
        return self.has_keys

    def remembered(self, token: bytes) -> Principal | None:
        """The principal of a token checked before and not yet expired. Cheap: no signature is computed."""
        digest = hashlib.sha256(token).digest()
        principal = self._known.get(digest)
        if principal is not None and principal.expires_at <= self._now():
            del self._known[digest]
            return None
        return principal

    async def verify(self, token: str) -> Principal:
        """The principal of a token.

        Raises:
            NotAuthenticated: the token is no good.
            Unavailable: no keys yet, and identity does not answer.
        """
        encoded = token.encode("utf-8", "surrogateescape")
        principal = self.remembered(encoded)
        if principal is None:
            principal = await self._check(token)
            if len(self._known) >= self.REMEMBERED:
                self._forget_some()
            self._known[hashlib.sha256(encoded).digest()] = principal
        return principal

    async def _check(self, token: str) -> Principal:
        keys = await self.keys_for(token)
        try:
            decoded = jwt.decode(token, keys, algorithms=ALGORITHMS)
            self._registry().validate(decoded.claims)
            claims = _Claims.model_validate(decoded.claims)
        except (JoseError, ValidationError, ValueError, TypeError, KeyError, UnicodeError) as error:
            raise NotAuthenticated() from error
        return Principal(
            sub=claims.sub,
            client_id=claims.client_id,
            scope=frozenset(claims.scope.split()),
            expires_at=claims.exp,
            name=claims.name,
            roles=tuple(Role(role.tenant, role.department, role.role) for role in claims.roles),
        )

    def _registry(self) -> jwt.JWTClaimsRegistry:
        return jwt.JWTClaimsRegistry(
            now=lambda: int(self._now()),
            iss={"essential": True, "value": self._issuer()},
            aud={"essential": True, "value": AUDIENCE},
            exp={"essential": True},
            sub={"essential": True},
        )

    async def keys_for(self, token: str) -> KeySet:
        """The key set, fetched again for a key id not seen before and from time to time; old keys stay on failure."""
        age = self._now() - self._tried_at
        unknown = _key_id(token) not in self._kids
        if self._keys is None or (unknown and age > self.REFETCH_SECONDS) or age > self.REFRESH_SECONDS:
            await self.refresh()
        if self._keys is None:
            raise Unavailable("identity")
        return self._keys

    async def refresh(self) -> None:
        """Fetch the keys; callers meanwhile share one fetch. Identity out: keep the old set and say so in the log."""
        waited_since = self._now()
        async with self._fetching:
            if self._keys is not None and self._tried_at > waited_since:
                return
            try:
                document: KeySetSerialization = await self._fetch_keys()  # type: ignore[assignment]
                self._keys = KeySet.import_key_set(document)
                self._kids = frozenset(str(key.get("kid")) for key in document["keys"])
                self._known.clear()
            except Exception as error:  # whatever identity's trouble is, known keys go on serving
                log.warning("tokens.keys_not_fetched", error=repr(error))
            finally:  # whoever asked may be gone by now
                self._tried_at = self._now()

    def _forget_some(self) -> None:
        now = self._now()
        self._known = {digest: principal for digest, principal in self._known.items() if principal.expires_at > now}
        for digest in list(self._known)[: max(0, len(self._known) - self.REMEMBERED // 2)]:
            del self._known[digest]


def _key_id(token: str) -> str:
    """The key id that a token names, before anything about it is checked."""
    try:
        header = json.loads(urlsafe_b64decode(token.partition(".")[0] + "=="))
        return str(header["kid"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


_bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", description="Access token of the identity service")


async def optional_principal(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Principal | None:
    if credentials is None:
        return None
    verifier: Verifier = request.app.state.kernel.verifier
    return await verifier.verify(credentials.credentials)


async def authenticated(principal: Annotated[Principal | None, Depends(optional_principal)]) -> Principal:
    if principal is None:
        raise NotAuthenticated()
    return principal


Caller = Annotated[Principal, Depends(authenticated)]
OptionalCaller = Annotated[Principal | None, Depends(optional_principal)]


async def person(principal: Caller) -> Principal:
    if not principal.is_person:
        raise Problem(403, "people-only", "Only people may do this.")
    return principal


async def operator(principal: Caller) -> Principal:
    if not principal.is_operator:
        raise Problem(403, "operator-only", "Only the operator may do this.")
    return principal


async def relay(principal: Caller) -> Principal:
    if "relay" not in principal.scope or principal.sub != f"tenant:{principal.client_id}":
        raise Problem(403, "relay-only", "Only a tenant's relay may do this.")
    return principal


Person = Annotated[Principal, Depends(person)]
Operator = Annotated[Principal, Depends(operator)]
RelayCaller = Annotated[Principal, Depends(relay)]
