"""What filing asks of a tenant's database: many cases a statement, and the serials of their numbers."""

from __future__ import annotations

from services.affairs.schema import FilingRequest
from services.kernel.database import Connection, Row

FILE_CASES = """
SELECT * FROM affairs.file_cases($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)"""

FILED_BEFORE = """
SELECT number, filed_at FROM affairs.cases WHERE applicant = $1 AND idempotency_key = $2
    AND item = $3 AND applicant_name = $4 AND applicant_phone = $5 AND form = $6::jsonb"""


async def filed_before(
    connection: Connection, person: str, key: str, request: FilingRequest, form: bytes
) -> Row | None:
    """The person's case of this very content under this key."""
    applicant = request.applicant
    return await connection.fetchrow(
        FILED_BEFORE, person, key, request.item, applicant.name, applicant.phone, form.decode()
    )


async def next_serial_block(connection: Connection) -> int:
    block: int = await connection.fetchval("SELECT nextval('affairs.serial_blocks')")
    return block
