"""Log-in by password. Counted first, evaluated after, and the answer tells nothing but right or wrong."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass

from prometheus_client import Counter

from services.identity.passwords import LONGEST_TYPED, Passwords
from services.identity.sessions.store import Browser, Sessions
from services.kernel.typed import log_in_name

LOG_INS = Counter("yiwang_log_ins", "Log-in attempts, by outcome.", ["outcome"])
for _outcome in ("right", "wrong", "limited", "malformed"):
    LOG_INS.labels(_outcome)  # so that a rate over it exists before the first one happens


@dataclass(frozen=True)
class LoggedIn:
    token: str
    person: uuid.UUID


@dataclass(frozen=True)
class Refused:
    """`wait` above 0: too many attempts, the password was not looked at."""

    wait: int = 0


async def log_in(
    sessions: Sessions, passwords: Passwords, login: str, password: str, browser: Browser, former: str = ""
) -> LoggedIn | Refused:
    """A new session for a right name and password.

    The database counts the attempt before a hash is computed, in one statement, so a hundred guesses at once are no
    more than the limit. An unknown name costs the same hash as a known one. Sessions that exist are never touched.
    """
    too_long = len(login) > LONGEST_TYPED or len(password) > LONGEST_TYPED
    login = "" if too_long or "\x00" in login + password else log_in_name(login)
    if not login or not password:
        LOG_INS.labels("malformed").inc()
        return Refused()
    attempt = await sessions.begin_log_in(login, browser)
    if attempt.wait:
        LOG_INS.labels("limited").inc()
        return Refused(attempt.wait)
    if not await passwords.matches(attempt.password_hash, password) or attempt.person is None:
        LOG_INS.labels("wrong").inc()
        await sessions.trace_failure(attempt, browser)
        return Refused()
    token = secrets.token_urlsafe(32)
    await sessions.begin(attempt.person, attempt.keys, token, former, browser)
    LOG_INS.labels("right").inc()
    return LoggedIn(token, attempt.person)
