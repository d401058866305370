"""Standards and their implementations in a tenant's database."""

from __future__ import annotations

from services.affairs.schema import ImplementationRequest, Standard
from services.kernel.database import Connection, Row
from services.kernel.typed import KEPT

IN_FORCE = """
SELECT DISTINCT ON (code) standard.body AS standard, implementation.body AS implementation
FROM affairs.standards AS standard LEFT JOIN affairs.implementations AS implementation USING (code)
WHERE $1::text IS NULL OR code = $1
ORDER BY code, standard.version DESC"""

NEWEST = "SELECT body FROM affairs.standards WHERE code = $1 ORDER BY version DESC LIMIT 1"

PUBLISH = """
INSERT INTO affairs.standards (code, version, body, published_at)
SELECT $1, version, $2::jsonb || jsonb_build_object('version', version), $3
FROM (SELECT coalesce(max(version), 0) + 1 AS version FROM affairs.standards WHERE code = $1) AS next
RETURNING version, body"""

KEEP = """
INSERT INTO affairs.standards (code, version, body, published_at) VALUES ($1, $2, $3::jsonb, $4)
ON CONFLICT DO NOTHING"""

IMPLEMENT = """
INSERT INTO affairs.implementations (code, body, updated_by) VALUES ($1, $2::jsonb, $3)
ON CONFLICT (code) DO UPDATE SET body = excluded.body, updated_by = excluded.updated_by, updated_at = now()"""


async def in_force(connection: Connection) -> list[Row]:
    """Each item's newest standard with the tenant's own implementation, as they are kept."""
    return await connection.fetch(IN_FORCE, None)


async def item_in_force(connection: Connection, code: str) -> Row | None:
    return await connection.fetchrow(IN_FORCE, code)


async def lock_publishing(connection: Connection) -> None:
    """Until the transaction ends: versions count one by one when two administrators publish at once."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('affairs.publish'))")


async def newest(connection: Connection, code: str) -> Standard | None:
    body = await connection.fetchval(NEWEST, code)
    return Standard.model_validate_json(body, context=KEPT) if body else None


async def publish(connection: Connection, draft: Standard) -> Standard:
    """The draft under the next version of its code."""
    row = await connection.fetchrow(PUBLISH, draft.code, draft.model_dump_json(), draft.published_at)
    assert row is not None
    return Standard.model_validate_json(row["body"], context=KEPT)


async def publications(connection: Connection) -> list[Standard]:
    """Every version, the oldest first."""
    rows = await connection.fetch("SELECT body FROM affairs.standards ORDER BY published_at, code, version")
    return [Standard.model_validate_json(row["body"], context=KEPT) for row in rows]


async def keep(connection: Connection, standard: Standard) -> None:
    """Keep a version that was received; one that is there already stays."""
    await connection.execute(KEEP, standard.code, standard.version, standard.model_dump_json(), standard.published_at)


async def implement(connection: Connection, code: str, request: ImplementationRequest, actor: str) -> None:
    await connection.execute(IMPLEMENT, code, request.model_dump_json(), actor)
