"""The catalogue of power items: the province publishes standards, every tenant implements them.

A publication goes to each other tenant of the network through the outbox; `replay` sends all of them again to one
tenant, from the first. A version is kept once, so that a publication that comes twice changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from services.affairs.forms import USUAL_FIELDS
from services.affairs.schema import ImplementationRequest, Item, Standard, StandardRequest
from services.kernel.database import Connection
from services.kernel.outbox import Relay, add_message
from services.kernel.problems import NotFound, Problem
from services.kernel.tenancy import Directory, Doors, Tenant
from services.kernel.typed import KEPT, words

IN_FORCE = """
SELECT DISTINCT ON (code) standard.body AS standard, implementation.body AS implementation
FROM affairs.standards AS standard LEFT JOIN affairs.implementations AS implementation USING (code)
WHERE $1::text IS NULL OR code = $1
ORDER BY code, standard.version DESC"""

NEWEST = "SELECT body FROM affairs.standards WHERE code = $1 ORDER BY version DESC LIMIT 1"

# The lock makes versions count one by one when two administrators publish at once.
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


class Catalogue:
    """What is in force at each tenant. Filings read an item remembered for at most five seconds."""

    REMEMBER_SECONDS = 5.0

    def __init__(self, directory: Directory, doors: Doors, relay: Relay) -> None:
        self._directory = directory
        self._doors = doors
        self._relay = relay
        self._remembered: dict[tuple[str, str], tuple[float, Item | None]] = {}

    async def items(self, tenant: Tenant, sought: str = "", every: bool = False) -> list[Item]:
        """The items that the tenant offers (or every item), those whose name, code or basis holds every word."""
        async with self._doors.connection(tenant.code) as connection:
            rows = await connection.fetch(IN_FORCE, None)
        wanted = words(sought).split()
        items = [in_force(row, tenant) for row in rows]
        return [item for item in items if (every or item.offered) and all(word in _searchable(item) for word in wanted)]

    async def item(self, tenant: Tenant, code: str) -> Item:
        """The item in force, offered or not. Raises NotFound."""
        async with self._doors.connection(tenant.code) as connection:
            row = await connection.fetchrow(IN_FORCE, code)
        if row is None:
            raise NotFound("No such item.")
        return in_force(row, tenant)

    async def offered_item(self, tenant: Tenant, code: str) -> Item:
        """The item for a filing, from memory where it is fresh. Raises a Problem when it is not offered here."""
        remembered = self._remembered.get((tenant.code, code))
        if remembered is None or remembered[0] < time.monotonic():
            async with self._doors.connection(tenant.code) as connection:
                row = await connection.fetchrow(IN_FORCE, code)
            if len(self._remembered) > 10_000:  # codes that do not exist are remembered too
                self._remembered.clear()
            remembered = time.monotonic() + self.REMEMBER_SECONDS, in_force(row, tenant) if row else None
            self._remembered[tenant.code, code] = remembered
        item = remembered[1]
        if item is None or not item.offered:
            raise Problem(422, "item-not-offered", "This item cannot be filed here.")
        return item

    async def publish(self, province: Tenant, code: str, request: StandardRequest) -> Standard:
        """Publish a new version at the province and send it to every other tenant.

        What is in force already is not published again: the answer is then the version in force.
        """
        draft = Standard(code=code, version=1, published_at=datetime.now(UTC), **request.model_dump())
        others = [tenant.code for tenant in self._directory.tenants() if tenant.code != province.code]
        async with self._doors.connection(province.code) as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('affairs.publish'))")
            newest = await connection.fetchval(NEWEST, code)
            if newest and (standard := Standard.model_validate_json(newest, context=KEPT)).says(request):
                return standard
            row = await connection.fetchrow(PUBLISH, code, draft.model_dump_json(), draft.published_at)
            assert row is not None
            standard = Standard.model_validate_json(row["body"], context=KEPT)
            for other in others:
                await _send(connection, other, standard)
        self._wake(province, others)
        self._forget(province.code, code)
        return standard

    async def replay(self, province: Tenant, tenant: str) -> int:
        """Send every publication, oldest first, to one tenant again; how many there are."""
        async with self._doors.connection(province.code) as connection, connection.transaction():
            rows = await connection.fetch("SELECT body FROM affairs.standards ORDER BY published_at, code, version")
            for row in rows:
                await _send(connection, tenant, Standard.model_validate_json(row["body"], context=KEPT))
        self._wake(province, [tenant])
        return len(rows)

    async def keep(self, connection: Connection, tenant: Tenant, standard: Standard) -> None:
        """Keep a version that the province sent."""
        body = standard.model_dump_json()
        await connection.execute(KEEP, standard.code, standard.version, body, standard.published_at)
        self._forget(tenant.code, standard.code)

    async def implement(self, tenant: Tenant, code: str, request: ImplementationRequest, actor: str) -> Item:
        """Set what the tenant decides by itself; it may shorten the standard's promise, never lengthen it."""
        item = await self.item(tenant, code)
        if tenant.level not in item.levels:
            raise Problem(422, "level-not-allowed", f"The standard does not give this item to a {tenant.level}.")
        promise = item.standard_promised_working_days
        if request.promised_working_days is not None and request.promised_working_days > promise:
            raise Problem(422, "promise-too-long", f"At most the standard's promise of {promise} working days.")
        async with self._doors.connection(tenant.code) as connection:
            await connection.execute(IMPLEMENT, code, request.model_dump_json(), actor)
        self._forget(tenant.code, code)
        return await self.item(tenant, code)

    def _wake(self, province: Tenant, others: list[str]) -> None:
        for other in others:
            self._relay.wake(province.code, other)

    def _forget(self, tenant: str, code: str) -> None:
        self._remembered.pop((tenant, code), None)


async def _send(connection: Connection, tenant: str, standard: Standard) -> None:
    await add_message(connection, "affairs", tenant, "publication", standard.code, standard.model_dump(mode="json"))


def in_force(row: Mapping[str, Any], tenant: Tenant) -> Item:
    """The item of a row of `IN_FORCE`, as the tenant carries it out."""
    standard = Standard.model_validate_json(row["standard"], context=KEPT)
    own = ImplementationRequest.model_validate_json(row["implementation"] or "{}", context=KEPT)
    item = {
        **standard.model_dump(exclude={"published_at"}),
        "fields": standard.fields or USUAL_FIELDS,
        "department": own.department,
        "standard_promised_working_days": standard.promised_working_days,
        "promised_working_days": _shorter(standard.promised_working_days, own.promised_working_days),
        "materials_note": own.materials_note,
        "fee_note": own.fee_note,
        "offered": own.offered and tenant.level in standard.levels,
    }
    return Item.model_validate(item, context=KEPT)


def _shorter(standard: int, own: int | None) -> int:
    """What is promised here. A standard that was shortened after the tenant set its own promise shortens that, too."""
    return standard if own is None else min(standard, own)


def _searchable(item: Item) -> str:
    return words(f"{item.code} {item.name} {item.kind} {item.basis}")
