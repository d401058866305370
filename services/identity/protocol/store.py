"""Authorization codes and refresh tokens in PostgreSQL. Only hashes of them are kept.

A refresh token names its family (one log-in of one person at one client) and holds a secret; the family remembers
the hash of the one secret that is good now. So a refresh is one update of one row, and any other secret for the
family is an old token used again (or a guess): the family ends.

The successor of a token is derived from it, so that a caller whose answer was lost gets the same one again for a short
time (`refresh_grace`), and nothing has to be kept for that: the family knows its hash already.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import asyncpg

from services.identity.protocol.tokens import Subject
from services.kernel.database import Batches
from services.kernel.tenancy import Doors

READ_CODE = "SELECT * FROM identity.read_code($1, $2)"
REDEEM_CODE = "SELECT identity.redeem_code($1, $2, $3)"
GRANT_CODE = """
    INSERT INTO identity.authorization_code
        (code_hash, client_id, session_id, redirect_uri, scope, nonce, code_challenge, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8)
"""
ALIVE = """
    SELECT p.id AS person_id, s.id AS session_id, p.name, p.username, p.phone, identity.roles_of(p.id) AS roles
    FROM identity.session s JOIN identity.person p ON p.id = s.person_id
    WHERE s.id = $1 AND s.ended_at IS NULL AND s.expires_at > now() AND p.disabled_at IS NULL
"""
ROTATE = """
    SELECT * FROM identity.rotate_refresh_tokens(
        $1::uuid[], $2::text[], $3::bytea[], $4::bytea[], $5::text[], interval '{grace:f} s')
"""


@dataclass(frozen=True)
class Code:
    """An authorization code's row, in the words of Authlib's AuthorizationCodeMixin."""

    subject: Subject
    redirect_uri: str
    scope: str
    nonce: str | None
    code_challenge: str
    auth_time: datetime
    code_challenge_method: str = "S256"

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str | None:
        return self.nonce

    def get_auth_time(self) -> int:
        return int(self.auth_time.timestamp())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> list[str]:
        return ["pwd"]


@dataclass(frozen=True)
class Rotation:
    """A refresh that has happened: the old token is spent, `refresh_token` is the new one."""

    subject: Subject
    client_id: str
    scope: str
    refresh_token: str

    def check_client(self, client: object) -> bool:
        return getattr(client, "client_id", None) == self.client_id

    def get_scope(self) -> str:
        return self.scope


class WiderScope(Exception):
    """A refresh asked for more than the person granted; the token is not spent."""


class Grants:
    """What clients were granted."""

    def __init__(self, doors: Doors, key: Callable[[], bytes], grace: timedelta) -> None:
        self._doors = doors
        self._key = key
        statement = ROTATE.format(grace=grace.total_seconds())
        self._rotations = Batches("refresh", doors.own_connection, statement)

    async def keep_code(
        self, code: str, client_id: str, session: str, parameters: dict[str, str], scope: str, life: timedelta
    ) -> None:
        async with self._doors.own_connection() as connection:
            await connection.execute(
                GRANT_CODE,
                digest(code),
                client_id,
                uuid.UUID(session),
                parameters["redirect_uri"],
                scope,
                parameters.get("nonce"),
                parameters["code_challenge"],
                life,
            )

    async def read_code(self, code: str, client_id: str) -> Code | None:
        """The client's code, if it can still be redeemed. One that was redeemed before ends what it gave."""
        async with self._doors.own_connection() as connection:
            row = await connection.fetchrow(READ_CODE, digest(code), client_id)
        if row is None or row["outcome"] != "good":
            return None
        return Code(
            subject=subject_of(row),
            redirect_uri=row["redirect_uri"],
            scope=row["scope"],
            nonce=row["nonce"],
            code_challenge=row["code_challenge"],
            auth_time=row["auth_time"],
        )

    async def redeem_code(self, code: str, refresh_token: str) -> bool:
        """Spend the code and begin its family, once; False when another request was first: then the family ends."""
        family, secret = parts(refresh_token)
        async with self._doors.own_connection() as connection:
            return bool(await connection.fetchval(REDEEM_CODE, digest(code), family, secret))

    async def subject(self, session: str) -> Subject | None:
        """The person as they are now, while the session lasts."""
        async with self._doors.own_connection() as connection:
            row = await connection.fetchrow(ALIVE, uuid.UUID(session))
        return subject_of(row) if row else None

    async def rotate(self, refresh_token: str, client_id: str, scope: str) -> Rotation | None:
        """Spend a refresh token for a new one, or None when it is no good (and used again: the family has ended).

        One that was spent a moment ago gives the same new one again, until that is used.

        Raises:
            WiderScope: the scope asked for is not within the one granted.
        """
        try:
            family, secret = parts(refresh_token)
        except ValueError:
            return None
        renewed = successor(refresh_token, self._key())
        row = await self._rotations.call(family, client_id, secret, parts(renewed)[1], scope)
        outcome: Literal["rotated", "wider_scope", "ended", "unknown", "reused"] = row["outcome"]
        if outcome == "wider_scope":
            raise WiderScope()
        if outcome != "rotated":
            return None
        return Rotation(subject_of(row), client_id, row["scope"], renewed)


def subject_of(row: asyncpg.Record) -> Subject:
    return Subject(
        sub=str(row["person_id"]),
        session=str(row["session_id"]),
        name=row["name"],
        username=row["username"],
        phone=row["phone"],
        roles=json.loads(row["roles"]),
    )


def digest(secret: str) -> bytes:
    """How a random secret is kept. It has 256 random bits, so one round of SHA-256 is enough."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def new_refresh_token() -> str:
    """family (16 bytes) and secret (32 bytes), in base64url."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes + secrets.token_bytes(32)).decode()


def successor(refresh_token: str, key: bytes) -> str:
    """The next token of the family: whoever has this one but not the key cannot tell it."""
    token = base64.urlsafe_b64decode(refresh_token)
    return base64.urlsafe_b64encode(token[:16] + hmac.digest(key, token, "sha256")).decode()


def parts(refresh_token: str) -> tuple[uuid.UUID, bytes]:
    """The family, and the hash of the secret. Raises ValueError."""
    try:
        token = base64.b64decode(refresh_token.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not a refresh token") from error
    if len(token) != 48:
        raise ValueError("not a refresh token")
    return uuid.UUID(bytes=token[:16]), hashlib.sha256(token[16:]).digest()
