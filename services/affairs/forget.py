"""What a rehearsal's people left in a tenant's affairs: cases, held here or followed here, with all that hangs on them.

A case must bear an applicant's name of a rehearsal as well as that person's subject.
"""

from __future__ import annotations

from collections import Counter

import asyncpg

from services.kernel.forgetting import BATCH, NAME_MARK, rows_of

NUMBERS = """
SELECT number FROM affairs.cases
WHERE applicant = ANY($1::text[]) AND starts_with(applicant_name, $2) ORDER BY number LIMIT $3 FOR UPDATE"""
BY_NUMBER = {
    "affairs.outbox": "DELETE FROM affairs.outbox WHERE key = ANY($1::text[])",
    "affairs.traces": "DELETE FROM affairs.traces WHERE number = ANY($1::text[])",
    "affairs.materials": "DELETE FROM affairs.materials WHERE number = ANY($1::text[])",
    "affairs.cases": "DELETE FROM affairs.cases WHERE number = ANY($1::text[])",
}


async def forget(connection: asyncpg.Connection, subjects: list[str]) -> Counter[str]:
    removed: Counter[str] = Counter()
    while True:
        async with connection.transaction():
            numbers = [row["number"] for row in await connection.fetch(NUMBERS, subjects, NAME_MARK, BATCH)]
            for table, statement in BY_NUMBER.items() if numbers else ():
                removed[table] += rows_of(await connection.execute(statement, numbers))
        if not numbers:
            return removed
