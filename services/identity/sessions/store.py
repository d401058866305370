"""Sessions in PostgreSQL, so they outlive any process. Of a session's cookie only the hash is kept."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from services.identity.people.store import trace
from services.identity.protocol.store import digest
from services.identity.protocol.tokens import Subject
from services.identity.settings import IdentitySettings
from services.kernel.cursors import read_moment, write_cursor
from services.kernel.tenancy import Doors

BEGIN_LOG_IN = "SELECT * FROM identity.begin_log_in($1, $2, $3, $4, $5)"
COUNT = "SELECT identity.count_attempt($1, $2, $3)"
BEGIN_SESSION = "SELECT identity.begin_session($1, $2, $3, $4, $5, $6, $7, $8)"
END_SESSIONS = "SELECT identity.end_sessions($1, $2, $3)"
CURRENT = """
    SELECT s.id, s.person_id, s.created_at, p.name, p.username, p.phone
    FROM identity.session s JOIN identity.person p ON p.id = s.person_id
    WHERE s.token_hash = $1 AND s.ended_at IS NULL AND s.expires_at > now() AND p.disabled_at IS NULL
"""
LIVE_OF_PERSON = "FROM identity.session WHERE person_id = $1 AND ended_at IS NULL AND expires_at > now()"
COUNT_OF_PERSON = f"SELECT count(*) {LIVE_OF_PERSON}"
OF_PERSON = f"""
    SELECT id, address, browser, created_at {LIVE_OF_PERSON} AND (created_at, id) < ($2, $3)
    ORDER BY created_at DESC, id DESC LIMIT $4
"""
PAGE = 50
BEFORE_ALL = (datetime(9999, 1, 1, tzinfo=UTC), uuid.UUID(int=2**128 - 1))


@dataclass(frozen=True)
class Session:
    """The session of the browser that asks."""

    id: uuid.UUID
    person: uuid.UUID
    name: str
    username: str
    phone: str | None
    began_at: datetime

    def subject(self) -> Subject:
        return Subject(str(self.person), str(self.id), self.name, self.username, self.phone)


@dataclass(frozen=True)
class Attempt:
    """One log-in attempt, counted. `wait` above 0: it may not be evaluated before as many seconds have passed."""

    wait: int
    person: uuid.UUID | None
    password_hash: str | None
    keys: list[str]


@dataclass(frozen=True)
class Browser:
    """Where a request comes from."""

    address: str
    name: str
    device: str


@dataclass(frozen=True)
class OpenSession:
    id: uuid.UUID
    address: str
    browser: str
    began_at: datetime


@dataclass(frozen=True)
class OpenSessions:
    """A page of a person's sessions, and how many there are in all."""

    shown: list[OpenSession]
    total: int
    next: str | None


class Sessions:
    def __init__(self, doors: Doors, settings: IdentitySettings) -> None:
        self._doors = doors
        self._settings = settings

    async def begin_log_in(self, login: str, browser: Browser) -> Attempt:
        """Count an attempt, before anything is evaluated, and find who is meant."""
        limits = [
            self._settings.attempts_from_address,
            self._settings.attempts_at_address,
            self._settings.attempts_of_account,
        ]
        window = self._settings.attempt_window
        async with self._doors.own_connection() as connection:
            row = await connection.fetchrow(
                BEGIN_LOG_IN, login, browser.address, digest(browser.device), limits, window
            )
        assert row is not None
        return Attempt(row["wait"], row["person_id"], row["password_hash"], row["keys"])

    async def count_registration(self, browser: Browser) -> int:
        """Seconds to wait before this address may register somebody again; 0 for none."""
        limit = self._settings.registrations_at_address
        async with self._doors.own_connection() as connection:
            wait: int = await connection.fetchval(
                COUNT, [f"registration:{browser.address}"], [limit], self._settings.attempt_window
            )
        return wait

    async def begin(self, person: uuid.UUID, keys: list[str], token: str, former: str, browser: Browser) -> uuid.UUID:
        """The browser's new session; gives the attempt back and ends the session that the browser had."""
        async with self._doors.own_connection() as connection:
            identifier: uuid.UUID = await connection.fetchval(
                BEGIN_SESSION,
                person,
                keys,
                digest(token),
                digest(former),
                digest(browser.device),
                browser.address,
                browser.name,
                self._settings.session,
            )
        return identifier

    async def trace_failure(self, attempt: Attempt, browser: Browser) -> None:
        async with self._doors.own_connection() as connection:
            detail = {"address": browser.address, "browser": browser.name}
            await trace(connection, "log_in_failed", "anonymous", attempt.person, detail)

    async def current(self, token: str) -> Session | None:
        if not token:
            return None
        async with self._doors.own_connection() as connection:
            row = await connection.fetchrow(CURRENT, digest(token))
        if row is None:
            return None
        return Session(row["id"], row["person_id"], row["name"], row["username"], row["phone"], row["created_at"])

    async def of_person(self, person: uuid.UUID, cursor: str) -> OpenSessions:
        """A page of a person's sessions, the newest first. Raises a Problem for what is no cursor of ours."""
        before = BEFORE_ALL
        if cursor:
            moment, key = read_moment(cursor)
            before = moment, uuid.UUID(int=int(key) % 2**128)
        async with self._doors.own_connection() as connection:
            rows = await connection.fetch(OF_PERSON, person, *before, PAGE + 1)
            total: int = await connection.fetchval(COUNT_OF_PERSON, person)
        sessions = [OpenSession(row["id"], row["address"], row["browser"], row["created_at"]) for row in rows[:PAGE]]
        onward = write_cursor(sessions[-1].began_at, str(sessions[-1].id.int)) if len(rows) > PAGE else None
        return OpenSessions(sessions, total, onward)

    async def end(self, person: uuid.UUID, session: uuid.UUID | None, actor: str) -> int:
        """End one session of a person, or all; with them every refresh token that hangs on them."""
        async with self._doors.own_connection() as connection:
            ended: int = await connection.fetchval(END_SESSIONS, person, session, actor)
        return ended
