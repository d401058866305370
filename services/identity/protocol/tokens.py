"""Access tokens: JWTs that the services check by themselves (kernel/tokens.py), and what they say of a person."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError

from services.identity.keys import ALGORITHM, SigningKeys
from services.identity.protocol.clients import Client
from services.kernel.problems import NotAuthenticated
from services.kernel.tokens import AUDIENCE


@dataclass(frozen=True)
class Subject:
    """A person as tokens tell of them, in one of their sessions."""

    sub: str
    session: str
    name: str
    username: str = ""
    phone: str | None = None
    roles: list[dict[str, str]] = field(default_factory=list)

    def claims(self, scope: str) -> dict[str, Any]:
        """The standard's claims (OpenID Connect Core 5.1) that this scope opens."""
        words = scope.split()
        claims: dict[str, Any] = {"sub": self.sub}
        if "profile" in words:
            claims |= {"name": self.name, "preferred_username": self.username}
        if "phone" in words and self.phone:
            # nobody has proved the number yet: that takes text messages
            claims |= {"phone_number": f"+86{self.phone}", "phone_number_verified": False}
        if "roles" in words:
            claims["roles"] = self.roles
        return claims


class AccessTokens:
    def __init__(self, issuer: Callable[[], str], keys: Callable[[], SigningKeys], life: timedelta) -> None:
        self._issuer = issuer
        self._keys = keys
        self.seconds = int(life.total_seconds())

    def for_person(self, person: Subject, client: Client, scope: str) -> str:
        claims = {"sub": person.sub, "sid": person.session, "name": person.name, "roles": person.roles}
        return self._sign(claims, client, scope)

    def for_machine(self, client: Client) -> str:
        return self._sign({"sub": client.machine_subject}, client, client.machine_scope)

    def _sign(self, claims: dict[str, Any], client: Client, scope: str) -> str:
        now = int(time.time())
        keys = self._keys()
        header = {"alg": ALGORITHM, "typ": "at+jwt", "kid": keys.current.kid}
        claims |= {
            "iss": self._issuer(),
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + self.seconds,
            "jti": secrets.token_urlsafe(12),
            "client_id": client.client_id,
            "scope": scope,
        }
        return jwt.encode(header, claims, keys.current, [ALGORITHM])

    def read(self, token: str) -> dict[str, Any]:
        """The claims of one of our access tokens. Raises NotAuthenticated."""
        try:
            decoded = jwt.decode(token, self._keys().verifying(), algorithms=[ALGORITHM])
            jwt.JWTClaimsRegistry(
                iss={"essential": True, "value": self._issuer()},
                aud={"essential": True, "value": AUDIENCE},
                exp={"essential": True},
                sub={"essential": True},
            ).validate(decoded.claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise NotAuthenticated() from error
        return decoded.claims

    def hinted(self, id_token: str, client: Client) -> str | None:
        """The subject of an ID token that we gave to this client, however long ago; None when it is no such token."""
        try:
            decoded = jwt.decode(id_token, self._keys().verifying(), algorithms=[ALGORITHM])
        except (JoseError, ValueError, TypeError, KeyError):
            return None
        ours = decoded.claims.get("iss") == self._issuer() and decoded.claims.get("aud") == client.client_id
        return str(decoded.claims.get("sub")) if ours else None
