"""Promises that a wrong program breaks only now and then, each beside a wrong program that the check must catch."""

from __future__ import annotations

import asyncio
import importlib
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
    known_median, unknown_median = (statistics.median(measured) for measured in spans.values())
    return (known_median - unknown_median) / known_median


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
    p_family uuid, p_client text, p_secret bytea, p_renewed bytea, p_scope text, p_grace interval
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


def family_with(site: IdentitySite, secret: str) -> uuid.UUID:
    """A refresh family of 330106 whose good token has this secret."""
    person = site.person("refreshing")
    family, session = uuid.uuid4(), uuid.uuid4()
    site.postgres.run(
        f"""
        INSERT INTO identity.session (id, token_hash, person_id, address, browser, expires_at)
            VALUES ('{session}', '{session}', '{person["id"]}', '', '', now() + interval '1 h');
        INSERT INTO identity.refresh_family (id, session_id, client_id, scope, secret_hash)
            VALUES ('{family}', '{session}', '330106', 'openid', '\\x{digest(secret).hex()}')
        """,
        "identity",
    )
    return family


async def rotated(site: IdentitySite, function: str) -> int:
    """How many of eight hosts get a new token of their own for the same old one at once."""
    family = family_with(site, "old")
    connected = asyncio.Barrier(8)

    async def refresh(doors: Doors) -> str:
        call = f"SELECT outcome FROM identity.{function}($1, '330106', $2, $3, 'openid', interval '1 min')"
        async with doors.own_connection() as connection:
            await connected.wait()
            outcome: str = await connection.fetchval(call, family, digest("old"), secrets.token_bytes(32))
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


# ---- a lost answer is given again for a short time, and real reuse is caught all the same ----

GRACE_SECONDS = 60
TWINS = {
    "rotate_without_grace": ("family.secret_hash <> p_renewed OR", "true OR"),
    "rotate_with_endless_grace": ("family.rotated_at + p_grace <= clock_timestamp()", "false"),
    "rotate_prolonging_the_grace": ("IF family.secret_hash = p_secret THEN", "IF true THEN"),
    "rotate_whatever_comes": ("PERFORM identity.end_family(p_family, 'refresh_reused')", "NULL"),
}


class Refreshing:
    """One family, refreshed with `function`. The token after token "a" is "b", after "b" is "c"."""

    def __init__(self, site: IdentitySite, doors: Doors, function: str) -> None:
        self._site, self._doors, self._function = site, doors, function
        self.family = family_with(site, "a")

    async def present(self, token: str, client: str = "330106") -> str:
        call = f"SELECT outcome FROM identity.{self._function}($1, $2, $3, $4, '', interval '{GRACE_SECONDS} s')"
        async with self._doors.own_connection() as connection:
            outcome: str = await connection.fetchval(
                call, self.family, client, digest(token), digest(chr(ord(token) + 1))
            )
        return outcome

    def age(self, seconds: float) -> None:
        """As if the last rotation lay further back."""
        past = f"rotated_at = rotated_at - interval '{seconds} s'"
        self._site.postgres.run(f"UPDATE identity.refresh_family SET {past} WHERE id = '{self.family}'", "identity")


async def broken_promises(site: IdentitySite, doors: Doors, function: str) -> set[str]:
    broken = set()

    def expect(promise: str, outcome: str, wanted: str) -> None:
        if outcome != wanted:
            broken.add(promise)

    def fresh() -> Refreshing:
        return Refreshing(site, doors, function)

    lost = fresh()
    expect("rotates", await lost.present("a"), "rotated")
    expect("another client gets nothing", await lost.present("a", client="330112"), "unknown")
    expect("a lost answer is given again", await lost.present("a"), "rotated")
    expect("and what it gives is good", await lost.present("b"), "rotated")

    expired = fresh()
    await expired.present("a")
    expired.age(GRACE_SECONDS)
    expect("the grace ends", await expired.present("a"), "reused")
    expect("reuse ends the family", await expired.present("b"), "ended")

    repeated = fresh()
    await repeated.present("a")
    repeated.age(GRACE_SECONDS * 0.6)
    expect("a lost answer is given again later", await repeated.present("a"), "rotated")
    repeated.age(GRACE_SECONDS * 0.6)
    expect("asking does not prolong the grace", await repeated.present("a"), "reused")

    used = fresh()
    await used.present("a")
    await used.present("b")
    expect("the successor's use ends the grace", await used.present("a"), "reused")
    expect("reuse ends the family", await used.present("c"), "ended")

    guessed = fresh()
    expect("a guess ends the family", await guessed.present("x"), "reused")
    expect("a guess ends the family", await guessed.present("a"), "ended")
    return broken


async def test_lost_answer_is_given_again_and_reuse_is_caught(
    identity_site: IdentitySite, identity_doors: Doors
) -> None:
    assert await broken_promises(identity_site, identity_doors, "rotate_refresh_token") == set()


@pytest.mark.parametrize(
    ("twin", "caught"),
    [
        ("rotate_without_grace", "a lost answer is given again"),
        ("rotate_with_endless_grace", "the grace ends"),
        ("rotate_prolonging_the_grace", "asking does not prolong the grace"),
        ("rotate_whatever_comes", "reuse ends the family"),
    ],
)
async def test_wrong_graces_are_caught(
    identity_site: IdentitySite, identity_doors: Doors, twin: str, caught: str
) -> None:
    ours = importlib.import_module("services.identity.migrations.versions.0002_refresh_retries").ROTATE_ONE
    right, wrong = TWINS[twin]
    assert right in ours
    definition = ours.replace(right, wrong).replace(
        "FUNCTION identity.rotate_refresh_token", f"FUNCTION identity.{twin}"
    )
    identity_site.postgres.run(definition.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"), "identity")
    assert caught in await broken_promises(identity_site, identity_doors, twin)


# ---- an invitation is good once ----

Use = Callable[[Connection, str], Awaitable[object]]


ALL_AT_ONCE = 4


class LookThenUse:
    """The known-bad twin, at its worst: everybody has looked before anybody uses."""

    def __init__(self) -> None:
        self.looked = asyncio.Barrier(ALL_AT_ONCE)

    async def __call__(self, connection: Connection, token: str) -> object:
        invitation = await invitations.find(connection, token)
        await self.looked.wait()
        if invitation is not None:
            used = "UPDATE identity.invitation SET used_at = now() WHERE token_hash = $1"
            await connection.execute(used, digest(token))
        return invitation


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
