"""The statements on the index."""

from __future__ import annotations

from datetime import datetime

from services.kernel.database import Connection, Row

COLUMNS = "number, item, item_name, status, holder, filed_at, changed_at, due"

PAGE = f"""
SELECT {COLUMNS} FROM query.cases
WHERE applicant = $1 AND (changed_at, number) < ($2, $3)
ORDER BY changed_at DESC, number DESC LIMIT $4"""  # noqa: S608

EXPIRED = ("DELETE FROM query.attempts WHERE hour < now() - interval '1 day'",)

MINE = f"SELECT {COLUMNS}, steps FROM query.cases WHERE number = $1 AND applicant = $2"  # noqa: S608


async def apply(connection: Connection, sender: str, messages: list[tuple[int, str]]) -> dict[int, str]:
    """Apply one sender's messages in one transaction: applied, known or rejected by sequence."""
    rows = await connection.fetch(
        "SELECT sequence, outcome FROM query.apply_cases($1, $2, $3)",
        sender,
        [sequence for sequence, _ in messages],
        [body for _, body in messages],
    )
    return {row["sequence"]: row["outcome"] for row in rows}


async def page(connection: Connection, applicant: str, before: tuple[datetime, str], size: int) -> list[Row]:
    return await connection.fetch(PAGE, applicant, *before, size)


async def mine(connection: Connection, applicant: str, number: str) -> Row | None:
    return await connection.fetchrow(MINE, number, applicant)


async def progress(connection: Connection, number: str) -> Row | None:
    return await connection.fetchrow("SELECT status, steps, check_code_hash FROM query.cases WHERE number = $1", number)


async def count_attempt(connection: Connection, subject: str) -> int:
    """Count an attempt before anything is looked at; how many there are in this hour, this one included."""
    uses: int = await connection.fetchval("SELECT query.count_attempt($1)", subject)
    return uses


async def give_back_attempt(connection: Connection, subject: str) -> None:
    """A right code is no attempt to guess."""
    await connection.execute(
        "UPDATE query.attempts SET uses = uses - 1 WHERE subject = $1 AND hour = date_trunc('hour', now())", subject
    )
