"""A person's session on one site, kept in the tenant's own database.

The cookie holds a random secret. The table holds its hash, and the tokens sealed with a key derived from it: a copy of
the database opens no session and shows no token.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from services.kernel.tenancy import Doors
from services.portal.sealing import derive_key, seal, unseal

LONGEST = timedelta(hours=12)
IDLE = timedelta(hours=2)
SEEN_EVERY = timedelta(minutes=5)
RENEWAL = timedelta(seconds=10)
"""How long one request may take to renew the tokens before another tries."""

FIND = """
SELECT sealed, seen_at FROM portal.session WHERE id = $1 AND expires_at > $2 AND seen_at > $3
"""
BEGIN = """
WITH gone AS (
    DELETE FROM portal.session WHERE id IN (
        SELECT id FROM portal.session WHERE expires_at < $3 OR seen_at < $5 LIMIT 100 FOR UPDATE SKIP LOCKED))
INSERT INTO portal.session (id, sealed, seen_at, expires_at) VALUES ($1, $2, $3, $4)
"""
SEEN = "UPDATE portal.session SET seen_at = $2 WHERE id = $1"
CLAIM_RENEWAL = """
UPDATE portal.session SET renewing_until = $2 WHERE id = $1 AND sealed = $4
   AND (renewing_until IS NULL OR renewing_until < $3)
"""
GIVE_UP_RENEWAL = "UPDATE portal.session SET renewing_until = NULL WHERE id = $1 AND sealed = $2"
KEEP = "UPDATE portal.session SET sealed = $2, renewing_until = NULL WHERE id = $1 AND sealed = $3"
END = "DELETE FROM portal.session WHERE id = $1"


@dataclass(frozen=True)
class Who:
    """The person, as identity told at log-in."""

    sub: str
    name: str
    phone: str


@dataclass(frozen=True)
class Tokens:
    access: str
    refresh: str
    identity: str
    """The ID token, which tells identity at log-out whose session ends."""
    expires_at: float


@dataclass(frozen=True)
class Session:
    id: bytes
    key: bytes
    sealed: bytes
    who: Who
    tokens: Tokens


class Sessions:
    """Sessions of the sites of this cell; every method takes the tenant whose site it is."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def begin(self, tenant: str, who: Who, tokens: Tokens) -> str:
        """A new session; gives the cookie's value. Dead sessions of the site are swept on the way."""
        secret = secrets.token_urlsafe(32)
        identifier, key = _identify(secret)
        sealed = _sealed(key, who, tokens)
        now = datetime.now(UTC)
        async with self._doors.connection(tenant) as connection:
            await connection.execute(BEGIN, identifier, sealed, now, now + LONGEST, now - IDLE)
        return secret

    async def find(self, tenant: str, secret: str) -> Session | None:
        """The live session of a cookie. Raises Unavailable when the tenant's database is out."""
        identifier, key = _identify(secret)
        now = datetime.now(UTC)
        async with self._doors.connection(tenant) as connection:
            row = await connection.fetchrow(FIND, identifier, now, now - IDLE)
            if row is not None and row["seen_at"] < now - SEEN_EVERY:
                await connection.execute(SEEN, identifier, now)
        return _opened(identifier, key, row["sealed"]) if row else None

    async def claim_renewal(self, tenant: str, session: Session) -> bool:
        """True for exactly one of the requests that want to renew these tokens: a refresh token is good once."""
        now = datetime.now(UTC)
        async with self._doors.connection(tenant) as connection:
            done = await connection.execute(CLAIM_RENEWAL, session.id, now + RENEWAL, now, session.sealed)
        return bool(done == "UPDATE 1")

    async def give_up_renewal(self, tenant: str, session: Session) -> None:
        """It did not work: the next request may try at once."""
        async with self._doors.connection(tenant) as connection:
            await connection.execute(GIVE_UP_RENEWAL, session.id, session.sealed)

    async def keep(self, tenant: str, session: Session, tokens: Tokens) -> Session | None:
        """The session with its new tokens; or as somebody else who was faster has kept or ended it."""
        sealed = _sealed(session.key, session.who, tokens)
        async with self._doors.connection(tenant) as connection:
            done = await connection.execute(KEEP, session.id, sealed, session.sealed)
        if done != "UPDATE 1":
            return await self.again(tenant, session)
        return Session(session.id, session.key, sealed, session.who, tokens)

    async def again(self, tenant: str, session: Session) -> Session | None:
        """The same session as it is kept now."""
        async with self._doors.connection(tenant) as connection:
            sealed = await connection.fetchval("SELECT sealed FROM portal.session WHERE id = $1", session.id)
        return _opened(session.id, session.key, sealed) if sealed else None

    async def end(self, tenant: str, session: Session) -> None:
        async with self._doors.connection(tenant) as connection:
            await connection.execute(END, session.id)


def _identify(secret: str) -> tuple[bytes, bytes]:
    encoded = secret.encode("utf-8", "replace")
    return hashlib.sha256(encoded).digest(), derive_key(encoded, "session")


def _sealed(key: bytes, who: Who, tokens: Tokens) -> bytes:
    return seal(key, {"who": asdict(who), "tokens": asdict(tokens)})


def _opened(identifier: bytes, key: bytes, sealed: bytes) -> Session | None:
    content = unseal(key, sealed)
    if content is None:
        return None
    return Session(identifier, key, sealed, Who(**content["who"]), Tokens(**content["tokens"]))
