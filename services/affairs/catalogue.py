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
from services.affairs.store import SCHEMA
from services.affairs.store import catalogue as store
from services.kernel.database import Connection
from services.kernel.outbox import Relay, add_message
from services.kernel.problems import NotFound, Problem
from services.kernel.tenancy import Directory, Doors, Tenant
from services.kernel.typed import KEPT, words


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
            rows = await store.in_force(connection)
        wanted = words(sought).split()
        items = [in_force(row, tenant) for row in rows]
        return [item for item in items if (every or item.offered) and all(word in _searchable(item) for word in wanted)]

    async def item(self, tenant: Tenant, code: str) -> Item:
        """The item in force, offered or not. Raises NotFound."""
        async with self._doors.connection(tenant.code) as connection:
            row = await store.item_in_force(connection, code)
        if row is None:
            raise NotFound("No such item.")
        return in_force(row, tenant)

    async def offered_item(self, tenant: Tenant, code: str) -> Item:
        """The item for a filing, from memory where it is fresh. Raises a Problem when it is not offered here."""
        remembered = self._remembered.get((tenant.code, code))
        if remembered is None or remembered[0] < time.monotonic():
            async with self._doors.connection(tenant.code) as connection:
                row = await store.item_in_force(connection, code)
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
            await store.lock_publishing(connection)
            newest = await store.newest(connection, code)
            if newest and newest.says(request):
                return newest
            standard = await store.publish(connection, draft)
            for other in others:
                await _send(connection, other, standard)
        self._wake(province, others)
        self._forget(province.code, code)
        return standard

    async def replay(self, province: Tenant, tenant: str) -> int:
        """Send every publication, oldest first, to one tenant again; how many there are."""
        async with self._doors.connection(province.code) as connection, connection.transaction():
            publications = await store.publications(connection)
            for standard in publications:
                await _send(connection, tenant, standard)
        self._wake(province, [tenant])
        return len(publications)

    async def keep(self, connection: Connection, tenant: Tenant, standard: Standard) -> None:
        """Keep a version that the province sent."""
        await store.keep(connection, standard)
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
            await store.implement(connection, code, request, actor)
        self._forget(tenant.code, code)
        return await self.item(tenant, code)

    def _wake(self, province: Tenant, others: list[str]) -> None:
        for other in others:
            self._relay.wake(province.code, other)

    def _forget(self, tenant: str, code: str) -> None:
        self._remembered.pop((tenant, code), None)


async def _send(connection: Connection, tenant: str, standard: Standard) -> None:
    await add_message(connection, SCHEMA, tenant, "publication", standard.code, standard.model_dump(mode="json"))


def in_force(row: Mapping[str, Any], tenant: Tenant) -> Item:
    """The item of a row of `store.in_force`, as the tenant carries it out."""
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
