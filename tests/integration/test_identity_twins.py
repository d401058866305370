"""Promises that a wrong program breaks only now and then, each beside a wrong program that the check must catch."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable

import pytest

from services.identity.invitations import store as invitations
from services.identity.invitations.schema import NewInvitation
from services.identity.passwords import Passwords
from services.identity.protocol.store import digest
from services.identity.sessions.log_in import log_in
from services.identity.sessions.store import Browser, Sessions
from services.identity.settings import IdentitySettings
from services.kernel.database import Connection
from services.kernel.tenancy import Doors
from tests.integration.identity_site import IdentitySite

# ---- time tells nothing of a name ----


class Hasty(Passwords):
    """The known-bad twin: knows at once that nobody has this name."""

    async def matches(self, stored: str | None, password: str) -> bool:
        return stored is not None and await super().matches(stored, password)


async def slower(doors: Doors, site: IdentitySite, passwords: Passwords) -> float:
    """By what part of its time a wrong log-in with a known name is slower than one with an unknown name."""
    sessions = Sessions(doors, IdentitySettings())
    spans: dict[str, list[float]] = {"known-one": [], "unknown-one": []}
    for number in range(12):
        for login, measured in spans.items():
            browser = Browser(f"192.0.2.{number}", "test", "d" * 43)
            started = time.perf_counter()
            await log_in(sessions, passwords, login, "wrong one", browser)
            measured.append(time.perf_counter() - started)
    known, unknown = (statistics.median(measured) for measured in spans.values())
    return (known - unknown) / known


async def test_time_tells_nothing_of_a_name(identity_site: IdentitySite, identity_doors: Doors) -> None:
    identity_site.person("known-one")
    identity_site.postgres.run("TRUNCATE identity.attempt", "identity")
    assert abs(await slower(identity_doors, identity_site, Passwords())) < 0.4


async def test_hasty_refusal_of_unknown_names_is_caught(identity_site: IdentitySite, identity_doors: Doors) -> None:
    identity_site.person("known-one")
    identity_site.postgres.run("TRUNCATE identity.attempt", "identity")
    assert await slower(identity_doors, identity_site, Hasty()) > 0.4


# ---- a refresh token is good once, on however many hosts it is used ----

LOOK_THEN_ROTATE = """
CREATE OR REPLACE FUNCTION identity.look_then_rotate(
    p_family uuid, p_client text, p_secret bytea, p_renewed bytea, p_scope text
) RETURNS TABLE (outcome text) LANGUAGE plpgsql AS $$
BEGIN
    outcome := CASE WHEN EXISTS (
        SELECT FROM identity.refresh_family WHERE id = p_family AND secret_hash = p_secret
    ) THEN 'rotated' ELSE 'reused' END;
    PERFORM pg_sleep(0.3);  -- all eight, already connected, have looked by then
    UPDATE identity.refresh_family SET secret_hash = p_renewed WHERE id = p_family;
    RETURN NEXT;
END $$
"""


async def rotated(site: IdentitySite, function: str) -> int:
    """How many of eight hosts get a new token for the same old one at once."""
    person = site.person("refreshing")
    family, session, secret = uuid.uuid4(), uuid.uuid4(), secrets.token_bytes(32)
    hashed = hashlib.sha256(secret).hexdigest()
    site.postgres.run(
        f"""
        INSERT INTO identity.session (id, token_hash, person_id, address, browser, expires_at)
            VALUES ('{session}', '{session}', '{person["id"]}', '', '', now() + interval '1 h');
        INSERT INTO identity.refresh_family (id, session_id, client_id, scope, secret_hash)
            VALUES ('{family}', '{session}', '330106', 'openid', '\\x{hashed}')
        """,
        "identity",
    )

    connected = asyncio.Barrier(8)

    async def refresh(doors: Doors) -> str:
        call = f"SELECT outcome FROM identity.{function}($1, '330106', $2, $3, 'openid')"
        async with doors.own_connection() as connection:
            await connected.wait()
            outcome: str = await connection.fetchval(call, family, bytes.fromhex(hashed), secrets.token_bytes(32))
        return outcome

    hosts = [site.doors() for _ in range(8)]
    try:
        outcomes = await asyncio.gather(*(refresh(doors) for doors in hosts))
    finally:
        for doors in hosts:
            await doors.close()
    return outcomes.count("rotated")


async def test_refresh_token_is_rotated_once_whatever_hosts_ask(identity_site: IdentitySite) -> None:
    assert await rotated(identity_site, "rotate_refresh_token") == 1


async def test_look_then_rotate_is_caught(identity_site: IdentitySite) -> None:
    identity_site.postgres.run(LOOK_THEN_ROTATE, "identity")
    assert await rotated(identity_site, "look_then_rotate") > 1


# ---- an invitation is good once ----

Use = Callable[[Connection, str], Awaitable[object]]


ALL_AT_ONCE = 4


class LookThenUse:
    """The known-bad twin, at its worst: everybody has looked before anybody uses."""

    def __init__(self) -> None:
        self.looked = asyncio.Barrier(ALL_AT_ONCE)

    async def __call__(self, connection: Connection, token: str) -> object:
        found = await invitations.find(connection, token)
        await self.looked.wait()
        if found is not None:
            used = "UPDATE identity.invitation SET used_at = now() WHERE token_hash = $1"
            await connection.execute(used, digest(token))
        return found


async def uses(doors: Doors, use: Use) -> int:
    """How many of those who come at once have the invitation."""
    token = secrets.token_urlsafe(32)
    office = NewInvitation(tenant="330106", department="政务服务中心", role="administrator", name="陈建国")
    async with doors.own_connection() as connection:
        await invitations.add(connection, token, office, IdentitySettings().invitation)

    async def take() -> object:
        async with doors.own_connection() as connection:
            return await use(connection, token)

    return sum(taken is not None for taken in await asyncio.gather(*(take() for _ in range(ALL_AT_ONCE))))


@pytest.mark.parametrize(("use", "once"), [(invitations.use, True), (LookThenUse(), False)], ids=["ours", "twin"])
async def test_invitation_is_used_once(identity_doors: Doors, use: Use, once: bool) -> None:
    assert (await uses(identity_doors, use) == 1) == once
