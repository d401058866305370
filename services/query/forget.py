"""What a rehearsal's people left in the index: their cases."""

from __future__ import annotations

from collections import Counter

import asyncpg

from services.kernel.forgetting import BATCH, rows_of

INDEX = """
DELETE FROM query.cases WHERE number IN (
    SELECT number FROM query.cases WHERE applicant = ANY($1::text[]) ORDER BY number LIMIT $2)"""


async def forget(connection: asyncpg.Connection, subjects: list[str]) -> Counter[str]:
    removed: Counter[str] = Counter()
    while rows := rows_of(await connection.execute(INDEX, subjects, BATCH)):
        removed["query.cases"] += rows
    return removed
