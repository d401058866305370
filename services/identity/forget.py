"""A rehearsal's people themselves, with sessions and grants (which go with them), counted attempts and audit."""

from __future__ import annotations

from collections import Counter

import asyncpg

from services.kernel.forgetting import BATCH, NAME_MARK, USERNAME_MARK, rows_of

PEOPLE = """
SELECT id::text AS subject, username, starts_with(name, $2) AS marked
FROM identity.person WHERE username = ANY($1::text[])"""
ATTEMPTS = "identity.attempt"
BY_PERSON = {
    ATTEMPTS: "DELETE FROM identity.attempt WHERE split_part(key, ':', 2) = ANY($1::text[])",
    "identity.audit": "DELETE FROM identity.audit WHERE person_id = ANY($1::uuid[]) OR actor = ANY($1::text[])",
    "identity.session": "DELETE FROM identity.session WHERE person_id = ANY($1::uuid[])",
    "identity.person": "DELETE FROM identity.person WHERE id = ANY($1::uuid[]) AND starts_with(username, $2)",
}


class NoRehearsal(Exception):
    """Somebody named is no rehearsal's person."""


async def subjects_of(connection: asyncpg.Connection, usernames: list[str]) -> list[str]:
    """The subjects of those of the people who are still known.

    Raises:
        NoRehearsal: one of them is not called as people of a rehearsal are.
    """
    rows = await connection.fetch(PEOPLE, usernames, NAME_MARK)
    strangers = [row["username"] for row in rows if not row["marked"] or not row["username"].startswith(USERNAME_MARK)]
    if strangers:
        raise NoRehearsal(f"{', '.join(strangers[:5])}: not a rehearsal's person by name; nothing was removed")
    return [row["subject"] for row in rows]


async def forget_attempts(connection: asyncpg.Connection, subjects: list[str]) -> Counter[str]:
    """How often they tried to log in, and nothing else of them."""
    return Counter({ATTEMPTS: rows_of(await connection.execute(BY_PERSON[ATTEMPTS], subjects))})


async def forget(connection: asyncpg.Connection, subjects: list[str]) -> Counter[str]:
    removed: Counter[str] = Counter()
    for start in range(0, len(subjects), BATCH):
        batch = subjects[start : start + BATCH]
        async with connection.transaction():
            for table, statement in BY_PERSON.items():
                more = (USERNAME_MARK,) if "$2" in statement else ()
                removed[table] += rows_of(await connection.execute(statement, batch, *more))
    return removed
