"""What somebody typed into a form that could not be taken when it was sent: there again once it can be.

Kept in the tenant's own database for an hour, sealed with a key that is made of the browser's secret and of who wrote
the form. So it is shown in that browser alone, to that person alone, and a copy of the database shows it to nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.kernel.tenancy import Doors
from services.pages.forms import Form
from services.portal.sealing import derive_key, seal, unseal

DRAFT_COOKIE = "__Host-yiwang-draft"
"""Says that this browser has left a draft here, and nothing of it."""
KEPT = timedelta(hours=1)
LARGEST = 64 * 1024
MOST = 500
"""Drafts of one site at once; beyond it the oldest go."""

# Whose place in the list is beyond the most, and what is too old.
SWEEP = """
DELETE FROM portal.draft WHERE id <> $1 AND (kept_until < $2
    OR id IN (SELECT id FROM portal.draft WHERE id <> $1 ORDER BY kept_until DESC OFFSET $3))
"""
KEEP = """
INSERT INTO portal.draft (id, sealed, kept_until) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed, kept_until = excluded.kept_until
"""
FIND = "SELECT sealed FROM portal.draft WHERE id = $1 AND kept_until > $2"
FORGET = "DELETE FROM portal.draft WHERE id = $1"


@dataclass(frozen=True)
class Draft:
    """`sent_to` is the path of the form, which may stand on a page with others."""

    sent_to: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Place:
    """Where a draft belongs: a page, in one browser, for one person."""

    browser: str
    writer: str
    page: str

    @property
    def key(self) -> bytes:
        return derive_key(self.browser.encode(), f"draft {self.writer}")

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.key + self.page.encode()).digest()


class Drafts:
    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def keep(self, tenant: str, page: str, sent_to: str, form: Form) -> bool:
        """Whether it was kept: what is too long is not."""
        place = Place(form.browser, form.writer, page)
        sealed = seal(place.key, {"sent_to": sent_to, "fields": form.fields})
        if len(sealed) > LARGEST:
            return False
        now = datetime.now(UTC)
        async with self._doors.connection(tenant) as connection:
            await connection.execute(SWEEP, place.id, now, MOST - 1)
            await connection.execute(KEEP, place.id, sealed, now + KEPT)
        return True

    async def find(self, tenant: str, place: Place) -> Draft | None:
        async with self._doors.connection(tenant) as connection:
            sealed = await connection.fetchval(FIND, place.id, datetime.now(UTC))
        content = unseal(place.key, sealed) if sealed else None
        return Draft(content["sent_to"], content["fields"]) if content else None

    async def forget(self, tenant: str, place: Place) -> None:
        async with self._doors.connection(tenant) as connection:
            await connection.execute(FORGET, place.id)
